"""A selection of logs in; how many there are over time, and which values their fields have, out.

The SQL is queries/log_statistics.sql. Counts of whole ranges without conditions are cheaper from storage/log_counts.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import Template

import msgspec

from storage.clickhouse import Answer, ClickHouse, ReadStats
from storage.log_filters import COLUMNS, FIELD_CHARACTERS_MAX
from storage.log_labels import Bound, LabelTexts
from storage.log_selection import LogSelection
from storage.logs import searched
from storage.named_queries import load_queries
from storage.record_selection import check_text, refused_field
from storage.record_table import Conditions, RecordTable
from storage.scope import OrgScope
from storage.search_limits import SearchLimits
from topics.errors import TooExpensive

VALUES_MAX = 100_000
"""Different values of a facet that are counted exactly."""
CELLS_MAX = 100_000

_SQL = load_queries("log_statistics.sql")
_ATTRIBUTES = "attributes."


class LogBucket(msgspec.Struct, array_like=True, frozen=True):
    """`count` logs whose field has the text `name`, in step `bucket` from the first on."""

    bucket: int
    name: str
    count: int


class _Value(msgspec.Struct, array_like=True, frozen=True):
    value: str
    count: int
    different: int
    logs: int


@dataclass(frozen=True, slots=True)
class Facet:
    """The most frequent values of a field, most frequent first, and how many `different` ones and `logs` with one there are.

    Not `exact` where there are more than VALUES_MAX values: those that came first are counted, others are not.
    """

    values: list[tuple[str, int]]
    different: int
    logs: int
    exact: bool
    stats: ReadStats


class LogStatistics:
    """Statistics of the table `logs` of one ClickHouse. Calls raise `Refused`, `Unavailable` and `TooExpensive`."""

    def __init__(self, clickhouse: ClickHouse, limits: SearchLimits | None = None) -> None:
        self._table = RecordTable(clickhouse, limits, name="logs", what="logs", columns=())

    async def histogram(
        self,
        scope: OrgScope,
        selection: LogSelection,
        limits: SearchLimits | None = None,
        *,
        step_ns: int,
        field: str | None,
    ) -> Answer[LogBucket]:
        """Counts by step of `step_ns` from the begin of the range on, and by the text of a field (column or attribute)."""
        self._table.check_range(selection, limits)
        conditions = searched(scope, selection, continued=False)
        sql = Template(_SQL["histogram"]).safe_substitute(text=_text_of(field, conditions) if field else "''")
        answer = await self._table.read(
            sql, LogBucket, conditions, limits, first=selection.start_ns, step=step_ns, rows_max=CELLS_MAX + 1
        )
        if len(answer.rows) > CELLS_MAX:
            raise TooExpensive(f"{CELLS_MAX} counts", f"the number of steps and values of {field}")
        return answer

    async def facet(
        self, scope: OrgScope, selection: LogSelection, limits: SearchLimits | None = None, *, field: str, top: int
    ) -> Facet:
        """The `top` most frequent values of a field."""
        self._table.check_range(selection, limits)
        conditions = searched(scope, selection, continued=False)
        sql = Template(_SQL["facet"]).safe_substitute(text=_text_of(field, conditions))
        settings = {"max_rows_to_group_by": VALUES_MAX, "group_by_overflow_mode": "any"}
        answer = await self._table.read(sql, _Value, conditions, limits, settings=settings, top=top)
        rows = answer.rows
        different, logs = (rows[0].different, rows[0].logs) if rows else (0, 0)
        return Facet([(row.value, row.count) for row in rows], different, logs, different < VALUES_MAX, answer.stats)


def check_field(path: str, field: str) -> None:
    """Raise `Refused` for what cannot be the name of a column or an attribute."""
    check_text("logs", path, field)
    if not 1 <= len(field) <= FIELD_CHARACTERS_MAX or not field.removeprefix(_ATTRIBUTES):
        raise refused_field("logs", path, f"it has not 1 to {FIELD_CHARACTERS_MAX} characters")


def _text_of(field: str, conditions: Conditions) -> str:
    """The SQL of a field's text, whose values are bound among the conditions'."""
    column = COLUMNS.get(field)
    if column is not None:
        return f"CAST({column}, 'String')"
    bound = Bound("shown")
    text = LabelTexts(bound).member("attributes", field.removeprefix(_ATTRIBUTES), ".")
    conditions.parameters |= bound.parameters
    return text
