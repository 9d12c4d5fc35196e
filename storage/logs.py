"""Arrow batches of logs in; pages of logs of one organization out.

The table is clickhouse/migrations/0001_create_logs.sql, the SQL queries/logs.sql.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

import msgspec

from storage.clickhouse import ClickHouse
from storage.log_conditions import LIKE_ESCAPES, add_filters, add_query
from storage.log_selection import LogSelection
from storage.named_queries import load_queries
from storage.record_table import Conditions, RecordPage, RecordTable, selected
from storage.scope import OrgScope
from storage.search_limits import SearchLimits

# Names and order of the columns of an inserted Arrow stream.
LOG_COLUMNS = (
    "org_id",
    "ts",
    "record_id",
    "service",
    "level",
    "message",
    "trace_id",
    "span_id",
    "host",
    "environment",
    "version",
    "attributes",
    "received_at",
    "retention_days",
)

# The index of substrings takes 1.4 us a row to build, 40 % of an insert, and that of attributes 1.0, so they are left to the
# merges; until its first merge a part of the last seconds is searched without them.
INDEXED_BY_MERGES = "message_ngrams, attributes_values"

_SQL = load_queries("logs.sql")


class LogRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One log as it is stored. `attributes` is the JSON text of an object; absent texts are ""."""

    ts_ns: int
    record_id: int
    service: str
    level: str
    message: str
    trace_id: str
    span_id: str
    host: str
    environment: str
    version: str
    attributes: str
    received_at_ms: int


class LogStore:
    """The table `logs` of one ClickHouse."""

    def __init__(self, clickhouse: ClickHouse, limits: SearchLimits | None = None) -> None:
        self._table = RecordTable(clickhouse, limits, name="logs", what="logs", columns=LOG_COLUMNS)

    async def insert(self, arrow_stream: bytes, *, rows: int, token: str) -> None:
        """Store the `rows` records of an Arrow IPC stream with the columns LOG_COLUMNS, once; see `RecordTable.insert`."""
        settings = {"exclude_materialize_skip_indexes_on_insert": INDEXED_BY_MERGES}
        await self._table.insert(arrow_stream, rows=rows, token=token, settings=settings)

    async def search(
        self, scope: OrgScope, selection: LogSelection, limits: SearchLimits | None = None
    ) -> RecordPage[LogRow]:
        """One page of the organization's logs; see `RecordTable.page`.

        What is served by an index: the time range, trace_id, a rare service or level, and an ASCII `search` of three characters
        and more (after the first merge of what was inserted).
        """
        conditions = searched(scope, selection)
        return await self._table.page(_SQL["select_logs"], LogRow, selection, conditions, limits)

    def stream(
        self, scope: OrgScope, selection: LogSelection, limits: SearchLimits | None = None, *, rows_max: int
    ) -> AsyncGenerator[list[LogRow], None]:
        """The first `rows_max` logs of all pages, some at a time, whatever `limit` says; see `RecordTable.stream`."""
        conditions = searched(scope, selection)
        return self._table.stream(_SQL["select_logs"], LogRow, selection, conditions, limits, rows_max=rows_max)


def searched(scope: OrgScope, selection: LogSelection, *, continued: bool = True) -> Conditions:
    """All that a selection asks, for the organization of the scope; with `continued`, from its cursor on."""
    conditions = selected(scope, selection, continued=continued)
    if selection.search:
        if selection.search.isascii():
            pattern = f"%{selection.search.lower().translate(LIKE_ESCAPES)}%"
            conditions.add(_SQL["where_message_like"], pattern=pattern)
        else:
            conditions.add(_SQL["where_message_contains"], search=selection.search)
    add_filters(conditions, selection.filters)
    if selection.query is not None:
        add_query(conditions, selection.query)
    return conditions
