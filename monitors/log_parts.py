"""The logs of one batch -> parts of the windows of an organization's log monitors.

The equalities of a selector are compared on columns, once a batch; the rest of a query is asked of the records that pass them, as
far as the organization's `Allowance` reaches.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa

from logql.evaluate import CompiledQuery, LogLine, compile_query, patterns_of
from logql.names import STREAM_LABELS, label_of
from logql.parsing import parse_log_query
from logql.patterns import program_size
from logql.query import LogQuery
from monitors.allowance import Allowance, OutOfTime
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
    size: int
    """Instructions of its patterns."""

    @property
    def service(self) -> str | None:
        return dict(self.equalities).get("service")


_Made: TypeAlias = tuple[CompiledQuery, list[tuple[str, str]], bool, int]
_MADE: Final[WeakKeyDictionary[WatchedMonitor, _Made]] = WeakKeyDictionary()
"""What is made of a monitor's query, as long as the monitor stays the same object: others of its organization change often."""


def _ask(monitor: WatchedMonitor) -> _Asked:
    made = _MADE.get(monitor)
    if made is None:
        assert isinstance(monitor.definition, LogMonitor)
        query = parse_log_query(monitor.definition.query)
        equalities = _equalities(query)
        exact = len(equalities) == len(query.selector) and not query.stages
        made = _MADE[monitor] = compile_query(query), equalities, exact, sum(map(program_size, patterns_of(query)))
    return _Asked(monitor, *made)


class LogMatcher:
    """The log monitors of one organization, by the service that they ask for."""

    def __init__(self, monitors: Iterable[WatchedMonitor], allowance: Allowance) -> None:
        self._allowance = allowance
        self._took_s: dict[str, float] = {}
        self._by_service: dict[str | None, list[_Asked]] = {}
        for monitor in monitors:
            asked = _ask(monitor)
            self._by_service.setdefault(asked.service, []).append(asked)

    def add_parts(self, batch: pa.RecordBatch, received_at_ms: int, parts: PartsOfBatch) -> None:
        """Add what the batch holds. What there is no time for is left out, and `parts` says that it is cut."""
        work = _Work(RecordColumns(batch, received_at_ms), self._allowance, parts)
        services = (None, *work.columns.codes("service")[1])
        concerned = [asked for service in services for asked in self._by_service.get(service, ())]
        # What took long comes last, so that one expensive monitor takes no time from the others.
        concerned.sort(key=lambda asked: self._took_s.get(asked.monitor.id, asked.size * 1e-9))
        self._allowance.begin()
        try:
            for asked in concerned:
                self._add(asked, work)
        except OutOfTime:
            parts.cut = True
        finally:
            self._allowance.end()

    def _add(self, asked: _Asked, work: _Work) -> None:
        places = work.columns.places_where(asked.equalities)
        if asked.exact:
            work.add(asked, places)
            return
        began_s = self._allowance.used()
        try:
            work.add(asked, work.matching(asked, places))
        finally:
            self._took_s[asked.monitor.id] = self._allowance.used() - began_s


@dataclass(frozen=True, slots=True)
class _Work:
    """One batch, and where its parts go."""

    columns: RecordColumns
    allowance: Allowance
    parts: PartsOfBatch
    lines: _Lines = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lines", _Lines(self.columns))

    def matching(self, asked: _Asked, places: Places) -> Places:
        """Which of some records the query asks for. Raises `OutOfTime`."""
        found = []
        for place in places.tolist():
            line = self.lines[place]
            self.allowance.spend(len(line.message) + len(line.attributes))
            if asked.query.matches(line):
                found.append(place)
        return np.array(found, np.int64)

    def add(self, asked: _Asked, places: Places) -> None:
        """Add records to the windows of their groups."""
        if not len(places):
            return
        for group, inside in self._groups(asked, places):
            panes = build_panes(
                asked.monitor,
                self.columns.ts_ms[inside],
                np.ones(len(inside)),
                sample=lambda place: "log:" + self.columns.text("record_id", place),
                places=inside,
            )
            self.parts.add(asked.monitor, group, panes)

    def _groups(self, asked: _Asked, places: Places) -> Iterable[tuple[str, Places]]:
        labels = asked.monitor.definition.group_by
        if all(label in _ALWAYS_THERE for label in labels):
            return self.columns.groups([(label, label) for label in labels], places)
        groups: dict[str, list[int]] = {}
        for place in places.tolist():
            line = self.lines[place]
            self.allowance.spend(len(line.message) + len(line.attributes))
            group = group_text({label: asked.query.label(line, label_of(label)) for label in labels})
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
