"""The gateway as an ASGI application: the hot path for ingestion, FastAPI for everything around it.

The ingestion routes are declared as ordinary operations too, so that OpenAPI shows them; requests never get that far.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response

from gateway.ingest import Ingest
from gateway.published import ROUTES, ingest_schemas
from gateway.published_answers import ANSWERS
from topics.errors import Unavailable
from web.bounded_http import serve_bounded
from web.error_replies import install_error_replies


class GatewayApp(FastAPI):
    """FastAPI with the ingestion routes in front of it."""

    def __init__(self, ingest: Ingest, **options: Any) -> None:
        super().__init__(
            title="Aegis",
            version="0.1.0",
            summary="Observability that a team runs itself: send logs here, and ask for them back.",
            # A redirect names the scheme and host that this process sees, and most clients do not follow it with their token.
            redirect_slashes=False,
            **options,
        )
        self.ingest = ingest
        install_error_replies(self)
        _declare_ingestion(self)

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        """Ingestion requests straight to `Ingest`; everything else to FastAPI."""
        if self.ingest.takes(scope):
            await self.ingest(scope, receive, send)
        else:
            await serve_bounded(super().__call__, self.ingest.addresses.told(scope), receive, send)

    def openapi(self) -> dict[str, Any]:
        """FastAPI's document plus the schemas of the msgspec Structs, which are the only ingest models."""
        if not self.openapi_schema:
            document = super().openapi()
            document.setdefault("components", {}).setdefault("schemas", {}).update(ingest_schemas())
            self.openapi_schema = document
        return self.openapi_schema


def _declare_ingestion(app: FastAPI) -> None:
    async def declared_only(request: Request) -> Response:
        # Reached only when the hot path does not know the route, which is a mistake in the wiring.
        raise Unavailable(f"cannot serve {request.url.path}: ingestion is not wired")

    for path, route in ROUTES.items():
        app.add_api_route(
            path,
            declared_only,
            methods=["POST"],
            status_code=202,
            tags=["ingestion"],
            summary=route.summary,
            operation_id=f"send_{path.rpartition('/')[2]}",
            responses=ANSWERS,
            openapi_extra=route.operation(),
        )
