"""One admitted query in, its answer sent: engine work in a lane's threads while the client is watched for hanging up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

from aegis.embedded.clickhouse import metrics
from aegis.embedded.clickhouse.admission import Lane
from aegis.embedded.clickhouse.answers import Headers, exception_footer, exception_tag, result_headers
from aegis.embedded.clickhouse.compression import compressor
from aegis.embedded.clickhouse.engine import Answer, Engine, RowStream
from aegis.embedded.clickhouse.failures import QueryFailure
from aegis.embedded.clickhouse.requests import Query

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
T = TypeVar("T")

# A reader that takes nothing for this long has given up; its query must not hold a turn for ever. ClickHouse: http_send_timeout.
SEND_TIMEOUT_S = 30.0


class ClientGone(Exception):
    """The client hung up; there is nobody to answer."""


class Exchange:
    """The work and the answer of one query that has its turn.

    Only a read is killed when its client hangs up: whoever sent an insert and lost the connection will want to know that it
    was all or nothing, so an insert goes on to its end.
    """

    def __init__(self, engine: Engine, lane: Lane, query: Query, gone: asyncio.Future[None] | None, send: Send) -> None:
        """`gone` ends when the client hangs up; None when that is not to end the query."""
        self._engine = engine
        self._lane = lane
        self._query = query
        self._send = send
        self._gone = gone
        self._encoder = compressor(query.encoding) if query.encoding else None

    async def run(self, control: Callable[[Callable[[], T]], Awaitable[T]]) -> None:
        """Execute and answer. `control` runs what must not wait for a lane's thread. Raises `QueryFailure`, `ClientGone`."""
        if self._gone is not None and self._gone.done():
            raise ClientGone
        answer = await self._finish(self._lane.run(lambda: self._engine.execute(self._query)), control)
        if answer.rest is None:
            await self._send_whole(answer)
        else:
            await self._send_stream(answer, answer.rest, control)

    async def _send_whole(self, answer: Answer) -> None:
        metrics.INSERTED_ROWS.inc(answer.summary.written_rows)
        metrics.RESULT_ROWS.inc(answer.summary.result_rows)
        encoder = self._encoder if answer.body else None
        body = answer.body
        if encoder is not None:
            body = await self._lane.run(lambda: encoder.compress(answer.body) + encoder.flush())
        headers = result_headers(
            self._query, answer, self._engine.timezone, encoding=self._query.encoding if encoder else None
        )
        await reply(self._send, 200, headers, body)

    async def _send_stream(
        self, answer: Answer, rest: RowStream, control: Callable[[Callable[[], Any]], Awaitable[Any]]
    ) -> None:
        tag = exception_tag()
        headers = result_headers(self._query, answer, self._engine.timezone, encoding=self._query.encoding, tag=tag)
        rows = answer.summary.result_rows
        footer = b""

        def next_part() -> tuple[bytes, int] | None:
            chunk = rest.next_chunk()
            return None if chunk is None else (self._encoded(chunk[0]), chunk[1])

        try:
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            part: bytes = await self._lane.run(lambda: self._encoded(answer.body))
            try:
                while True:
                    if part:
                        await self._send_part(part)
                    chunk = await self._finish(self._lane.run(next_part), control)
                    if chunk is None:
                        break
                    part, rows = chunk[0], rows + chunk[1]
            except QueryFailure as failure:
                # The status line has gone out already; ClickHouse reports this in the body, behind a tag of the headers.
                footer = exception_footer(failure, tag)
            metrics.RESULT_ROWS.inc(rows)
            last = self._encoded(footer) + (self._encoder.flush() if self._encoder is not None else b"")
            await self._send({"type": "http.response.body", "body": last, "more_body": False})
        finally:
            # Not awaited: this also runs when the task is cancelled, and closing needs no answer.
            self._lane.run(rest.close)

    async def _send_part(self, part: bytes) -> None:
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._send({"type": "http.response.body", "body": part, "more_body": True})
        except TimeoutError:
            raise ClientGone from None

    def _encoded(self, data: bytes) -> bytes:
        return data if self._encoder is None else self._encoder.compress(data)

    async def _finish(self, work: asyncio.Future[T], control: Callable[[Callable[[], Any]], Awaitable[Any]]) -> T:
        """Wait for work in a thread; when the client hangs up first, kill the query and raise `ClientGone`."""
        if self._gone is not None:
            waited: set[asyncio.Future[Any]] = {work, self._gone}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if self._gone.done():
                while not work.done():
                    # Again and again, because the query may not have reached the engine yet.
                    await control(lambda: self._engine.kill(self._query.query_id))
                    await asyncio.wait({work}, timeout=0.1)
                _close_unread(work)
                raise ClientGone
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            # The server stops and does not wait for this request any longer; its thread still does.
            work.add_done_callback(_close_unread)
            raise


async def reply(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send a whole answer."""
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _close_unread(work: asyncio.Future[Any]) -> None:
    """Free the handle of an answer that nobody will read."""
    if not work.cancelled() and work.exception() is None:
        outcome = work.result()
        if isinstance(outcome, Answer) and outcome.rest is not None:
            outcome.rest.close()


async def disconnected(receive: Receive) -> None:
    """Return when the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass
