"""The ingest Structs -> what OpenAPI says of the ingestion routes: schemas, an example each, and every error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from topics.log_records import LogsRequest
from topics.metric_records import MetricsRequest
from topics.rum_records import RumRequest
from topics.span_records import SpanEvent, SpanLink, SpansRequest

_SCHEMAS = "#/components/schemas/{name}"

ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "Malformed JSON, invalid UTF-8, or a header that is there twice"},
    401: {"description": "Unsigned, wrong signature, stale timestamp, unknown or expired key"},
    403: {"description": "The key may not send this signal"},
    408: {"description": "The body did not arrive in time"},
    413: {"description": "Too many records or bytes"},
    415: {"description": "Wrong content type or encoding"},
    422: {"description": "A field is wrong; `details[0].path` names it"},
    503: {"description": "The pipeline is full or away; try again after `Retry-After` seconds"},
}

_LOG = {
    "timestamp": "2025-10-31T10:00:00Z",
    "service": "api",
    "level": "error",
    "message": "Database connection failed",
    "attributes": {"attempt": 3, "database": "orders"},
}
_POINTS = [
    {
        "name": "http_requests_total",
        "type": "counter",
        "value": 1027,
        "timestamp": 1761904800000,
        "labels": {"service": "api", "method": "GET", "status": "200"},
    },
    {"name": "queue_depth", "type": "gauge", "value": 12.5, "labels": {"service": "api"}},
]
_SPAN = {
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "span_id": "00f067aa0ba902b7",
    "service": "api",
    "operation": "GET /orders/{id}",
    "kind": "server",
    "start_time": "2025-10-31T10:00:00.000Z",
    "end_time": "2025-10-31T10:00:00.042Z",
    "status": "error",
    "status_message": "upstream did not answer",
    "attributes": {"http.status_code": 503},
    "events": [{"name": "retry", "timestamp": "2025-10-31T10:00:00.020Z", "attributes": {"attempt": 2}}],
}
_RUM_EVENT = {
    "timestamp": "2025-10-31T10:00:00Z",
    "type": "web_vital",
    "session_id": "s-81f2",
    "view_id": "v-3",
    "page_url": "https://shop.example.com/orders/17",
    "page_path": "/orders/{id}",
    "name": "LCP",
    "value": 1840.5,
    "client": {"user_agent": "Mozilla/5.0", "screen": "390x844"},
}


@dataclass(frozen=True, slots=True)
class PublishedRoute:
    """One ingestion route as OpenAPI shows it."""

    summary: str
    request: type[msgspec.Struct]
    example: dict[str, Any]

    def operation(self) -> dict[str, Any]:
        """The body and the signing headers."""
        schema = {"$ref": _SCHEMAS.format(name=self.request.__name__)}
        body = {"required": True, "content": {"application/json": {"schema": schema, "example": self.example}}}
        return {"requestBody": body, "parameters": _SIGNING_HEADERS}


ROUTES: Final = {
    "/v1/logs": PublishedRoute("Send 1 to 1000 logs", LogsRequest, {"logs": [_LOG]}),
    "/v1/metrics": PublishedRoute("Send 1 to 5000 metric points", MetricsRequest, {"metrics": _POINTS}),
    "/v1/traces": PublishedRoute("Send 1 to 500 spans", SpansRequest, {"spans": [_SPAN]}),
    "/v1/rum": PublishedRoute("Send 1 to 1000 RUM events", RumRequest, {"events": [_RUM_EVENT]}),
}

_HEADER = {"in": "header", "required": True}
_SIGNING_HEADERS = [
    {"name": "x-org-key", **_HEADER, "schema": {"type": "string"}, "description": "prefix of an API key"},
    {
        "name": "x-signature",
        **_HEADER,
        "schema": {"type": "string", "pattern": "^sha256=[0-9a-fA-F]{64}$"},
        "description": "sha256=<hex HMAC-SHA256 of the raw body under the key's secret>",
    },
    {
        "name": "x-timestamp",
        **_HEADER,
        "schema": {"type": "string", "pattern": "^[0-9]{1,15}$"},
        "description": "unix milliseconds, at most 5 minutes off",
    },
]


def ingest_schemas() -> dict[str, Any]:
    """Every ingest Struct as a JSON schema, by name; what is nested as undecoded JSON too."""
    requests = [route.request for route in ROUTES.values()]
    _, schemas = msgspec.json.schema_components([*requests, SpanEvent, SpanLink], ref_template=_SCHEMAS)
    return schemas
