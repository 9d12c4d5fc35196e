"""HTTP requests in ClickHouse's protocol in, answers out: the bare ASGI application around the engine.

request -> password -> body (bounded) -> Query -> a lane's turn -> Exchange: engine in a thread -> answer
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from aegis.embedded.clickhouse import metrics
from aegis.embedded.clickhouse.admission import Lane, Limits
from aegis.embedded.clickhouse.answers import error_headers, result_headers
from aegis.embedded.clickhouse.engine import Engine
from aegis.embedded.clickhouse.exchange import ClientGone, Exchange, Message, Receive, Send, disconnected, reply
from aegis.embedded.clickhouse.failures import (
    AUTHENTICATION_FAILED,
    NOT_IMPLEMENTED,
    QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING,
    REQUEST_TOO_LARGE,
    TOO_MANY_SIMULTANEOUS_QUERIES,
    QueryFailure,
)
from aegis.embedded.clickhouse.requests import Query, credentials, read_query

T = TypeVar("T")

_PLAIN = [(b"content-type", b"text/plain; charset=UTF-8")]
# A body that is longer is decoded in a thread, so that the event loop is not held for more than about a millisecond.
_THREAD_FROM_BYTES = 64 * 1024


class ClickHouseApp:
    """The application of one process. `password` empty means that none is asked for."""

    def __init__(self, engine: Engine, limits: Limits, password: str = "") -> None:
        self._engine = engine
        self._limits = limits
        self._password = password.encode()
        self._reads = Lane("read", limits.reads_max, limits.waiting_max)
        self._inserts = Lane("insert", limits.inserts_max, limits.waiting_max)
        # Killing must work when every other thread is busy.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="clickhouse-control")
        self._bodies_bytes = 0
        self._running: dict[str, asyncio.Event] = {}
        self._started = time.monotonic()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope["path"]
        if path == "/ping":
            await reply(send, 200, _PLAIN, b"Ok.\n")
        elif path == "/health":
            await reply(send, 200, [(b"content-type", b"application/json")], json.dumps(self.health()).encode())
        elif path == "/metrics":
            await reply(send, 200, [(b"content-type", CONTENT_TYPE_LATEST.encode())], generate_latest())
        elif path != "/":
            await reply(send, 404, _PLAIN, b"There is no handle for this path; queries go to /\n")
        else:
            await self._serve_query(scope, receive, send)

    def health(self) -> dict[str, object]:
        """What /health says; this process has no dependencies."""
        return {
            "status": "ok",
            "version": self._engine.version,
            "uptime_s": round(time.monotonic() - self._started, 3),
            "running": self._reads.running + self._inserts.running,
        }

    async def stop(self, timeout_s: float) -> bool:
        """Kill what still runs and wait for it to end; True when nothing runs any more."""
        deadline = time.monotonic() + timeout_s
        lanes = (self._reads, self._inserts)
        while not all(lane.is_idle for lane in lanes) and time.monotonic() < deadline:
            await self._control(self._engine.kill_all)
            await asyncio.sleep(0.05)
        for lane in lanes:
            lane.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        return all(lane.is_idle for lane in lanes)

    async def _serve_query(self, scope: Message, receive: Receive, send: Send) -> None:
        started = time.monotonic()
        kind, result = "other", "ok"
        headers = dict(scope["headers"])
        held_bytes = 0
        try:
            if scope["method"] not in ("GET", "POST"):
                raise QueryFailure(NOT_IMPLEMENTED, f"HTTP method {scope['method']} is not served")
            self._check_password(scope["query_string"], headers)
            body = await self._read_body(headers, receive)
            held_bytes = len(body)
            self._bodies_bytes += held_bytes
            started = time.monotonic()
            query = await self._read_query(scope, headers, body)
            kind = {"read": "read", "insert_data": "insert"}.get(query.statement.kind, "other")
            await self._run(query, receive, send)
        except ClientGone:
            result = "cancelled"
        except QueryFailure as failure:
            result = "rejected" if failure.code == TOO_MANY_SIMULTANEOUS_QUERIES else "failed"
            await reply(send, failure.status, error_headers(failure), f"{failure}\n".encode())
        finally:
            self._bodies_bytes -= held_bytes
            metrics.QUERIES.labels(kind, result).inc()
            metrics.QUERY_SECONDS.labels(kind).observe(time.monotonic() - started)

    def _check_password(self, query_string: bytes, headers: dict[bytes, bytes]) -> None:
        if not self._password:
            return
        user, password = credentials(query_string, headers)
        if not hmac.compare_digest(password.encode(), self._password):
            raise QueryFailure(
                AUTHENTICATION_FAILED, f"{user}: Authentication failed: password is incorrect, or there is no such user"
            )

    async def _read_body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        announced = int(headers.get(b"content-length", b"0"))
        parts: list[bytes] = []
        size = 0
        more = True
        while more:
            self._check_room(max(size, announced))
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part: bytes = message.get("body", b"")
            size += len(part)
            parts.append(part)
            more = message.get("more_body", False)
        self._check_room(size)
        metrics.RECEIVED_BYTES.inc(size)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _check_room(self, size: int) -> None:
        if size > self._limits.body_bytes_max:
            raise QueryFailure(REQUEST_TOO_LARGE, f"the body is more than {self._limits.body_bytes_max} bytes")
        if self._bodies_bytes + size > self._limits.bodies_bytes_max:
            raise QueryFailure(
                TOO_MANY_SIMULTANEOUS_QUERIES,
                f"Too many simultaneous queries: their bodies hold {self._bodies_bytes} bytes",
            )

    async def _read_query(self, scope: Message, headers: dict[bytes, bytes], body: bytes) -> Query:
        def read() -> Query:
            return read_query(scope["method"], scope["query_string"], headers, body, self._limits.body_bytes_max)

        slow = b"content-encoding" in headers and len(body) > _THREAD_FROM_BYTES
        return await self._control(read) if slow else read()

    async def _run(self, query: Query, receive: Receive, send: Send) -> None:
        if query.kill is not None:
            await self._kill(query, *query.kill, send)
            return
        if query.query_id in self._running:
            raise QueryFailure(
                QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING, f"Query with id = {query.query_id} is already running"
            )
        lane = self._inserts if query.statement.kind == "insert_data" else self._reads
        ended = self._running[query.query_id] = asyncio.Event()
        # From here on, so that a read whose client left while it stood in line is not begun.
        gone = asyncio.ensure_future(disconnected(receive)) if query.statement.kind == "read" else None
        try:
            async with lane.turn():
                await Exchange(self._engine, lane, query, gone, send).run(self._control)
        finally:
            if gone is not None:
                gone.cancel()
            del self._running[query.query_id]
            ended.set()

    async def _kill(self, query: Query, query_id: str, mode: str, send: Send) -> None:
        answer = await self._control(lambda: self._engine.kill(query_id, "TEST" if mode == "TEST" else "ASYNC"))
        ended = self._running.get(query_id)
        if mode == "SYNC" and ended is not None:
            await ended.wait()
        await reply(send, 200, result_headers(query, answer, self._engine.timezone), answer.body)

    async def _control(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
