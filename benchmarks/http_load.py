"""Signed bodies -> a gateway, as fast as it answers, for little CPU: connections that keep one request under way each.

A general HTTP client spends more on a request than the gateway does, and on two cores would measure itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from aegis.client import sign


async def send_bodies(
    url: str,
    bodies: Sequence[tuple[bytes, int]],
    *,
    org_key: str,
    secret: str,
    connections: int,
    path: str = "/v1/logs",
) -> Counter[int]:
    """Send every body to `path` over `connections` connections; how often each status was answered.

    Requests are signed before the first is sent, so all must be sent within the gateway's timestamp window.
    """
    place = urlsplit(url)
    requests = iter([_request(place.netloc, path, body, org_key, secret) for body, _ in bodies])
    loop = asyncio.get_running_loop()
    statuses: Counter[int] = Counter()
    senders = [
        (await loop.create_connection(lambda: _Sender(requests, statuses), place.hostname, place.port))[1]
        for _ in range(connections)
    ]
    for sender in senders:
        sender.send_next()
    await asyncio.gather(*(sender.done for sender in senders))
    return statuses


async def send_paced(
    url: str,
    bodies: Sequence[tuple[bytes, int]],
    *,
    org_key: str,
    secret: str,
    per_second: float,
    connections: int,
    path: str,
) -> list[float]:
    """Send bodies at a steady rate; seconds from when each was due to its 202, so that waiting for a connection counts."""
    place = urlsplit(url)
    requests = [_request(place.netloc, path, body, org_key, secret) for body, _ in bodies]
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    idle: asyncio.Queue[_Sender] = asyncio.Queue()
    for _ in range(connections):
        _, sender = await loop.create_connection(lambda: _Sender(iter(()), statuses), place.hostname, place.port)
        idle.put_nowait(sender)
    begin = loop.time()

    async def send(due: float, request: bytes) -> None:
        sender = await idle.get()
        await sender.send_one(request)
        latencies.append(loop.time() - due)
        idle.put_nowait(sender)

    sending: list[asyncio.Task[None]] = []
    for number, request in enumerate(requests):
        due = begin + number / per_second
        await asyncio.sleep(max(0.0, due - loop.time()))
        sending.append(asyncio.create_task(send(due, request)))
    await asyncio.gather(*sending)
    while not idle.empty():
        idle.get_nowait().close()
    if set(statuses) != {202}:
        raise SystemExit(f"not every request was accepted: {dict(statuses)}")
    return latencies


def _request(host: str, path: str, body: bytes, org_key: str, secret: str) -> bytes:
    headers = sign(body, org_key=org_key, secret=secret, timestamp_ms=int(time.time() * 1000))
    lines = [f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(body)}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
    return "".join([*lines, "\r\n"]).encode() + body


class _Sender(asyncio.Protocol):
    """One connection: sends a request, counts its answer, sends the next."""

    def __init__(self, requests: Iterator[bytes], statuses: Counter[int]) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._statuses = statuses
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._answered: asyncio.Future[None] | None = None

    async def send_one(self, request: bytes) -> None:
        """Send a request by itself, and return with its answer."""
        assert self._transport is not None
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._answered

    def close(self) -> None:
        """Close the connection."""
        assert self._transport is not None
        if not self.done.done():
            self.done.set_result(None)
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports are no subclass of asyncio's

    def send_next(self) -> None:
        assert self._transport is not None
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            if not self.done.done():
                self.done.set_result(None)
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, rest = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(rest) >= length:
            self._received = b""
            self._statuses[int(head[9:12])] += 1
            if self._answered is None:
                self.send_next()
            elif not self._answered.done():  # Whoever asked may be gone.
                self._answered.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionResetError("the gateway closed the connection"))
