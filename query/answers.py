"""Answers of the query API: JSON that is written once, and how OpenAPI shows it, the refusals included."""

from __future__ import annotations

from typing import Any, Final

import orjson
from fastapi import Response

from storage.clickhouse import ReadStats


def json_answer(answer: dict[str, Any], status: int = 200, *, is_secret: bool = False) -> Response:
    """What FastAPI would do with more steps; `orjson.Fragment`s of stored JSON go out as they are.

    One with a secret in it says that nobody on the way may keep it (RFC 6749 section 5.1).
    """
    headers = {"cache-control": "no-store"} if is_secret else None
    return Response(orjson.dumps(answer), status, media_type="application/json", headers=headers)


def shown_stats(stats: ReadStats) -> dict[str, Any]:
    """What the question cost the store."""
    return {"rows_read": stats.rows_read, "bytes_read": stats.bytes_read, "elapsed_ms": stats.elapsed_ms}


STATS_EXAMPLE: Final = {"rows_read": 8192, "bytes_read": 131072, "elapsed_ms": 2.1}

BODY: Final = (400, 413, 415)
"""Refusals that a question has which is sent as a body."""

_REFUSALS: Final[dict[int, tuple[str, str, str]]] = {
    400: ("no JSON, or two Authorization headers", "malformed_json", "cannot read the body: not JSON"),
    413: ("more than 64 KB", "body_too_large", "cannot accept: the body is larger than 65536 bytes"),
    415: ("another content type, or a compressed body", "unsupported_media_type", "cannot accept content-type 'text/plain'"),
    401: ("no token, or one that is not ours, whole and current", "bad_token", "cannot accept the token: it has expired"),
    403: ("the token's role may not ask this", "forbidden", "cannot answer: role viewer does not have usage:read"),
    404: ("there is none in this organization", "not_found", "cannot find the trace: no span of it is stored"),
    409: ("it contradicts what is there", "conflict", "role: cannot change the role: an organization keeps an owner"),
    422: ("a field that is wrong, by its path, or a question past a limit", "invalid_field", "end: must be later than start"),
    501: ("this process lacks a setting that it needs for this", "not_configured", "cannot issue tokens"),
    429: ("all turns are taken: try again after Retry-After seconds", "rate_limited", "cannot answer: 4 questions"),
    503: ("a store is away: try again after Retry-After seconds", "unavailable", "cannot search traces: no answer"),
}  # fmt: skip


def answers(example: dict[str, Any], *refusals: int, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """FastAPI's `responses`: the answer by an example, and the refusals that every question has, `refusals` besides.

    FastAPI leaves members that are null out of its document, so an example should have none.
    """
    shown: dict[int | str, dict[str, Any]] = {status: {"content": {"application/json": {"example": example}}}}
    for refusal in sorted({401, 403, 422, 429, 503, *refusals}):
        description, code, message = _REFUSALS[refusal]
        error = {"error": {"code": code, "message": message, "details": []}}
        shown[refusal] = {"description": description, "content": {"application/json": {"example": error}}}
    return shown
