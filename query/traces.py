"""GET /query/traces/{trace_id}: one trace of an organization -> its waterfall, with the logs that were written meanwhile."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Response

from query.answers import STATS_EXAMPLE, answers, json_answer, shown_stats
from query.authorization import permitted
from query.shown_logs import shown_log
from query.stored_json import shown_json
from query.tokens import Principal, Tokens
from query.waterfall import Waterfall, WaterfallSpan, build_waterfall
from storage.log_selection import LogSelection
from storage.logs import LogRow, LogStore
from storage.record_selection import LIMIT_MAX as LOGS_MAX
from storage.record_table import RecordPage
from storage.spans import SPANS_OF_TRACE_MAX, SpanStore
from topics.errors import Refused
from topics.timestamps import format_timestamp
from topics.trace_ids import normalize_id

LOGS_DEFAULT: Final = 100

# Logs of a trace are looked for as long before and after it: senders' clocks differ, and some write when all is over.
_NEAR_NS: Final = 3600 * 10**9
_INT64_MAX: Final = (1 << 63) - 1
_MS: Final = 1e6

_EXAMPLE: Final[dict[str, Any]] = {
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "root_service": "api",
    "root_operation": "GET /orders/{id}",
    "start_time": "2025-10-31T10:00:00.000Z",
    "duration_ms": 42.0,
    "span_count": 2,
    "services": ["api", "db"],
    "errors": 0,
    "repeats": 0,
    "truncated": False,
    "spans": [
        {
            "span_id": "00f067aa0ba902b7",
            "service": "api",
            "operation": "GET /orders/{id}",
            "kind": "server",
            "start_time": "2025-10-31T10:00:00.000Z",
            "duration_ms": 42.0,
            "depth": 0,
            "offset_ms": 0.0,
            "self_time_ms": 12.0,
            "critical_path": True,
            "clock_skew_ms": 0.0,
            "problems": [],
            "status": "ok",
            "attributes": {"http.status_code": 200},
            "events": [],
            "links": [],
        },
        {
            "span_id": "7d3c1fe09a5b2264",
            "parent_span_id": "00f067aa0ba902b7",
            "service": "db",
            "operation": "SELECT orders",
            "kind": "client",
            "start_time": "2025-10-31T09:59:59.998Z",
            "duration_ms": 30.0,
            "depth": 1,
            "offset_ms": 0.0,
            "self_time_ms": 30.0,
            "critical_path": True,
            "clock_skew_ms": 2.0,
            "problems": ["clock_skew"],
            "status": "ok",
            "status_message": "cached",
            "attributes": {"db.system": "postgresql"},
            "events": [],
            "links": [],
        },
    ],
    "logs": [],
    "logs_truncated": False,
    "stats": STATS_EXAMPLE,
}


def traces_router(spans: SpanStore, logs: LogStore, tokens: Tokens) -> APIRouter:
    """The question about one trace."""
    router = APIRouter(prefix="/query/traces", tags=["traces"])

    may_read = Depends(permitted(tokens, "traces:read"))

    @router.get(
        "/{trace_id:path}",
        summary="One trace as a waterfall",
        description="Spans stand in the order of the tree. `offset_ms`, `self_time_ms` and the trace's `duration_ms` are"
        " corrected by `clock_skew_ms`; `start_time` is as it was sent. `problems`: `orphan` (the parent is missing),"
        " `cycle`, `shared_id`, `clock_skew` (it began before its parent by its clock). Logs need `logs:read` besides.",
        response_description="the waterfall",
        responses=answers(_EXAMPLE, 404),
    )
    async def get_trace(
        trace_id: Annotated[str, Path(min_length=1, max_length=200, description="in any of its forms")],
        limit: Annotated[int, Query(ge=1, le=SPANS_OF_TRACE_MAX, description="spans, from the oldest on")] = (
            SPANS_OF_TRACE_MAX
        ),
        logs_limit: Annotated[int, Query(ge=0, le=LOGS_MAX, description="logs, from the oldest on")] = LOGS_DEFAULT,
        principal: Principal = may_read,
    ) -> Response:
        if logs_limit:
            principal.require("logs:read")
        # One of zeros is no id, and asks for what nothing has.
        asked = normalize_id(trace_id) or trace_id
        trace = await spans.trace(principal.scope, asked, principal.limits, spans_max=limit)
        if not trace.spans:
            raise Refused(f"cannot find trace {asked}: no span of it is stored", code="not_found", path="trace_id")
        # In a thread, because 10,000 spans take 0.2 s, and a gateway that serves queries has senders who wait.
        waterfall = await asyncio.to_thread(build_waterfall, trace.spans)
        shown = await asyncio.to_thread(_shown, waterfall)
        answer = {"trace_id": asked, **shown, "truncated": trace.truncated, "logs": []}
        stats = trace.stats
        if logs_limit:
            page = await logs.search(principal.scope, _logs_near(waterfall, asked, logs_limit), principal.limits)
            stats += page.stats
            answer |= _shown_logs(page)
        return json_answer(answer | {"stats": shown_stats(stats)})

    return router


def _logs_near(waterfall: Waterfall, trace_id: str, limit: int) -> LogSelection:
    return LogSelection(
        start_ns=max(waterfall.start_ns - _NEAR_NS, -_INT64_MAX),
        end_ns=min(waterfall.start_ns + waterfall.duration_ns + _NEAR_NS, _INT64_MAX),
        trace_id=trace_id,
        order="oldest",
        limit=limit,
    )


def _shown_logs(page: RecordPage[LogRow]) -> dict[str, Any]:
    return {"logs": [shown_log(row) for row in page.rows], "logs_truncated": page.next_cursor is not None}


def _shown(waterfall: Waterfall) -> dict[str, Any]:
    return {
        "root_service": waterfall.root.row.service,
        "root_operation": waterfall.root.row.operation,
        "start_time": format_timestamp(waterfall.start_ns),
        "duration_ms": waterfall.duration_ns / _MS,
        "span_count": len(waterfall.spans),
        "services": waterfall.services,
        "errors": waterfall.errors,
        "repeats": waterfall.repeats,
        "spans": [_shown_span(span) for span in waterfall.spans],
        "logs_truncated": False,
    }


def _shown_span(span: WaterfallSpan) -> dict[str, Any]:
    """One span as the API shows it; attributes, events and links go out as the JSON texts that they are stored as."""
    row = span.row
    return {
        "span_id": row.span_id,
        "parent_span_id": row.parent_span_id or None,
        "service": row.service,
        "operation": row.operation,
        "kind": row.kind,
        "start_time": format_timestamp(row.ts_ns),
        "duration_ms": row.duration_ns / _MS,
        "depth": span.depth,
        "offset_ms": span.offset_ns / _MS,
        "self_time_ms": span.self_ns / _MS,
        "critical_path": span.critical,
        "clock_skew_ms": span.skew_ns / _MS,
        "problems": span.problems,
        "status": row.status,
        "status_message": row.status_message or None,
        "attributes": shown_json(row.attributes),
        "events": shown_json(row.events),
        "links": shown_json(row.links),
    }
