"""Redis commands from any number of callers -> one connection, one write an event-loop turn.

redis-py costs 17 us of CPU a command when 8 callers share its pipeline and 53 when one waits alone; this costs 4.5 and 11
(benchmarks/add_to_stream.py), and it stands in every ingestion request. Packing and parsing are hiredis.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import hiredis

from topics.errors import Unavailable
from topics.redis_streams.errors import OutcomeUnknown

log = logging.getLogger(__name__)

Arg = bytes | str | int | float

CONNECT_TIMEOUT_S = 2.0
BACKOFF_MAX_S = 1.0


class PipelinedConnection:
    """A connection that reconnects by itself and fails fast while it is away.

    Commands that were written when the connection dies fail with `Unavailable`: whether Redis ran them is not known, and
    it is the caller's business to make that harmless.
    """

    def __init__(self, url: str, *, reply_timeout_s: float = 5.0, buffer_bytes_max: int = 64 << 20) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port or 6379
        self._hello: list[tuple[Arg, ...]] = []
        if parts.password:
            self._hello.append(
                ("AUTH", *([unquote(parts.username)] if parts.username else []), unquote(parts.password))
            )
        if parts.path.strip("/"):
            self._hello.append(("SELECT", parts.path.strip("/")))
        self._reply_timeout_s = reply_timeout_s
        self._buffer_bytes_max = buffer_bytes_max
        self._wire: _Wire | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._why_away = "not connected yet"
        self._queue: list[bytes] = []
        self._queue_bytes = 0

    async def start(self) -> None:
        """Begin to connect, and keep connected. Returns after the first try, whatever came of it."""
        self._loop = asyncio.get_running_loop()
        tried = asyncio.Event()
        self._task = self._loop.create_task(self._keep_connected(tried))
        await tried.wait()

    async def close(self) -> None:
        """Wait for the replies that are due (at most the reply timeout), then disconnect."""
        wire = self._wire
        if wire is not None:
            self._write()
            if wire.waiting:
                await asyncio.wait(list(wire.waiting), timeout=self._reply_timeout_s)
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def call(self, *args: Arg) -> asyncio.Future[Any]:
        """Queue one command; the future gives Redis' reply, as bytes, int, list or None.

        It fails with `Unavailable` (away, buffer full, no answer in time) or `hiredis.ReplyError` (Redis says no).
        """
        return self._queued(_pack(args), 1)[0]

    def call_all(self, *commands: tuple[Arg, ...]) -> list[asyncio.Future[Any]]:
        """Queue several commands next to each other, for a transaction: all of them, or with `Unavailable` none."""
        return self._queued(b"".join(map(_pack, commands)), len(commands))

    def _queued(self, packed: bytes, commands: int) -> list[asyncio.Future[Any]]:
        wire, loop = self._wire, self._loop
        # A connection may be lost for a moment before its watcher has woken and put it away.
        if wire is None or loop is None or wire.closed.is_set():
            raise Unavailable(f"cannot reach Redis at {self._host}:{self._port}: {self._why_away}")
        if self._queue_bytes + len(packed) + wire.unsent_bytes() > self._buffer_bytes_max:
            raise Unavailable(f"cannot send to Redis: {self._buffer_bytes_max} bytes are waiting already")
        if not self._queue:
            loop.call_soon(self._write)
        self._queue.append(packed)
        self._queue_bytes += len(packed)
        futures: list[asyncio.Future[Any]] = [loop.create_future() for _ in range(commands)]
        wire.waiting.extend(futures)
        return futures

    def _write(self) -> None:
        queue, self._queue, self._queue_bytes = self._queue, [], 0
        if queue and self._wire is not None:
            self._wire.write(queue)

    async def _keep_connected(self, tried: asyncio.Event) -> None:
        backoff_s = 0.05
        while True:
            try:
                wire = await self._connect()
            except (OSError, TimeoutError, hiredis.ReplyError, Unavailable) as exc:
                self._away(str(exc) or type(exc).__name__)
                tried.set()
                await asyncio.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)
                continue
            backoff_s = 0.05
            self._wire = wire
            log.info("connected to Redis at %s:%s", self._host, self._port)
            tried.set()
            try:
                await self._watch(wire)
            finally:
                self._wire, self._queue, self._queue_bytes = None, [], 0
                wire.abort("the connection was closed")
            self._away("the connection was lost")

    async def _connect(self) -> _Wire:
        assert self._loop is not None
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, wire = await self._loop.create_connection(_Wire, self._host, self._port)
            try:
                for args in [*self._hello, ("PING",)]:
                    reply = self._loop.create_future()
                    wire.waiting.append(reply)
                    wire.write([_pack(args)])
                    await reply
            except BaseException:
                wire.abort("the connection could not be set up")
                raise
        return wire

    async def _watch(self, wire: _Wire) -> None:
        """Return when the connection is lost, or has owed a reply for too long (a stopped Redis keeps its sockets open)."""
        step_s = self._reply_timeout_s / 4
        while not wire.closed.is_set():
            replies, owed = wire.replies, bool(wire.waiting)
            # Not wait_for: when a cancellation comes with the event, Python 3.11 loses it there, and close() would hang.
            with suppress(TimeoutError):
                async with asyncio.timeout(step_s):
                    await wire.closed.wait()
            silent_s = 0.0
            while owed and wire.replies == replies and wire.waiting and not wire.closed.is_set():
                silent_s += step_s
                if silent_s >= self._reply_timeout_s:
                    wire.abort(f"no answer within {self._reply_timeout_s:g} s")
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(step_s):
                        await wire.closed.wait()

    def _away(self, why: str) -> None:
        if why != self._why_away:
            log.warning("no connection to Redis at %s:%s: %s", self._host, self._port, why)
        self._why_away = why


def _pack(args: tuple[Arg, ...]) -> bytes:
    packed: bytes = hiredis.pack_command(args)  # type: ignore[arg-type]  # the stub says a tuple of exactly one
    return packed


class _Wire(asyncio.Protocol):
    """One TCP connection: replies are handed to `waiting` in order."""

    def __init__(self) -> None:
        self.waiting: deque[asyncio.Future[Any]] = deque()
        self.closed = asyncio.Event()
        self.replies = 0
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._why = "the connection was lost"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's, so there is nothing to check.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while True:
            reply = self._reader.gets()
            if reply is False:
                return
            self.replies += 1
            future = self.waiting.popleft()
            if future.done():
                continue  # Its caller was cancelled.
            if isinstance(reply, hiredis.ReplyError):
                future.set_exception(reply)
            else:
                future.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()
        reason = f"cannot say whether Redis took it: {self._why}"
        while self.waiting:
            future = self.waiting.popleft()
            if not future.done():
                future.set_exception(OutcomeUnknown(reason))

    def write(self, packed: list[bytes]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(packed)

    def unsent_bytes(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def abort(self, why: str) -> None:
        self._why = why
        if self._transport is not None:
            self._transport.abort()
