"""The layer between the server and every question, as ASGI: a request in, its turn ended when the answer is out."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Request

from query.admission import Admission, Turn

_TURN: Final = "aegis.turn"


class QueryLayer:
    """Goes around an application that has questions (`add_middleware`)."""

    def __init__(self, app: Any, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        turn = scope[_TURN] = Turn(self._admission)
        try:
            await self._app(scope, receive, send)
        finally:
            # Also when the client is gone or the server stops.
            turn.end()


def turn_of(request: Request) -> Turn:
    """The turn of a request. A question that is served without the layer fails, as it would have no limits."""
    turn = request.scope[_TURN]
    assert isinstance(turn, Turn)
    return turn
