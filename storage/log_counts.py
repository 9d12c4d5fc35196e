"""A time range in; how many logs one organization has in it, by service, level and time, out: exact, and cheap for whole hours.

Whole hours are added up from `logs_hourly`, where that is provably what a search of `logs` would find; the ends of the range, and
records whose retention is over today, are counted themselves. The SQL is queries/log_counts.sql.
"""

from __future__ import annotations

from typing import Any

import msgspec

from storage.clickhouse import Answer, ClickHouse
from storage.record_selection import check_text, check_time_range, refused_field
from storage.scope import OrgScope
from storage.scoped_queries import ScopedQueries, load_scoped_queries
from storage.search_limits import SearchLimits

HOUR_NS = 3600 * 10**9

_SQL = load_scoped_queries("log_counts.sql")
_WHAT = "log counts"


class LogCount(msgspec.Struct, array_like=True, frozen=True):
    """`count` logs of a service and level whose ts lies in `bucket` steps of time, from 0 on, after the start of the range."""

    bucket: int
    service: str
    level: str
    count: int


class LogCounts:
    """Counts the logs of one ClickHouse."""

    def __init__(self, clickhouse: ClickHouse, limits: SearchLimits | None = None) -> None:
        self._queries = ScopedQueries(clickhouse)
        self._limits = limits or SearchLimits()

    async def count(
        self,
        scope: OrgScope,
        limits: SearchLimits | None = None,
        *,
        start_ns: int,
        end_ns: int,
        step_ns: int | None = None,
        service: str | None = None,
        level: str | None = None,
    ) -> Answer[LogCount]:
        """Logs with `start_ns` <= ts < `end_ns`, by bucket of `step_ns` from the start on (one bucket without a step), service
        and level, in that order; what has no logs is left out.

        The hourly statistics serve ranges without a step, and steps of whole hours from a whole hour on; other steps read
        every record of the range, four bytes of each. Raises `Refused` with the path at fault, `Unavailable`, `TooExpensive`.
        """
        limits = limits or self._limits
        check_time_range(_WHAT, start_ns, end_ns)
        limits.check_range(start_ns, end_ns)
        if step_ns is not None and step_ns < 1:
            raise refused_field(_WHAT, "step", "it is not above zero")
        for path, text in (("service", service), ("level", level)):
            if text is not None:
                check_text(_WHAT, path, text)
        first, last = whole_hours(start_ns, end_ns, step_ns)
        parameters: dict[str, Any] = {
            "start": start_ns,
            "first": first,
            "last": last,
            "end": end_ns,
            "step": step_ns or max(1, end_ns - start_ns),
            "service": service,
            "level": level,
        }
        return await self._queries.read(scope, _SQL["counts"], LogCount, parameters, limits, doing="count logs")


def whole_hours(start_ns: int, end_ns: int, step_ns: int | None) -> tuple[int, int]:
    """Begin of the first and end of the last whole hour of a range, each of which falls into one bucket; (end, end) for none."""
    if step_ns is not None and (step_ns % HOUR_NS or start_ns % HOUR_NS):
        return end_ns, end_ns
    first, last = -(-start_ns // HOUR_NS) * HOUR_NS, end_ns // HOUR_NS * HOUR_NS
    return (first, last) if first < last else (end_ns, end_ns)
