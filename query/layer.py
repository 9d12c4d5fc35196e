"""The layer between the server and every question, as ASGI.

A request in; around its answer: a turn that ends when the answer is out, an end of the work when the client leaves, and an
answer compressed with what the client accepts (zstd, gzip). Streamed answers go out piece by piece, compressed or not.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from fastapi import Request
from prometheus_client import Counter
from starlette_compress import CompressMiddleware, add_compress_type

from query.admission import Admission, Turn
from web.disconnects import while_connected

QUESTIONS: Final = ("/query", "/api/v1")
"""Under these paths nothing is changed, so the work for a client who left can be ended wherever it is."""

_TURN: Final = "aegis.turn"
_SMALL: Final = 1024
_PIECE_BYTES: Final = 256 << 10
_LEFT = Counter("aegis_query_clients_left_total", "Questions whose client left before the answer was out")

# Of streams each piece is flushed: who follows lines sees them when they are there.
add_compress_type("application/x-ndjson", streaming=True)
add_compress_type("text/csv")


class QueryLayer:
    """Goes around an application that has questions (`add_middleware`)."""

    def __init__(self, app: Any, admission: Admission) -> None:
        self._app = app
        self._admission = admission
        # The lowest levels: JSON of records becomes a tenth of its size with them, and higher ones take several times as long.
        self._compressed = CompressMiddleware(
            self._in_pieces, minimum_size=_SMALL, zstd_level=1, gzip_level=1, brotli=False
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        turn = scope[_TURN] = Turn(self._admission)
        try:
            if not scope["path"].startswith(QUESTIONS):
                await self._app(scope, receive, send)
            elif not await while_connected(self._compressed, scope, receive, send):
                _LEFT.inc()
        finally:
            turn.end()

    async def _in_pieces(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the application; a large body of it is compressed piece by piece, so that the event loop is not held meanwhile."""

        async def send_on(message: Any) -> None:
            body = message.get("body", b"")
            while len(body) > _PIECE_BYTES:
                await send({"type": "http.response.body", "body": body[:_PIECE_BYTES], "more_body": True})
                body = body[_PIECE_BYTES:]
                await asyncio.sleep(0)
            await send({**message, "body": body} if "body" in message else message)

        await self._app(scope, receive, send_on)


def turn_of(request: Request) -> Turn:
    """The turn of a request. A question that is served without the layer fails, as it would have no limits."""
    turn = request.scope[_TURN]
    assert isinstance(turn, Turn)
    return turn
