"""Arrow batches of spans in; whole traces and pages of trace summaries of one organization out.

The table is clickhouse/migrations/0002_create_spans.sql, the SQL queries/spans.sql.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import Template

import msgspec

from storage.clickhouse import ClickHouse, ReadStats
from storage.log_conditions import add_filters
from storage.named_queries import load_queries
from storage.record_selection import check_text
from storage.record_table import (
    Conditions,
    RecordPage,
    RecordTable,
    go_on,
    next_cursor,
    organization,
    selected,
)
from storage.scope import OrgScope
from storage.search_limits import SearchLimits
from storage.trace_selection import TraceSelection

# Names and order of the columns of an inserted Arrow stream.
SPAN_COLUMNS = (
    "org_id",
    "ts",
    "record_id",
    "trace_id",
    "span_id",
    "parent_span_id",
    "service",
    "operation",
    "kind",
    "duration_ns",
    "status",
    "status_message",
    "attributes",
    "events",
    "links",
    "received_at",
    "retention_days",
)
SPANS_OF_TRACE_MAX = 10_000

# A summary counts the spans that began within an hour of those which were found. Without a bound it would ask every granule
# of the table for up to 1000 trace ids.
_NEAR_NS = 3600 * 10**9
_INT64_MAX = (1 << 63) - 1
_SQL = load_queries("spans.sql")


class SpanRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One span as it is stored. `attributes` is the JSON text of an object, `events` and `links` of arrays."""

    ts_ns: int
    record_id: int
    trace_id: str
    span_id: str
    parent_span_id: str
    service: str
    operation: str
    kind: str
    duration_ns: int
    status: str
    status_message: str
    attributes: str
    events: str
    links: str


class TraceSummary(msgspec.Struct, array_like=True, frozen=True):
    """One trace in short: its root (or, while that is missing, its first span), from the first begin to the last end.

    `services` are at most 100 in order of name, `errors` the spans with status error."""

    trace_id: str
    root_service: str
    root_operation: str
    start_ns: int
    duration_ns: int
    span_count: int
    services: list[str]
    errors: int


@dataclass(frozen=True, slots=True)
class Trace:
    """The spans of a trace from the oldest on; `truncated` when it has more than were asked for."""

    spans: list[SpanRow]
    truncated: bool
    stats: ReadStats


class _Found(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Where a trace stands in a search: its newest (or oldest) span that meets the conditions."""

    ts_ns: int
    record_id: int
    trace_id: str


class SpanStore:
    """The table `spans` of one ClickHouse."""

    def __init__(self, clickhouse: ClickHouse, limits: SearchLimits | None = None) -> None:
        self._table = RecordTable(clickhouse, limits, name="spans", what="traces", columns=SPAN_COLUMNS)

    async def insert(self, arrow_stream: bytes, *, rows: int, token: str) -> None:
        """Store the `rows` spans of an Arrow IPC stream with the columns SPAN_COLUMNS, once; see `RecordTable.insert`."""
        await self._table.insert(arrow_stream, rows=rows, token=token)

    async def trace(
        self,
        scope: OrgScope,
        trace_id: str,
        limits: SearchLimits | None = None,
        *,
        spans_max: int = SPANS_OF_TRACE_MAX,
    ) -> Trace:
        """The organization's spans of one trace, none when there are none. Raises `Unavailable`, `TooExpensive`, and `Refused`
        (path "trace_id") for an id that no span can have."""
        check_text("traces", "trace_id", trace_id)
        conditions = organization(scope)
        conditions.add(_SQL["where_trace_id"], trace_id=trace_id)
        answer = await self._table.read(_SQL["trace"], SpanRow, conditions, limits, limit=spans_max + 1)
        return Trace(answer.rows[:spans_max], len(answer.rows) > spans_max, answer.stats)

    async def page(
        self, scope: OrgScope, selection: TraceSelection, limits: SearchLimits | None = None
    ) -> RecordPage[SpanRow]:
        """One page of the organization's spans themselves, whatever their traces; see `RecordTable.page`."""
        conditions = _of_the_span(selected(scope, selection), selection)
        return await self._table.page(_SQL["select_spans"], SpanRow, selection, conditions, limits)

    async def search(
        self, scope: OrgScope, selection: TraceSelection, limits: SearchLimits | None = None
    ) -> RecordPage[TraceSummary]:
        """One page of summaries of the organization's traces. Raises `Unavailable` and `TooExpensive` (see `SearchLimits`).

        No trace is on two pages. One that gets a newer span between two pages moves before the first, not onto a later one.
        Indexes serve the time range, a rare service, operation or status, and a long `duration_min_ns`.
        A summary counts the spans that began within an hour of the page's.
        """
        self._table.check_range(selection, limits)
        found = await self._table.read(
            _SQL[f"traces_{selection.order}"],
            _Found,
            _matching(scope, selection),
            limits,
            stops_early=True,
            limit=selection.limit + 1,
        )
        page = found.rows[: selection.limit]
        if not page:
            return RecordPage([], None, found.stats)
        times = [row.ts_ns for row in page]
        conditions = organization(scope)
        conditions.add_place(
            _SQL["where_near"],
            near_start=max(min(times) - _NEAR_NS, -_INT64_MAX),
            near_end=min(max(times) + _NEAR_NS, _INT64_MAX),
        )
        conditions.add(_SQL["where_trace_ids"], trace_ids=[row.trace_id for row in page])
        summaries = await self._table.read(_SQL["summaries"], TraceSummary, conditions, limits)
        by_id = {summary.trace_id: summary for summary in summaries.rows}
        # A trace may expire between the two statements.
        rows = [by_id[row.trace_id] for row in page if row.trace_id in by_id]
        return RecordPage(rows, next_cursor(found.rows, selection), found.stats + summaries.stats)


def _matching(scope: OrgScope, selection: TraceSelection) -> Conditions:
    """The conditions that one span of a trace must meet, without the traces of the pages before."""
    conditions = _of_the_span(selected(scope, selection, continued=False), selection)
    if selection.cursor is not None:
        not_seen = Template(_SQL[f"where_not_seen_{selection.order}"]).substitute(where=conditions.where)
        go_on(conditions, selection)
        conditions.add_place(not_seen)
    return conditions


def _of_the_span(conditions: Conditions, selection: TraceSelection) -> Conditions:
    """The conditions, and those on the span's duration and attributes."""
    if selection.duration_min_ns is not None:
        conditions.add(_SQL["where_duration_min"], duration_min=selection.duration_min_ns)
    if selection.duration_max_ns is not None:
        conditions.add(_SQL["where_duration_max"], duration_max=selection.duration_max_ns)
    add_filters(conditions, selection.filters)
    return conditions
