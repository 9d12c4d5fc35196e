"""The gateway as an ASGI application: the hot path for ingestion, FastAPI for everything around it.

The ingestion routes are declared as ordinary operations too, so that OpenAPI shows them; requests never get that far.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response

from gateway.ingest import Ingest
from topics.errors import Unavailable
from topics.log_records import LogsRequest
from web.bounded_http import serve_bounded
from web.error_replies import install_error_replies

_SCHEMAS = "#/components/schemas/{name}"

_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "Malformed JSON, invalid UTF-8, or a header that is there twice"},
    401: {"description": "Unsigned, wrong signature, stale timestamp, unknown or expired key"},
    403: {"description": "The key may not send this signal"},
    408: {"description": "The body did not arrive in time"},
    413: {"description": "Too many records or bytes"},
    415: {"description": "Wrong content type or encoding"},
    422: {"description": "A field is wrong; `details[0].path` names it"},
    503: {"description": "The pipeline is full or away; try again after `Retry-After` seconds"},
}

LOGS_EXAMPLE = {
    "logs": [
        {
            "timestamp": "2025-10-31T10:00:00Z",
            "service": "api",
            "level": "error",
            "message": "Database connection failed",
            "attributes": {"attempt": 3, "database": "orders"},
        }
    ]
}


class GatewayApp(FastAPI):
    """FastAPI with the ingestion routes in front of it."""

    def __init__(self, ingest: Ingest, **options: Any) -> None:
        super().__init__(
            title="Aegis",
            version="0.1.0",
            summary="Observability that a team runs itself: send logs here, and ask for them back.",
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
            await serve_bounded(super().__call__, scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """FastAPI's document plus the schemas of the msgspec Structs, which are the only ingest models."""
        if not self.openapi_schema:
            document = super().openapi()
            _, schemas = msgspec.json.schema_components([LogsRequest], ref_template=_SCHEMAS)
            document.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
            self.openapi_schema = document
        return self.openapi_schema


def _declare_ingestion(app: FastAPI) -> None:
    header = {"in": "header", "required": True}
    extra = {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": _SCHEMAS.format(name="LogsRequest")}, "example": LOGS_EXAMPLE}
            },
        },
        "parameters": [
            {"name": "x-org-key", **header, "schema": {"type": "string"}, "description": "prefix of an API key"},
            {
                "name": "x-signature",
                **header,
                "schema": {"type": "string", "pattern": "^sha256=[0-9a-fA-F]{64}$"},
                "description": "sha256=<hex HMAC-SHA256 of the raw body under the key's secret>",
            },
            {
                "name": "x-timestamp",
                **header,
                "schema": {"type": "string", "pattern": "^[0-9]{1,15}$"},
                "description": "unix milliseconds, at most 5 minutes off",
            },
        ],
    }

    async def declared_only(request: Request) -> Response:
        # Reached only when the hot path does not know the route, which is a mistake in the wiring.
        raise Unavailable(f"cannot serve {request.url.path}: ingestion is not wired")

    app.add_api_route(
        "/v1/logs",
        declared_only,
        methods=["POST"],
        status_code=202,
        tags=["ingestion"],
        summary="Send 1 to 1000 logs",
        response_description='`{"accepted": n, "request_id": "..."}`',
        responses=_ERRORS,
        openapi_extra=extra,
    )
