"""Failures -> HTTP: the one place that turns `Refused`, `Unavailable` and `TooExpensive` into a status and a JSON body.

{"error": {"code": "...", "message": "...", "details": [{"path": "logs[3].level", "message": "..."}]}}
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from topics.errors import AegisError, RateLimited, Refused, TooExpensive, Unavailable

log = logging.getLogger(__name__)

STATUS_OF_CODE: Final[dict[str, int]] = {
    # What is wrong with who asks.
    "unsigned": 401,
    "bad_signature": 401,
    "bad_timestamp_header": 401,
    "stale_timestamp": 401,
    "unknown_key": 401,
    "expired_key": 401,
    "bad_token": 401,
    "bad_login": 401,
    "forbidden": 403,
    # What is wrong with what is sent.
    "malformed_request": 400,
    "malformed_json": 400,
    "invalid_utf8": 400,
    "duplicate_header": 400,
    "bad_encoding": 400,
    "not_found": 404,
    "method_not_allowed": 405,
    "slow_request": 408,
    "conflict": 409,
    "choose_organization": 409,
    "body_too_large": 413,
    "too_many_records": 413,
    "unsupported_media_type": 415,
    "unsupported_encoding": 415,
    "head_too_large": 431,
    "invalid_field": 422,
    # What this process was not given the means for, and another may have been.
    "not_configured": 501,
    "bad_master_key": 501,
}
"""Refusals that have a status of their own; every other refusal is 422."""

DETAILS_MAX: Final = 100
"""Fields at fault that one answer names; a body of 64 KB has room for thousands."""
_PARSING_FAILED: Final = "There was an error parsing the body"
"""What FastAPI says of a body whose bytes are no text, and of JSON past the parser's own bounds."""

_CODE_OF_STATUS: Final = {
    400: "malformed_request",
    401: "bad_token",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
}


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An HTTP error before it is written: status, JSON body and extra headers."""

    status: int
    code: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def error_reply(exc: AegisError) -> ErrorReply:
    """The reply for a failure raised on purpose. What a dependency said of it is logged here, since it is not answered."""
    if isinstance(exc, RateLimited):
        shares = {"ratelimit-limit": str(exc.limit), "ratelimit-remaining": "0", "ratelimit-reset": str(exc.reset_s)}
        wait = {"retry-after": str(max(1, math.ceil(exc.retry_after_s)))}
        return ErrorReply(429, "rate_limited", error_body("rate_limited", exc.reason), wait | shares)
    if isinstance(exc, Unavailable):
        if exc.detail:
            log.warning("answered 503: %s", exc)
        wait = {"retry-after": str(max(1, math.ceil(exc.retry_after_s)))}
        return ErrorReply(503, "unavailable", error_body("unavailable", exc.reason), wait)
    if isinstance(exc, TooExpensive):
        return ErrorReply(422, "too_expensive", error_body("too_expensive", str(exc), [(exc.limit, exc.asked)]))
    if isinstance(exc, Refused):
        status = STATUS_OF_CODE.get(exc.code, 422)
        headers = {"www-authenticate": "Bearer"} if exc.code == "bad_token" else {}
        details = list(exc.details) or ([(exc.path, exc.reason)] if exc.path else [])
        message = f"{exc.path}: {exc.reason}" if exc.path else exc.reason
        return ErrorReply(status, exc.code, error_body(exc.code, message, details), headers)
    return ErrorReply(500, "internal", error_body("internal", "cannot answer: something went wrong here, see the log"))


def error_body(code: str, message: str, details: list[tuple[str, str]] | None = None) -> bytes:
    """The JSON body; `details` are (path, message) pairs."""
    shown = [{"path": path, "message": text} for path, text in details or []]
    return orjson.dumps({"error": {"code": code, "message": message, "details": shown}})


def install_error_replies(app: FastAPI) -> None:
    """Make every error of a FastAPI application answer in this shape, the framework's own ones included."""

    async def on_aegis_error(_: Request, exc: Exception) -> Response:
        assert isinstance(exc, AegisError)
        return _response(error_reply(exc))

    async def on_validation_error(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, RequestValidationError)
        if any(e["type"] == "json_invalid" for e in exc.errors()):
            return _response(error_reply(_unreadable(request)))
        if any(e["loc"] == ("body",) and e["type"] != "missing" for e in exc.errors()) and not _is_json(request):
            # The framework hands such a body over as bytes, and then says that these are no object.
            return _response(error_reply(_not_json(request)))
        details = [(field_path(e["loc"]), str(e["msg"])) for e in exc.errors()[:DETAILS_MAX]]
        message = "; ".join(f"{path}: {text}" if path else text for path, text in details[:3])
        return _response(ErrorReply(422, "invalid_field", error_body("invalid_field", message, details)))

    async def on_http_exception(request: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)
        if exc.status_code == 400 and str(exc.detail) == _PARSING_FAILED:
            return _response(error_reply(_unreadable(request)))
        code = _CODE_OF_STATUS.get(exc.status_code, "malformed_request")
        headers = dict(exc.headers or {})
        return _response(ErrorReply(exc.status_code, code, error_body(code, str(exc.detail).lower()), headers))

    async def on_bug(_: Request, exc: Exception) -> Response:
        return _response(error_reply(AegisError(str(exc))))

    app.add_exception_handler(AegisError, on_aegis_error)
    app.add_exception_handler(RequestValidationError, on_validation_error)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(Exception, on_bug)


def _is_json(request: Request) -> bool:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


def _not_json(request: Request) -> Refused:
    sent = request.headers.get("content-type", "")[:60]
    return Refused(f"cannot accept content-type {sent!r}: send application/json", code="unsupported_media_type")


def _unreadable(request: Request) -> Refused:
    """A body that is no JSON text: because it is compressed, which questions are too small for, or because it is none."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() != "identity":
        return Refused(
            f"cannot accept content-encoding {encoding[:60]!r}: send the body as it is", code="unsupported_encoding"
        )
    return Refused("cannot read the body: not JSON", code="malformed_json")


def field_path(location: tuple[Any, ...]) -> str:
    """A pydantic location -> our path: ("body", "filters", 0, "op") -> `filters[0].op`."""
    path = ""
    for part in location[1:] if location and location[0] in ("body", "query", "path", "header") else location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _response(reply: ErrorReply) -> Response:
    return Response(reply.body, reply.status, headers=reply.headers, media_type="application/json")
