"""Arrow batches of RUM events in; pages of events of one organization out.

The table is clickhouse/migrations/0003_create_rum_events.sql, the SQL queries/rum.sql.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from storage.clickhouse import ClickHouse
from storage.named_queries import load_queries
from storage.record_selection import RecordSelection
from storage.record_table import RecordPage, RecordTable, selected
from storage.scope import OrgScope
from storage.search_limits import SearchLimits

# Names and order of the columns of an inserted Arrow stream.
RUM_COLUMNS = (
    "org_id",
    "ts",
    "record_id",
    "type",
    "session_id",
    "view_id",
    "page_url",
    "page_path",
    "user_id",
    "name",
    "value",
    "error_type",
    "error_message",
    "error_stack",
    "country",
    "region",
    "city",
    "timezone",
    "latitude",
    "longitude",
    "browser",
    "browser_version",
    "os",
    "device_type",
    "is_bot",
    "client",
    "attributes",
    "received_at",
    "retention_days",
)

_SQL = load_queries("rum.sql")
# Columns that a selection compares exactly.
_EXACT = (
    "type", "page_path", "session_id", "view_id", "user_id", "name", "error_type", "country", "browser", "os", "device_type",
)  # fmt: skip


class RumRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One event as it is stored. `client` and `attributes` are the JSON texts of objects; absent texts are ""."""

    ts_ns: int
    record_id: int
    type: str
    session_id: str
    view_id: str
    page_url: str
    page_path: str
    user_id: str
    name: str
    value: float | None
    error_type: str
    error_message: str
    error_stack: str
    country: str
    region: str
    city: str
    timezone: str
    latitude: float | None
    longitude: float | None
    browser: str
    browser_version: str
    os: str
    device_type: str
    is_bot: int
    client: str
    attributes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RumSelection(RecordSelection):
    """Which events: those of the time range that meet every condition given.

    Texts are compared exactly, but for `search`, which the page's address, the name or the error's message contains, in any case.
    `value_min` and `value_max` are included; an event without a value is in no range of values.
    """

    what: ClassVar[str] = "RUM events"

    type: str | None = None
    page_path: str | None = None
    session_id: str | None = None
    view_id: str | None = None
    user_id: str | None = None
    name: str | None = None
    error_type: str | None = None
    country: str | None = None
    browser: str | None = None
    os: str | None = None
    device_type: str | None = None
    is_bot: bool | None = None
    value_min: float | None = None
    value_max: float | None = None
    search: str | None = None

    def exact(self) -> Mapping[str, str | None]:
        return {column: getattr(self, column) for column in _EXACT}

    def texts(self) -> Mapping[str, str | None]:
        return {**self.exact(), "search": self.search}


class RumStore:
    """The table `rum_events` of one ClickHouse."""

    def __init__(self, clickhouse: ClickHouse, limits: SearchLimits | None = None) -> None:
        self._table = RecordTable(clickhouse, limits, name="rum_events", what="RUM events", columns=RUM_COLUMNS)

    async def insert(self, arrow_stream: bytes, *, rows: int, token: str) -> None:
        """Store the `rows` events of an Arrow IPC stream with the columns RUM_COLUMNS, once; see `RecordTable.insert`."""
        await self._table.insert(arrow_stream, rows=rows, token=token)

    async def search(
        self, scope: OrgScope, selection: RumSelection, limits: SearchLimits | None = None
    ) -> RecordPage[RumRow]:
        """One page of the organization's events; see `RecordTable.page`. Indexes serve the time range, a session, and a rare type
        or page."""
        conditions = selected(scope, selection)
        for name in ("is_bot", "value_min", "value_max", "search"):
            value = getattr(selection, name)
            if value is not None:
                conditions.add(_SQL[f"where_{name}"], **{name: int(value) if name == "is_bot" else value})
        return await self._table.page(_SQL["select_events"], RumRow, selection, conditions, limits)
