"""A time range in; rate, errors and durations of one organization's spans out, by steps of any length, and who calls whom.

Computed from the spans themselves, for what the hourly statistics (storage/hourly.py) cannot say. The SQL is
queries/span_statistics.sql.
"""

from __future__ import annotations

from typing import Final

import msgspec

from storage.clickhouse import Answer, ClickHouse
from storage.record_selection import check_text, check_time_range
from storage.scope import OrgScope
from storage.scoped_queries import ScopedQueries, load_scoped_queries
from storage.search_limits import SearchLimits

NEAR_NS: Final = 15 * 60 * 10**9
"""A parent is looked for among the spans that began at most this long before or after the range, and so are children."""
CALLS_MAX: Final = 2000
"""Pairs of services in one answer, the busiest first."""

_INT64_MAX: Final = (1 << 63) - 1
_WHAT: Final = "statistics of spans"
_SQL = load_scoped_queries("span_statistics.sql")


class SpansStep(msgspec.Struct, array_like=True, frozen=True):
    """Spans of one step (`begin_s`: seconds since 1970), service, operation and kind; as in `SpansHour`. `operation` is "" when
    it was not asked for."""

    begin_s: int
    service: str
    operation: str
    kind: str
    count: int
    errors: int
    duration_ns_sum: int
    histogram: dict[int, int]


class Calls(msgspec.Struct, array_like=True, frozen=True):
    """Calls of one service to another: spans of the callee, or of the caller where the callee has none. `peer_type` is then what
    the attributes say that it is (service, database, messaging), else ""."""

    caller: str
    callee: str
    peer_type: str
    count: int
    errors: int
    duration_ns_sum: int
    histogram: dict[int, int]


class SpanStatistics:
    """Statistics over the table `spans` of one ClickHouse, for those that began in `start_ns` <= ts < `end_ns` (ns since 1970).

    Each call raises `Refused` with the path at fault, `Unavailable` and `TooExpensive` (see `SearchLimits`)."""

    def __init__(self, clickhouse: ClickHouse, limits: SearchLimits | None = None) -> None:
        self._queries = ScopedQueries(clickhouse)
        self._limits = limits or SearchLimits()

    async def steps(
        self,
        scope: OrgScope,
        limits: SearchLimits | None = None,
        *,
        start_ns: int,
        end_ns: int,
        step_ns: int,
        service: str | None = None,
        by_operation: bool = False,
    ) -> Answer[SpansStep]:
        """By step, service and kind, and by operation if asked; oldest step first. Steps are whole seconds, from 1970 on."""
        limits = self._checked(limits, start_ns, end_ns)
        if step_ns < 10**9 or step_ns % 10**9:
            raise ValueError("a step is of whole seconds")
        if service is not None:
            check_text(_WHAT, "service", service)
        parameters = {
            "start": start_ns,
            "end": end_ns,
            "step": step_ns,
            "service": service,
            "by_operation": by_operation,
        }
        return await self._queries.read(scope, _SQL["steps"], SpansStep, parameters, limits, doing=f"read {_WHAT}")

    async def calls(
        self,
        scope: OrgScope,
        limits: SearchLimits | None = None,
        *,
        start_ns: int,
        end_ns: int,
        calls_max: int = CALLS_MAX,
    ) -> Answer[Calls]:
        """Spans that began in the range and have a parent of another service, by the two. A span that was sent twice counts once;
        of different spans with one id any counts as the parent."""
        return await self._calls("calls", scope, limits, start_ns, end_ns, calls_max)

    async def peers(
        self,
        scope: OrgScope,
        limits: SearchLimits | None = None,
        *,
        start_ns: int,
        end_ns: int,
        calls_max: int = CALLS_MAX,
    ) -> Answer[Calls]:
        """Client and producer spans of the range without a child, by who was asked according to their attributes: `peer.service`,
        or else `db.system.name`, `db.system` or `messaging.system`."""
        return await self._calls("peers", scope, limits, start_ns, end_ns, calls_max)

    async def _calls(
        self, name: str, scope: OrgScope, limits: SearchLimits | None, start_ns: int, end_ns: int, calls_max: int
    ) -> Answer[Calls]:
        limits = self._checked(limits, start_ns, end_ns)
        parameters = {
            "start": start_ns,
            "end": end_ns,
            "near_start": max(start_ns - NEAR_NS, -_INT64_MAX),
            "near_end": min(end_ns + NEAR_NS, _INT64_MAX),
            "limit": calls_max,
        }
        return await self._queries.read(scope, _SQL[name], Calls, parameters, limits, doing="read who calls whom")

    def _checked(self, limits: SearchLimits | None, start_ns: int, end_ns: int) -> SearchLimits:
        limits = limits or self._limits
        check_time_range(_WHAT, start_ns, end_ns)
        limits.check_range(start_ns, end_ns)
        return limits
