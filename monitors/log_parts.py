"""The logs of one batch -> parts of the windows of an organization's log monitors.

The equalities of a selector are compared on columns, once a batch; the rest of a query is asked of the records that pass them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa

from logql.evaluate import CompiledQuery, LogLine, compile_query
from logql.names import STREAM_LABELS, label_of
from logql.parsing import parse_log_query
from logql.query import LogQuery
from monitors.definitions import LogMonitor
from monitors.pane_building import PartsOfBatch, build_panes
from monitors.record_columns import Places, RecordColumns
from monitors.watched import WatchedMonitor
from topics.transitions import group_text

_ALWAYS_THERE: Final = ("service", "level")
"""Columns that every log has; of the others an empty one may stand for an attribute of that name."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A log monitor, ready for many batches."""

    monitor: WatchedMonitor
    query: CompiledQuery
    equalities: list[tuple[str, str]]
    exact: bool
    """Whether the equalities are all that the query asks."""

    @property
    def service(self) -> str | None:
        return dict(self.equalities).get("service")


class LogMatcher:
    """The log monitors of one organization, by the service that they ask for."""

    def __init__(self, monitors: Iterable[WatchedMonitor]) -> None:
        self._by_service: dict[str | None, list[_Asked]] = {}
        for monitor in monitors:
            definition = monitor.definition
            assert isinstance(definition, LogMonitor)
            query = parse_log_query(definition.query)
            equalities = _equalities(query)
            exact = len(equalities) == len(query.selector) and not query.stages
            asked = _Asked(monitor, compile_query(query), equalities, exact)
            self._by_service.setdefault(asked.service, []).append(asked)

    def add_parts(self, batch: pa.RecordBatch, received_at_ms: int, parts: PartsOfBatch) -> None:
        """Add what the batch holds."""
        columns = RecordColumns(batch, received_at_ms)
        lines = _Lines(columns)
        for service in (None, *columns.codes("service")[1]):
            for asked in self._by_service.get(service, ()):
                _add(asked, columns, lines, parts)


def _add(asked: _Asked, columns: RecordColumns, lines: _Lines, parts: PartsOfBatch) -> None:
    places = columns.places_where(asked.equalities)
    if not asked.exact:
        matches = asked.query.matches
        places = np.array([place for place in places.tolist() if matches(lines[place])], np.int64)
    if not len(places):
        return
    for group, inside in _groups(asked, places, columns, lines):
        panes = build_panes(
            asked.monitor,
            columns.ts_ms[inside],
            np.ones(len(inside)),
            sample=lambda place: "log:" + columns.text("record_id", place),
            places=inside,
        )
        parts.add(asked.monitor, group, panes)


def _groups(asked: _Asked, places: Places, columns: RecordColumns, lines: _Lines) -> Iterable[tuple[str, Places]]:
    labels = asked.monitor.definition.group_by
    if all(label in _ALWAYS_THERE for label in labels):
        return columns.groups([(label, label) for label in labels], places)
    groups: dict[str, list[int]] = {}
    for place in places.tolist():
        group = group_text({label: asked.query.label(lines[place], label_of(label)) for label in labels})
        groups.setdefault(group, []).append(place)
    return [(group, np.array(inside, np.int64)) for group, inside in groups.items()]


def _equalities(query: LogQuery) -> list[tuple[str, str]]:
    """What of a selector columns alone can say: (column, text)."""
    columns = [(STREAM_LABELS.get(test.label, ""), test) for test in query.selector]
    return [(column, test.value) for column, test in columns if test.op == "=" and column in _ALWAYS_THERE]


class _Lines:
    """The records of a batch as LogQL sees them, each made when it is first asked for."""

    def __init__(self, columns: RecordColumns) -> None:
        self._columns = columns
        self._made: dict[int, LogLine] = {}

    @cached_property
    def _texts(self) -> list[list[Any]]:
        names = ("service", "level", "message", "host", "environment", "version", "trace_id", "span_id", "attributes")
        return [self._columns.batch.column(name).to_pylist() for name in names]

    def __getitem__(self, place: int) -> LogLine:
        line = self._made.get(place)
        if line is None:
            line = self._made[place] = LogLine(*(column[place] for column in self._texts))
        return line
