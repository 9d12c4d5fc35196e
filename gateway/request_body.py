"""ASGI messages -> the whole body of a request, within a bound of bytes and of time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from topics.errors import Refused

Receive = Callable[[], Awaitable[Any]]

BODY_TIMEOUT_S = 30.0


class ClientGone(Exception):
    """The client closed the connection before its body was complete: there is nobody left to answer."""


async def read_body(receive: Receive, *, bytes_max: int) -> bytes:
    """The body. Raises `Refused` (body_too_large, slow_request), or `ClientGone`.

    What lies beyond the bound is never kept; the server drops the connection when the reply is written.
    """
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            message = await receive()
            first: bytes = message.get("body", b"")
            if not message.get("more_body", False) and message["type"] == "http.request" and len(first) <= bytes_max:
                return first
            return await _read_rest(message, receive, bytes_max)
    except TimeoutError:
        raise Refused(
            f"cannot accept: the body did not arrive within {BODY_TIMEOUT_S:g} s", code="slow_request"
        ) from None


async def _read_rest(message: Any, receive: Receive, bytes_max: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > bytes_max:
            raise body_too_large(bytes_max)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)
        message = await receive()


def body_too_large(bytes_max: int) -> Refused:
    """The refusal for a body past the bound, by its announced or by its real length."""
    return Refused(f"cannot accept: the body is larger than {bytes_max} bytes", code="body_too_large")
