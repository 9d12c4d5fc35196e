"""Bytes from strangers -> requests within bounds: the head of a request by size and time, and the body of framework routes.

The server that we use has no bound on either: one connection could fill the memory with headers, or hold a socket for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from topics.errors import Refused
from web.error_replies import ErrorReply, error_body, error_reply
from web.request_body import ClientGone, read_body

HEAD_BYTES_MAX = 65_536
HEAD_TIMEOUT_S = 20.0
LINGER_S = 1.0
BODY_BYTES_MAX = 65_536
FILE_BYTES_MAX = 1 << 20
FILES = frozenset({"/monitors/import"})
"""Where the body is a file that people keep."""
BODY_TIMEOUT_S = 20.0

Receive = Callable[[], Coroutine[Any, Any, Any]]
Send = Callable[[Any], Awaitable[None]]


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, which cuts off a request whose head is larger than 64 KB or takes longer than 20 s.

    While `draining`, each request is the last one of its connection, and its answer says so.
    """

    draining: ClassVar[bool] = False
    _head_bytes = 0
    _in_head = True
    _cut = False
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer with the connection."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what arrives before a head is complete. A body's bytes are counted by whoever reads it."""
        if self._cut:
            return
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        # A head and a body may share a piece, so the piece is parsed first; it is judged if the head is open still.
        if self._in_head and self._head_bytes > HEAD_BYTES_MAX and not self._cut and not self.transport.is_closing():
            self._cut_off(431, "head_too_large", f"cannot accept: more than {HEAD_BYTES_MAX} bytes of headers")

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is answered in our shape, too: `msg` is uvicorn's words for it."""
        self._cut_off(400, "malformed_request", f"cannot accept: {msg.rstrip('.').lower()}")

    def on_message_begin(self) -> None:
        """A head begins, on a fresh connection or behind an earlier request."""
        super().on_message_begin()
        if not self._in_head:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head = False
        self._stop_timer()
        super().on_headers_complete()
        if self.draining and self.cycle is not None:
            self.cycle.keep_alive = False

    def _expect_head(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self._stop_timer()
        self._head_timer = self.loop.call_later(
            HEAD_TIMEOUT_S,
            self._cut_off,
            408,
            "slow_request",
            f"cannot accept: the headers did not arrive within {HEAD_TIMEOUT_S:g} s",
        )

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cut_off(self, status: int, code: str, message: str) -> None:
        self._stop_timer()
        self._cut = True
        body = error_body(code, message)
        head = (
            f"HTTP/1.1 {status} Refused\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        # Closing at once on a client that still sends would reset the connection, and take the answer with it.
        self.loop.call_later(LINGER_S, self.transport.close)


async def serve_bounded(app: Callable[..., Awaitable[None]], scope: Any, receive: Receive, send: Send) -> None:
    """Run an ASGI application on a body of at most 64 KB (of a file 1 MB) that arrives within 20 s; answer 413 or 408 otherwise.

    The body is read before the application is called. It is for routes whose bodies are questions, not data.
    """
    if scope["type"] != "http":
        await app(scope, receive, send)
        return
    try:
        bytes_max = FILE_BYTES_MAX if scope["path"] in FILES else BODY_BYTES_MAX
        body = await read_body(receive, bytes_max=bytes_max, timeout_s=BODY_TIMEOUT_S)
    except Refused as exc:
        await _reply(send, error_reply(exc))
        return
    except ClientGone:
        return
    pending: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Any:
        return pending.pop() if pending else await receive()

    await app(scope, replay, send)


async def _reply(send: Send, reply: ErrorReply) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(reply.body)),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
