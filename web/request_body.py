"""ASGI messages -> the whole body of a request, within a bound of bytes and of time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from topics.errors import Refused, Unavailable

Receive = Callable[[], Coroutine[Any, Any, Any]]

BODY_TIMEOUT_S = 30.0


class ClientGone(Exception):
    """The client closed the connection before its body was complete: there is nobody left to answer."""


class BodiesInMemory:
    """How many bytes of unfinished bodies a process holds; past the bound it takes no more of them."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held = 0

    def hold(self, size: int) -> None:
        """Count bytes in. Raises `Unavailable` past the bound; what was counted before stays counted."""
        if self._held + size > self._bytes_max:
            raise Unavailable(f"cannot accept: {self._bytes_max} bytes of unfinished requests are held already")
        self._held += size

    def let_go(self, size: int) -> None:
        """Count them out."""
        self._held -= size


async def read_body(
    receive: Receive, *, bytes_max: int, held: BodiesInMemory | None = None, timeout_s: float = BODY_TIMEOUT_S
) -> bytes:
    """The body. Raises `Refused` (body_too_large, slow_request), `Unavailable` (see `BodiesInMemory`), or `ClientGone`.

    What lies beyond the bound is never kept; the server drops the connection when the reply is written.
    """
    receiving = receive()
    try:
        waits_for = receiving.send(None)
    except StopIteration as arrived:
        # A small body comes with its head, and needs no timer, which costs as much as checking a signature.
        message = arrived.value
        if not message.get("more_body", False) and message["type"] == "http.request":
            whole: bytes = message.get("body", b"")
            if len(whole) > bytes_max:
                raise body_too_large(bytes_max) from None
            return whole
        waits_for = None
    try:
        async with asyncio.timeout(timeout_s):
            if waits_for is not None:
                message = await _Begun(receiving, waits_for)
            return await _read_rest(message, receive, bytes_max, held or BodiesInMemory(bytes_max))
    except TimeoutError:
        raise Refused(f"cannot accept: the body did not arrive within {timeout_s:g} s", code="slow_request") from None


class _Begun:
    """A coroutine that was begun by hand and waits for a future, as something to await."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, Any]:
        yield self._waits_for
        return (yield from self._coroutine.__await__())


async def _read_rest(message: Any, receive: Receive, bytes_max: int, held: BodiesInMemory) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        while True:
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            if size + len(part) > bytes_max:
                raise body_too_large(bytes_max)
            held.hold(len(part))
            size += len(part)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)
            message = await receive()
    finally:
        held.let_go(size)


def body_too_large(bytes_max: int) -> Refused:
    """The refusal for a body past the bound, by its announced or by its real length."""
    return Refused(f"cannot accept: the body is larger than {bytes_max} bytes", code="body_too_large")
