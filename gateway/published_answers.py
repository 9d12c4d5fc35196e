"""The answers of the ingestion routes as OpenAPI shows them: every status with its headers, its body, and an example."""

from __future__ import annotations

from typing import Any, Final

_REQUEST_ID = "0199f7a1c2d43e8b5f60a1b2c3d4e5f6"
_ID_SCHEMA: Final = {"type": "string", "pattern": "^[0-9a-f]{32}$"}


def _header(description: str, schema: dict[str, Any], *, always: bool = True) -> dict[str, Any]:
    return {"description": description, "required": always, "schema": schema}


def _count(minimum: int = 0) -> dict[str, Any]:
    return {"type": "integer", "minimum": minimum}


_X_REQUEST_ID: Final = {"x-request-id": _header("names this request in our log", _ID_SCHEMA)}
_RATE_LIMIT: Final = {
    "ratelimit-limit": _header(
        "requests a minute: of the organization, or of the address if that has less left", _count(1)
    ),
    "ratelimit-remaining": _header("requests left of them now", _count()),
    "ratelimit-reset": _header("seconds until all of them are there again", _count()),
}
_RETRY_AFTER: Final = {"retry-after": _header("seconds to wait before the next try", _count(1))}

ACCEPTED_SCHEMA: Final[dict[str, Any]] = {
    "title": "Accepted",
    "type": "object",
    "properties": {
        "accepted": {"type": "integer", "minimum": 1, "description": "records in the request, all of which are kept"},
        "request_id": {**_ID_SCHEMA, "description": "of this request, or of the first one if this is a repeat"},
    },
    "required": ["accepted", "request_id"],
    "additionalProperties": False,
}

ERROR_SCHEMA: Final[dict[str, Any]] = {
    "title": "Error",
    "description": "Why a request was not accepted. Nothing of it is kept.",
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "code": {"type": "string", "description": "for programs: one of the codes of the status"},
                "message": {"type": "string", "description": "for people"},
                "details": {
                    "type": "array",
                    "description": "the first field at fault, none when the whole request is",
                    "items": {
                        "type": "object",
                        "properties": {
                            "path": {"type": "string", "description": "for example logs[3].level"},
                            "message": {"type": "string"},
                        },
                        "required": ["path", "message"],
                        "additionalProperties": False,
                    },
                },
            },
            "required": ["code", "message", "details"],
            "additionalProperties": False,
        }
    },
    "required": ["error"],
    "additionalProperties": False,
}

ANSWER_SCHEMAS: Final = {"Accepted": ACCEPTED_SCHEMA, "Error": ERROR_SCHEMA}

_ACCEPTED: Final = {
    "description": "Every record is kept. The same signed request, or the same idempotency key, gives this answer again.",
    "headers": {
        **_X_REQUEST_ID,
        **_RATE_LIMIT,
        "x-idempotent-replay": _header(
            "true when this request was taken before, so that nothing was added", {"const": "true"}, always=False
        ),
    },
    "content": {
        "application/json": {
            "schema": {"$ref": "#/components/schemas/Accepted"},
            "example": {"accepted": 1, "request_id": _REQUEST_ID},
        }
    },
}

