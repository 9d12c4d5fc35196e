"""The ingest Structs -> what OpenAPI says of the ingestion routes: headers, schemas, and an example each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from gateway.published_answers import ANSWER_SCHEMAS
from topics.content_encoding import ENCODINGS
from topics.log_records import LogsRequest
from topics.metric_records import MetricsRequest
from topics.rum_records import RumRequest
from topics.span_records import SpanEvent, SpanLink, SpansRequest
from topics.timestamps import TIMESTAMP_FORMAT, TIMESTAMP_SCHEMAS

_SCHEMAS = "#/components/schemas/{name}"

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
        """The body, the headers, and every answer."""
        schema = {"$ref": _SCHEMAS.format(name=self.request.__name__)}
        body = {"required": True, "content": {"application/json": {"schema": schema, "example": self.example}}}
        return {"requestBody": body, "parameters": _HEADERS}


ROUTES: Final = {
    "/v1/logs": PublishedRoute("Send 1 to 1000 logs", LogsRequest, {"logs": [_LOG]}),
    "/v1/metrics": PublishedRoute("Send 1 to 5000 metric points", MetricsRequest, {"metrics": _POINTS}),
    "/v1/traces": PublishedRoute("Send 1 to 500 spans", SpansRequest, {"spans": [_SPAN]}),
    "/v1/rum": PublishedRoute("Send 1 to 1000 RUM events", RumRequest, {"events": [_RUM_EVENT]}),
}

_HEADER = {"in": "header", "required": True}
_HEADERS = [
    {
        "name": "x-org-key",
        **_HEADER,
        "schema": {"type": "string", "pattern": "^[!-~]{1,200}$", "examples": ["obs_0123456789abcdef"]},
        "description": "prefix of an API key, which may be seen by anybody",
    },
    {
        "name": "x-timestamp",
        **_HEADER,
        "schema": {"type": "string", "pattern": "^[0-9]{1,15}$", "examples": ["1761904800000"]},
        "description": "unix milliseconds of the signing; at most 300 s off our clock, either way (AEGIS_TIMESTAMP_WINDOW_S)",
    },
    {
        "name": "x-signature",
        **_HEADER,
        "schema": {
            "type": "string",
            "pattern": "^(sha256|v2)=[0-9a-fA-F]{64}$",
            "examples": [f"sha256={'0' * 64}", f"v2={'0' * 64}"],
        },
        "description": "`sha256=` and the hex HMAC-SHA256, under the key's secret, of the body as it is sent (compressed, if it"
        " is), or `v2=` and that of the x-timestamp, a full stop and the body, which an organization may require."
        " The same key, x-timestamp and signature are the same request: it is taken once",
    },
    {
        "name": "x-idempotency-key",
        **_HEADER,
        "required": False,
        "schema": {"type": "string", "pattern": "^[!-~]{1,255}$", "examples": ["7f0c1f0e-5d1b-4a6e-9d0b-3a1c1c0e8d11"]},
        "description": "whatever names this request for you: within 24 h the same one is taken once, however it is signed, and"
        " with another body it is refused. So many may be in use at a time: AEGIS_IDEMPOTENCY_KEYS_MAX",
    },
    {
        "name": "content-encoding",
        **_HEADER,
        "required": False,
        "schema": {"type": "string", "enum": [*ENCODINGS, "x-gzip"]},
        "description": "how the body is compressed, in any case of letters; at most 5 MiB as sent (AEGIS_BODY_BYTES_MAX) and"
        " 20 MiB decompressed (AEGIS_DECODED_BYTES_MAX)",
    },
]


def ingest_schemas() -> dict[str, Any]:
    """Every ingest Struct as a JSON schema, by name, and what is nested as undecoded JSON; and the bodies of answers."""
    requests = [route.request for route in ROUTES.values()]
    _, schemas = msgspec.json.schema_components([*requests, SpanEvent, SpanLink], ref_template=_SCHEMAS)
    return {name: _with_timestamps(schema) for name, schema in schemas.items()} | ANSWER_SCHEMAS


def _with_timestamps(schema: Any) -> Any:
    """The same schema with what a timestamp may be in place of its bare types, which is all that msgspec can say."""
    if isinstance(schema, list):
        return [_with_timestamps(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == TIMESTAMP_FORMAT and "anyOf" in schema:
        null = [each for each in schema["anyOf"] if each == {"type": "null"}]
        return {name: each for name, each in schema.items() if name != "format"} | {
            "anyOf": [*TIMESTAMP_SCHEMAS, *null]
        }
    return {name: _with_timestamps(each) for name, each in schema.items()}
