"""A selection of logs in; how many there are in all, counted or estimated, and what a search would read, out."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from storage.clickhouse import ClickHouse
from storage.log_selection import LogSelection
from storage.logs import searched
from storage.named_queries import load_queries
from storage.record_table import RecordTable
from storage.scope import OrgScope
from storage.search_limits import SearchLimits

ESTIMATE_ROWS = 2_000_000
"""Rows that an estimate reads at most; where a search has no more of them it is exact."""

_SQL = load_queries("logs.sql")


class LogTotal(msgspec.Struct, frozen=True):
    """How many logs a selection has on all its pages."""

    logs: int
    estimated: bool


class ReadingCost(msgspec.Struct, frozen=True):
    """What a search reads at most: `rows` in `parts` by its indexes, `bytes` by the mean row of the table, before compression.

    A page that is full before stops there.
    """

    rows: int
    bytes: int
    parts: int


class LogTotals:
    """Counts in the table `logs` of one ClickHouse. Calls raise `Unavailable` and `TooExpensive`."""

    def __init__(self, clickhouse: ClickHouse, limits: SearchLimits | None = None) -> None:
        self._limits = limits or SearchLimits()
        self._table = RecordTable(clickhouse, self._limits, name="logs", what="logs", columns=())

    async def count(self, scope: OrgScope, selection: LogSelection, limits: SearchLimits | None = None) -> LogTotal:
        """All of them, by reading all that the indexes leave."""
        self._table.check_range(selection, limits)
        conditions = searched(scope, selection, continued=False)
        answer = await self._table.read(_SQL["count_logs"], tuple[int], conditions, limits)
        return LogTotal(answer.rows[0][0], estimated=False)

    async def estimate(self, scope: OrgScope, selection: LogSelection, limits: SearchLimits | None = None) -> LogTotal:
        """From ESTIMATE_ROWS of the rows to be read: the share of them that is found, of all of them."""
        cost = await self.cost(scope, selection, limits)
        if cost.rows <= ESTIMATE_ROWS:
            return await self.count(scope, selection, limits)
        conditions = searched(scope, selection, continued=False)
        some = replace(limits or self._limits, rows_to_read_max=ESTIMATE_ROWS)
        answer = await self._table.read(
            _SQL["count_logs"], tuple[int], conditions, some, settings={"read_overflow_mode": "break"}
        )
        found, rows_read = answer.rows[0][0], max(answer.stats.rows_read, 1)
        return LogTotal(round(found * max(1.0, cost.rows / rows_read)), estimated=True)

    async def cost(self, scope: OrgScope, selection: LogSelection, limits: SearchLimits | None = None) -> ReadingCost:
        """What a search of the selection's page would read, without reading it."""
        self._table.check_range(selection, limits)
        conditions = searched(scope, selection)
        explained = await self._table.read(_SQL["estimate_logs"], tuple[str, str, int, int, int], conditions, limits)
        rows = sum(row[3] for row in explained.rows)
        of_one = await self._table.read(_SQL["select_row_bytes"], tuple[float | None], conditions, limits)
        return ReadingCost(rows, round(rows * (of_one.rows[0][0] or 0.0)), sum(row[2] for row in explained.rows))