_REFUSALS: Final[dict[int, tuple[str, dict[str, tuple[str, str]]]]] = {
    400: (
        "The request cannot be read",
        {
            "malformed_request": ("", "cannot accept: the request is not HTTP/1.1"),
            "malformed_json": ("", "cannot read the body: JSON is malformed: invalid character (byte 12)"),
            "invalid_utf8": ("", "cannot read the body: not UTF-8 at byte 40"),
            "duplicate_header": ("", "cannot accept: header x-signature is there twice"),
            "bad_encoding": ("", "cannot read the body: the gzip data is cut off"),
        },
    ),
    401: (
        "Nobody we know signed this, now",
        {
            "unsigned": ("", "cannot accept: the request is not signed, header x-signature is missing"),
            "bad_signature": ("", "cannot accept: the signature does not fit the body and the key's secret"),
            "bad_timestamp_header": ("", "cannot accept: x-timestamp must be unix milliseconds, digits only"),
            "stale_timestamp": ("", "cannot accept: x-timestamp is 812 s behind our clock, more than 300 s"),
            "unknown_key": ("", "cannot accept: unknown API key (revoked, or never made)"),
            "expired_key": ("", "cannot accept: the API key has expired"),
        },
    ),
    403: ("The key may not send this signal", {"forbidden": ("", "cannot accept: this API key may not send rum")}),
    408: (
        "The headers or the body did not arrive in time; the connection is closed",
        {"slow_request": ("", "cannot accept: the body did not arrive within 30 s")},
    ),
    409: (
        "The idempotency key was used with another body",
        {"conflict": ("", "cannot accept: the idempotency key was used with another body within the last 24 h")},
    ),
    413: (
        "Too many records or bytes; the connection is closed",
        {
            "too_many_records": ("logs", "at most 1000 logs are allowed in one request"),
            "body_too_large": ("", "cannot accept: the body is larger than 5242880 bytes"),
        },
    ),
    415: (
        "Wrong media type or content encoding",
        {
            "unsupported_media_type": ("", "cannot accept content-type 'text/plain': send application/json"),
            "unsupported_encoding": ("", "cannot accept content-encoding 'br': send identity, gzip, deflate, zstd"),
        },
    ),
    422: (
        "A field is wrong; `details[0].path` names it",
        {"invalid_field": ("logs[1].level", "expected `str`, got `int`")},
    ),
    429: (
        "The organization or the address has sent what it may for now, or the organization has too many idempotency keys in use",
        {"rate_limited": ("", "cannot accept: this organization may send 10000 requests a minute")},
    ),
    431: (
        "More than 64 KB of headers; the connection is closed",
        {"head_too_large": ("", "cannot accept: more than 65536 bytes of headers")},
    ),
    500: ("A mistake of ours, which our log describes", {"internal": ("", "cannot answer: something went wrong here")}),
    503: (
        "The pipeline is full, or a part of it is away; nothing is lost if you try again",
        {"unavailable": ("", "cannot enqueue: the pipeline is full")},
    ),
}
"""Status -> what it means, and its codes, each with an example's path and message."""

_BEFORE_A_REQUEST: Final = {400, 408, 431}
"""Statuses that a connection may get before there is a request to name."""


def _refusal(status: int) -> dict[str, Any]:
    meaning, codes = _REFUSALS[status]
    headers = {"x-request-id": {**_X_REQUEST_ID["x-request-id"], "required": status not in _BEFORE_A_REQUEST}}
    if status in (429, 503):
        headers |= _RETRY_AFTER
    if status == 429:
        headers |= _RATE_LIMIT
    narrowed = {"properties": {"error": {"properties": {"code": {"enum": sorted(codes)}}}}}
    return {
        "description": f"{meaning} ({', '.join(codes)})",
        "headers": headers,
        "content": {
            "application/json": {
                "schema": {"allOf": [{"$ref": "#/components/schemas/Error"}, narrowed]},
                "examples": {code: {"value": _error_example(code, *shown)} for code, shown in codes.items()},
            }
        },
    }


def _error_example(code: str, path: str, message: str) -> dict[str, Any]:
    details = [{"path": path, "message": message}] if path else []
    return {"error": {"code": code, "message": f"{path}: {message}" if path else message, "details": details}}


ANSWERS: Final[dict[int | str, dict[str, Any]]] = {202: _ACCEPTED, **{status: _refusal(status) for status in _REFUSALS}}
"""Status -> OpenAPI's response object."""

PUBLISHED_CODES: Final = {code: status for status, (_, codes) in _REFUSALS.items() for code in codes}
"""Every error code that an ingestion route may give, with its status."""
