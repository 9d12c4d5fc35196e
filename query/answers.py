"""Answers of the query API: JSON that is written once, and how OpenAPI shows it, the refusals included."""

from __future__ import annotations

from typing import Any, Final

import orjson
from fastapi import Response

from storage.clickhouse import ReadStats


def json_answer(answer: dict[str, Any]) -> Response:
    """What FastAPI would do with more steps; `orjson.Fragment`s of stored JSON go out as they are."""
    return Response(orjson.dumps(answer), media_type="application/json")


def shown_stats(stats: ReadStats) -> dict[str, Any]:
    """What the question cost the store."""
    return {"rows_read": stats.rows_read, "bytes_read": stats.bytes_read, "elapsed_ms": stats.elapsed_ms}


STATS_EXAMPLE: Final = {"rows_read": 8192, "bytes_read": 131072, "elapsed_ms": 2.1}

_REFUSALS: Final[dict[int, tuple[str, str, str]]] = {
    401: ("no token, or one that is not ours, whole and current", "bad_token", "cannot accept the token: it has expired"),
    403: ("the token's role may not ask this", "forbidden", "cannot answer: role viewer does not have usage:read"),
    404: ("there is none in this organization", "not_found", "cannot find the trace: no span of it is stored"),
    422: ("a field that is wrong, by its path, or a question past a limit", "invalid_field", "end: must be later than start"),
    429: ("all turns are taken: try again after Retry-After seconds", "rate_limited", "cannot answer: 4 questions"),
    503: ("a store is away: try again after Retry-After seconds", "unavailable", "cannot search traces: no answer"),
}  # fmt: skip


def answers(example: dict[str, Any], *refusals: int) -> dict[int | str, dict[str, Any]]:
    """FastAPI's `responses`: the answer by an example, and the refusals that every question has, `refusals` besides.

    FastAPI leaves members that are null out of its document, so an example should have none.
    """
    shown: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {"example": example}}}}
    for status in sorted({401, 403, 422, 429, 503, *refusals}):
        description, code, message = _REFUSALS[status]
        error = {"error": {"code": code, "message": message, "details": []}}
        shown[status] = {"description": description, "content": {"application/json": {"example": error}}}
    return shown
