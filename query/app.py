"""The query API as a FastAPI application of its own (`aegis query`), or as a router beside the gateway (`aegis up`)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI

from query.logs import logs_router
from query.tokens import Tokens
from storage.logs import LogStore
from web.bounded_http import serve_bounded
from web.error_replies import install_error_replies
from web.health import Health, health_router


def query_router(*, logs: LogStore, tokens: Tokens) -> APIRouter:
    """Every question that can be asked, one router a signal."""
    router = APIRouter()
    router.include_router(logs_router(logs, tokens))
    return router


class _QueryApp(FastAPI):
    """FastAPI with bounds on what it reads."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await serve_bounded(super().__call__, scope, receive, send)


def create_query_app(*, logs: LogStore, tokens: Tokens, health: Health) -> FastAPI:
    """The query API alone."""
    app = _QueryApp(title="Aegis query API", version="0.1.0", summary="Ask for what was sent.")
    install_error_replies(app)
    app.include_router(query_router(logs=logs, tokens=tokens))
    app.include_router(health_router(health))
    return app
