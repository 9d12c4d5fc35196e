"""A real HTTP server that receives notifications (fixture `webhook_receiver`): what came, and answers as a test wants them.

`threaded_receiver` is the same in a thread of its own, for tests that are no coroutines.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass(frozen=True)
class Received:
    """One request, and when it was here in seconds of the monotonic clock."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def is_signed_with(self, secret: str) -> bool:
        """By the words of the contract, and not by our code."""
        text = f"{self.headers['x-aegis-timestamp']}:".encode() + self.body
        return self.headers["x-aegis-signature"] == "sha256=" + hmac.new(secret.encode(), text, "sha256").hexdigest()


Answer = Callable[[Received], int | bytes | None]
"""A status, a whole answer, or None for a connection that is cut without one."""


class WebhookReceiver:
    """Keeps every request; `answer` says what each gets, `delay_s` how long that takes."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.received: list[Received] = []
        self.answer: Answer = lambda _: 200
        self.delay_s = 0.0
        self.open_connections = 0
        self._serving: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Condition()
        self._tls = tls
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/hook"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """As a receiver that is away: the port refuses, `start` opens it again."""
        assert self._server is not None
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def wait_for(self, count: int, *, timeout_s: float = 10.0) -> list[Received]:
        """The first `count` requests, as soon as they are there."""
        async with asyncio.timeout(timeout_s), self._arrived:
            await self._arrived.wait_for(lambda: len(self.received) >= count)
        return self.received[:count]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while line := (await reader.readline()).decode():
                method, path, _ = line.split(" ", 2)
                headers: dict[str, str] = {}
                while field := (await reader.readline()).decode().strip():
                    name, _, value = field.partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                received = Received(method, path, headers, body, time.monotonic())
                answer = self.answer(received)
                async with self._arrived:
                    self.received.append(received)
                    self._arrived.notify_all()
                await asyncio.sleep(self.delay_s)
                if answer is None:
                    break
                if isinstance(answer, int):
                    answer = b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n\r\nok" % answer
                writer.write(answer)
                await writer.drain()
        self.open_connections -= 1
        self._serving.discard(task)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@pytest.fixture
async def webhook_receiver() -> AsyncIterator[WebhookReceiver]:
    receiver = WebhookReceiver()
    await receiver.start()
    yield receiver
    await receiver.stop()


class ThreadedReceiver:
    """A receiver that a test which is no coroutine can wait for."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.inner = self._run(self._make())

    async def _make(self) -> WebhookReceiver:
        receiver = WebhookReceiver()
        await receiver.start()
        return receiver

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    @property
    def url(self) -> str:
        return str(self.inner.url)

    @property
    def received(self) -> list[Received]:
        return list(self.inner.received)

    def wait_for(self, count: int, timeout_s: float = 30) -> list[Received]:
        """The first `count` requests, as soon as they are there."""
        found: list[Received] = self._run(self.inner.wait_for(count, timeout_s=timeout_s))
        return found

    def until(self, found: Callable[[list[Received]], list[Received]], timeout_s: float = 30) -> list[Received]:
        """What `found` chooses of all requests, as soon as that is anything."""
        deadline = time.monotonic() + timeout_s
        while not (chosen := found(self.received)):
            assert time.monotonic() < deadline, f"of {len(self.received)} requests none is the one"
            time.sleep(0.01)
        return chosen

    def close(self) -> None:
        self._run(self.inner.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def threaded_receiver() -> Iterator[ThreadedReceiver]:
    receiver = ThreadedReceiver()
    yield receiver
    receiver.close()
