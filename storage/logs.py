"""Arrow batches of logs in; pages of logs of one organization out.

The table is clickhouse/migrations/0001_create_logs.sql, the SQL queries/logs.sql.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Template
from typing import Any

import msgspec

from storage.clickhouse import ClickHouse, ReadStats
from storage.log_selection import LogCursor, LogSelection
from storage.named_queries import load_queries
from storage.scope import OrgScope

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

# The index of substrings takes 1.4 us a row to build, 40 % of an insert, so it is left to the merges; until its first merge a
# part of the last seconds is searched without it.
_INDEXED_BY_MERGES = "message_ngrams"

_SQL = load_queries("logs.sql")
_LIKE_ESCAPES = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})


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


@dataclass(frozen=True, slots=True)
class LogPage:
    """Rows in the order asked for; `next_cursor` leads to the next page and is None on the last one."""

    rows: list[LogRow]
    next_cursor: str | None
    stats: ReadStats


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchLimits:
    """What one search may cost; more is `TooExpensive`. `rows_to_read_max` 0 is no limit: the server checks it before it knows
    that a page stops early, so it would refuse cheap searches of a large table too."""

    seconds_max: float = 30.0
    rows_to_read_max: int = 0
    result_bytes_max: int = 64 << 20
    memory_bytes_max: int = 2 << 30

    def settings(self) -> dict[str, Any]:
        """As ClickHouse's settings."""
        return {
            "max_execution_time": self.seconds_max,
            "max_rows_to_read": self.rows_to_read_max,
            "max_result_bytes": self.result_bytes_max,
            "max_memory_usage": self.memory_bytes_max,
        }


class LogStore:
    """The table `logs` of one ClickHouse."""

    def __init__(self, clickhouse: ClickHouse, limits: SearchLimits | None = None) -> None:
        self._clickhouse = clickhouse
        self._limits = (limits or SearchLimits()).settings()

    async def insert(self, arrow_stream: bytes, *, rows: int, token: str) -> None:
        """Store the `rows` records of an Arrow IPC stream with the columns LOG_COLUMNS, as one block; none or all of them.

        ts is a timestamp in nanoseconds or an Int64 of them, received_at the same in milliseconds. The same `token` again
        stores nothing, whatever the rows (ClickHouse compares tokens alone), so a token must name exactly one block for ever.
        Records of two days of arrival become two parts, each deduplicated by the same token.

        Raises `Unavailable` when it may be repeated with the same token and bytes (it may have been stored), `Refused` (code
        "bad_block") when these bytes can never be stored.
        """
        if not token:
            raise ValueError("a block needs a token")
        if rows == 0:
            return
        settings = {
            "insert_deduplication_token": token,
            "exclude_materialize_skip_indexes_on_insert": _INDEXED_BY_MERGES,
        }
        await self._clickhouse.insert("logs", LOG_COLUMNS, arrow_stream, settings, doing=f"store {rows} logs")

    async def search(self, scope: OrgScope, selection: LogSelection) -> LogPage:
        """One page of the organization's logs. Raises `Unavailable` and `TooExpensive` (see `SearchLimits`).

        Pages are stable: a record that is stored between two of them never moves or repeats another. What is served by an index:
        the time range, trace_id, a rare service or level, and an ASCII `search` of three characters and more (after the first
        merge of what was inserted).
        """
        conditions, parameters = _conditions(scope, selection)
        sql = Template(_SQL[f"search_{selection.order}"]).substitute(conditions=conditions)
        # One more than asked for tells whether there is a next page.
        answer = await self._clickhouse.read(
            sql, LogRow, {**parameters, "limit": selection.limit + 1}, self._limits, doing="search logs"
        )
        rows = answer.rows[: selection.limit]
        more = len(answer.rows) > selection.limit
        last = rows[-1] if more else None
        return LogPage(rows, None if last is None else LogCursor(last.ts_ns, last.record_id).encode(), answer.stats)


def _conditions(scope: OrgScope, selection: LogSelection) -> tuple[str, Mapping[str, Any]]:
    """The only place where a WHERE on logs is made: the organization first, then what was asked, every value bound."""
    names = ["organization", "time"]
    parameters: dict[str, Any] = {"org_id": scope.org_id, "start": selection.start_ns, "end": selection.end_ns}
    for name, value in (
        ("service", selection.service),
        ("level", selection.level),
        ("trace_id", selection.trace_id),
    ):
        if value is not None:
            names.append(name)
            parameters[name] = value
    if selection.search:
        if selection.search.isascii():
            names.append("message_like")
            parameters["pattern"] = f"%{selection.search.lower().translate(_LIKE_ESCAPES)}%"
        else:
            names.append("message_contains")
            parameters["search"] = selection.search
    cursor = selection.decoded_cursor()
    if cursor is not None:
        names.append("before_cursor" if selection.order == "newest" else "after_cursor")
        parameters |= {"cursor_ts": cursor.ts_ns, "cursor_id": cursor.record_id}
    return " AND ".join(f"({_SQL[f'where_{name}']})" for name in names), parameters
