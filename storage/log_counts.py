"""A time range in; how many logs one organization has in it, by service, level and time, out: exact, and cheap for whole hours.

Whole hours are added up from `logs_hourly`, where that is provably what a search of `logs` would find; the ends of the range, and
records whose retention is over today, are counted themselves. The SQL is queries/log_counts.sql.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Literal

import msgspec

from storage.clickhouse import Answer, ClickHouse, ReadStats
from storage.record_selection import check_text, check_time_range, refused_field
from storage.scope import OrgScope
from storage.scoped_queries import Row, ScopedQueries, load_scoped_queries
from storage.search_limits import SearchLimits

HOUR_NS = 3600 * 10**9

_SQL = load_scoped_queries("log_counts.sql")
_WHAT = "log counts"
_DAY_S = 86_400
_EPOCH = date(1970, 1, 1).toordinal()


class LogCount(msgspec.Struct, array_like=True, frozen=True):
    """`count` logs of a service and level whose ts lies in `bucket` steps of time, from 0 on, after the start of the range."""

    bucket: int
    service: str
    level: str
    count: int


class _Statistic(msgspec.Struct, array_like=True, frozen=True):
    service: str
    level: str
    received_on: date
    retention_days: int
    count: int
    bucket: int = 0

    def kept_beyond(self, day: int) -> bool:
        """Whether the first of its records expires after `day`, days since 1970."""
        return self.retention_days == 0 or _day(self.received_on) + self.retention_days > day


class _Records(msgspec.Struct, array_like=True, frozen=True):
    service: str
    level: str
    count: int
    bucket: int = 0


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
        and level, in that order; what has no logs is left out. `limits` are of each of the statements, four at most.

        The hourly statistics serve ranges without a step, and steps of whole hours from a whole hour on; other steps read
        every record of the range, twelve bytes of each. Raises `Refused` with the path at fault, `Unavailable`, `TooExpensive`.
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
        step = step_ns or max(1, end_ns - start_ns)
        parameters = {"start": start_ns, "step": step, "service": service, "level": level}
        asked = _Asked(self._queries, scope, limits, parameters, "_by_step" if step_ns else "")
        # At once: each is mostly planning, and a server has more than one core.
        await asyncio.gather(
            asked.of_records(start_ns, first), asked.of_statistics(first, last), asked.of_records(last, end_ns)
        )
        return asked.answer()


class _Asked:
    """One question on its way: the statements that answer it, and their sum so far."""

    def __init__(
        self,
        queries: ScopedQueries,
        scope: OrgScope,
        limits: SearchLimits,
        parameters: Mapping[str, Any],
        suffix: Literal["", "_by_step"],
    ) -> None:
        """`suffix` of the names of the statements."""
        self._queries = queries
        self._scope = scope
        self._limits = limits
        self._parameters = parameters
        self._suffix = suffix
        self._found: Counter[tuple[int, str, str]] = Counter()
        self._stats = ReadStats(0, 0, 0.0)

    def answer(self) -> Answer[LogCount]:
        return Answer([LogCount(*key, number) for key, number in sorted(self._found.items())], self._stats)

    async def of_statistics(self, first_ns: int, end_ns: int) -> None:
        """Whole hours. What may have begun to expire of them is counted itself, as its statistics outlive it by up to a day."""
        if first_ns == end_ns:
            return
        # Any day that is not before the server's will do, as the two sources share it; tomorrow, lest the clocks differ.
        today = int(time.time()) // _DAY_S + 1
        rows = await self._read("of_statistics" + self._suffix, _Statistic, first_ns, end_ns)
        self._add(row for row in rows if row.kept_beyond(today))
        expiring = [_day(row.received_on) for row in rows if not row.kept_beyond(today)]
        if expiring:
            days = {"today": today, "last_day": max(expiring)}
            self._add(await self._read("of_expiring_records", _Records, first_ns, end_ns, **days))

    async def of_records(self, first_ns: int, end_ns: int) -> None:
        """Any range, record by record."""
        if first_ns != end_ns:
            self._add(await self._read("of_records" + self._suffix, _Records, first_ns, end_ns))

    def _add(self, rows: Iterable[_Statistic | _Records]) -> None:
        for row in rows:
            self._found[row.bucket, row.service, row.level] += row.count

    async def _read(self, name: str, row_type: type[Row], first_ns: int, end_ns: int, **more: int) -> list[Row]:
        parameters = {**self._parameters, "first": first_ns, "end": end_ns, **more}
        answer = await self._queries.read(
            self._scope, _SQL[name], row_type, parameters, self._limits, doing="count logs"
        )
        self._stats += answer.stats
        return answer.rows


def _day(date_: date) -> int:
    """Days since 1970."""
    return date_.toordinal() - _EPOCH


def whole_hours(start_ns: int, end_ns: int, step_ns: int | None) -> tuple[int, int]:
    """Begin of the first and end of the last whole hour of a range, each of which falls into one bucket; (end, end) for none.

    `step_ns` as in `LogCounts.count`: hours that a step cuts through are none."""
    if step_ns is not None and (step_ns % HOUR_NS or start_ns % HOUR_NS):
        return end_ns, end_ns
    first, last = -(-start_ns // HOUR_NS) * HOUR_NS, end_ns // HOUR_NS * HOUR_NS
    return (first, last) if first < last else (end_ns, end_ns)
