"""A table of records of ClickHouse: Arrow blocks in; pages of one organization's records out. What logs, spans and RUM share.

The tables have the columns org_id, ts and record_id and are ordered by them, so all pages are made and continued alike.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from string import Template
from typing import Any, Generic, Protocol, TypeVar

from storage.clickhouse import Answer, ClickHouse, ReadStats
from storage.named_queries import load_queries
from storage.record_selection import RecordCursor, RecordSelection
from storage.scope import OrgScope
from storage.search_limits import SearchLimits

_SQL = load_queries("records.sql")


class Record(Protocol):
    """A row that has a place among its like."""

    @property
    def ts_ns(self) -> int: ...

    @property
    def record_id(self) -> int: ...


Row = TypeVar("Row", bound=Record)
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class RecordPage(Generic[Item]):
    """Rows in the order asked for; `next_cursor` leads to the next page and is None on the last one."""

    rows: list[Item]
    next_cursor: str | None
    stats: ReadStats


@dataclass(slots=True)
class Conditions:
    """A WHERE in the making: texts of ours, put together with AND, and the values that they bind.

    `places` say where in the order of the table (organization, time, cursor), `texts` what to find there. Nearly all that is read
    lies in the place already, so ClickHouse is told to look for the texts first (PREWHERE): left to itself it begins with the
    place, as those columns are small, and a rare word in 3 million logs takes 1.6 times the CPU.
    """

    places: list[str]
    texts: list[str]
    parameters: dict[str, Any]

    def add_place(self, text: str, **values: Any) -> None:
        """One more place; the text comes from a .sql file, the values may come from anywhere."""
        self.places.append(text)
        self.parameters |= values

    def add(self, text: str, **values: Any) -> None:
        """One more thing to find; the same."""
        self.texts.append(text)
        self.parameters |= values

    @property
    def where(self) -> str:
        """PREWHERE, if there is something to find, and WHERE, which takes further conditions behind AND."""
        first = f"PREWHERE {_all(self.texts)}\n" if self.texts else ""
        return f"{first}WHERE {_all(self.places)}"


def _all(texts: Sequence[str]) -> str:
    return " AND ".join(f"({text})" for text in texts)


def organization(scope: OrgScope) -> Conditions:
    """The only place where a WHERE on records begins: with the organization."""
    made = Conditions([], [], {})
    made.add_place(_SQL["where_organization"], org_id=scope.org_id)
    return made


def selected(scope: OrgScope, selection: RecordSelection, *, continued: bool = True) -> Conditions:
    """The organization, the time range and the exact conditions of a selection, whose names are columns and come from code;
    with `continued`, from its cursor on."""
    made = organization(scope)
    made.add_place(_SQL["where_time"], start=selection.start_ns, end=selection.end_ns)
    for column, value in selection.exact().items():
        if value is not None:
            made.add(Template(_SQL["where_equal"]).substitute(column=column), **{column: value})
    if continued:
        go_on(made, selection)
    return made


def go_on(made: Conditions, selection: RecordSelection) -> None:
    """Add where the page begins, if not at the first record."""
    cursor = selection.decoded_cursor()
    if cursor is not None:
        name = "where_before_cursor" if selection.order == "newest" else "where_after_cursor"
        made.add_place(_SQL[name], cursor_ts=cursor.ts_ns, cursor_id=cursor.record_id)


class RecordTable:
    """One table. Its name, columns and statements are code's, never input."""

    def __init__(
        self, clickhouse: ClickHouse, limits: SearchLimits | None, *, name: str, what: str, columns: tuple[str, ...]
    ) -> None:
        """`what` names the records in messages; `limits` hold for reads that bring none of their own."""
        self._clickhouse = clickhouse
        self._limits = limits or SearchLimits()
        self._name = name
        self._what = what
        self._columns = columns

    async def insert(
        self, arrow_stream: bytes, *, rows: int, token: str, settings: Mapping[str, Any] | None = None
    ) -> None:
        """Store the `rows` records of an Arrow IPC stream with the table's columns, as one block; none or all of them.

        ts is a timestamp in nanoseconds or an Int64 of them, received_at the same in milliseconds. The same `token` again
        stores nothing, whatever the rows (ClickHouse compares tokens alone), so a token must name exactly one block for ever.
        Records of two days of arrival become two parts, each deduplicated by the same token, and the hourly statistics with them.

        Raises `Unavailable` when it may be repeated with the same token and bytes (it may have been stored), `Refused` (code
        "bad_block") when these bytes can never be stored.
        """
        if not token:
            raise ValueError("a block needs a token")
        if rows == 0:
            return
        settings = {"insert_deduplication_token": token, **(settings or {})}
        await self._clickhouse.insert(
            self._name, self._columns, arrow_stream, settings, doing=f"store {rows} {self._what}"
        )

    async def page(
        self,
        select: str,
        row_type: type[Row],
        selection: RecordSelection,
        conditions: Conditions,
        limits: SearchLimits | None = None,
    ) -> RecordPage[Row]:
        """The rows that meet the conditions, which `selected` began. `select` is the statement up to its WHERE.

        Pages are stable: a record that is stored between two of them never moves or repeats another. Raises as `read`.
        """
        self.check_range(selection, limits)
        # One more than asked for tells whether there is a next page.
        answer = await self.read(
            f"{select}\n{_SQL[f'page_{selection.order}']}",
            row_type,
            conditions,
            limits,
            stops_early=True,
            limit=selection.limit + 1,
        )
        rows = answer.rows[: selection.limit]
        return RecordPage(rows, next_cursor(answer.rows, selection), answer.stats)

    async def read(
        self,
        sql: str,
        row_type: type[Item],
        conditions: Conditions,
        limits: SearchLimits | None = None,
        *,
        stops_early: bool = False,
        settings: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> Answer[Item]:
        """Run a statement with its $where within `limits`; `stops_early` when it ends with a full page.

        Raises `Unavailable` and `TooExpensive`."""
        statement = Template(sql).substitute(where=conditions.where)
        parameters = {**conditions.parameters, **values}
        given = {**(limits or self._limits).settings(stops_early=stops_early), **(settings or {})}
        return await self._clickhouse.read(statement, row_type, parameters, given, doing=f"search {self._what}")

    async def stream(
        self,
        select: str,
        row_type: type[Row],
        selection: RecordSelection,
        conditions: Conditions,
        limits: SearchLimits | None = None,
        *,
        rows_max: int,
    ) -> AsyncGenerator[list[Row], None]:
        """The first `rows_max` rows of all pages, some at a time. Raises as `read`, also between rows."""
        self.check_range(selection, limits)
        sql = Template(f"{select}\n{_SQL[f'page_{selection.order}']}").substitute(where=conditions.where)
        # No answer is held, so its size is no matter.
        settings = replace(limits or self._limits, result_bytes_max=0).settings(stops_early=True)
        parameters = {**conditions.parameters, "limit": rows_max}
        doing = f"search {self._what}"
        async with aclosing(self._clickhouse.stream(sql, row_type, parameters, settings, doing=doing)) as some:
            async for rows in some:
                yield rows

    def check_range(self, selection: RecordSelection, limits: SearchLimits | None = None) -> None:
        """Raise `TooExpensive` for a longer time than may be asked for."""
        (limits or self._limits).check_range(selection.start_ns, selection.end_ns)


def next_cursor(rows: Sequence[Record], selection: RecordSelection) -> str | None:
    """Where the page after this one begins; `rows` are those of the page, and one more when there is a next page."""
    if len(rows) <= selection.limit:
        return None
    last = rows[selection.limit - 1]
    return RecordCursor(last.ts_ns, last.record_id).encode()
