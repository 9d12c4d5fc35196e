"""A time range in; the hourly statistics of one organization's logs, spans and RUM events out.

The tables are those of clickhouse/migrations/0004 to 0006, kept up by materialized views; the SQL is queries/hourly.sql.
Statistics live as long as the records that they count.
"""

from __future__ import annotations

from typing import Any

import msgspec

from storage.clickhouse import ClickHouse
from storage.record_selection import check_text, check_time_range
from storage.scope import OrgScope
from storage.scoped_queries import Row, ScopedQueries, load_scoped_queries
from storage.search_limits import SearchLimits

_SQL = load_scoped_queries("hourly.sql")


class LogsHour(msgspec.Struct, array_like=True, frozen=True):
    """Logs of one hour (`hour_s`: its begin, seconds since 1970), service and level; `bytes` of messages and attributes."""

    hour_s: int
    service: str
    level: str
    count: int
    bytes: int


class SpansHour(msgspec.Struct, array_like=True, frozen=True):
    """Spans of one hour, service, operation and kind; `errors` have status error, `histogram` is one of durations in ns."""

    hour_s: int
    service: str
    operation: str
    kind: str
    count: int
    errors: int
    duration_ns_sum: int
    duration_ns_min: int
    duration_ns_max: int
    histogram: dict[int, int]

    @property
    def begin_s(self) -> int:
        """The hour as a step of an hour."""
        return self.hour_s


class RumHour(msgspec.Struct, array_like=True, frozen=True):
    """RUM events of one hour, type, page and name; the last three are about those `value_count` events that have a value."""

    hour_s: int
    type: str
    page_path: str
    name: str
    count: int
    errors: int
    value_count: int
    value_sum: float | None
    histogram: dict[int, int]


class HourlyStore:
    """The hourly statistics of one ClickHouse. Each call gives the hours that begin in `start_ns` <= hour < `end_ns`,
    from the oldest on, and raises `Refused` with the path at fault, `Unavailable` and `TooExpensive` (see `SearchLimits`)."""

    def __init__(self, clickhouse: ClickHouse, limits: SearchLimits | None = None) -> None:
        self._queries = ScopedQueries(clickhouse)
        self._limits = limits or SearchLimits()

    async def logs(
        self,
        scope: OrgScope,
        limits: SearchLimits | None = None,
        *,
        start_ns: int,
        end_ns: int,
        service: str | None = None,
        level: str | None = None,
    ) -> list[LogsHour]:
        """By service and level."""
        return await self._read(scope, "logs", LogsHour, limits, start_ns, end_ns, service=service, level=level)

    async def spans(
        self,
        scope: OrgScope,
        limits: SearchLimits | None = None,
        *,
        start_ns: int,
        end_ns: int,
        service: str | None = None,
        operation: str | None = None,
        kind: str | None = None,
        by_hour: bool = True,
    ) -> list[SpansHour]:
        """By service, operation and kind; without `by_hour` all hours are one row, which has the first of them."""
        exact = {"service": service, "operation": operation, "kind": kind}
        statement = "spans" if by_hour else "spans_in_all"
        return await self._read(scope, statement, SpansHour, limits, start_ns, end_ns, **exact)

    async def rum(
        self,
        scope: OrgScope,
        limits: SearchLimits | None = None,
        *,
        start_ns: int,
        end_ns: int,
        type: str | None = None,
        page_path: str | None = None,
        name: str | None = None,
    ) -> list[RumHour]:
        """By type, page and name."""
        return await self._read(
            scope, "rum", RumHour, limits, start_ns, end_ns, type=type, page_path=page_path, name=name
        )

    async def _read(
        self,
        scope: OrgScope,
        statement: str,
        row_type: type[Row],
        limits: SearchLimits | None,
        start_ns: int,
        end_ns: int,
        **exact: str | None,
    ) -> list[Row]:
        what = f"hourly {statement.partition('_')[0]}"
        limits = limits or self._limits
        check_time_range(what, start_ns, end_ns)
        limits.check_range(start_ns, end_ns)
        for path, text in exact.items():
            if text is not None:
                check_text(what, path, text)
        parameters: dict[str, Any] = {"start": start_ns, "end": end_ns, **exact}
        answer = await self._queries.read(scope, _SQL[statement], row_type, parameters, limits, doing=f"read {what}")
        return answer.rows
