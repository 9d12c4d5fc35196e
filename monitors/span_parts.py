"""The spans of one batch -> parts of the windows of an organization's trace monitors."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from monitors.definitions import TraceMonitor
from monitors.pane_building import PartsOfBatch, build_panes
from monitors.record_columns import RecordColumns
from monitors.watched import WatchedMonitor


class SpanMatcher:
    """The trace monitors of one organization, by the service that they ask for."""

    def __init__(self, monitors: Iterable[WatchedMonitor]) -> None:
        self._by_service: dict[str | None, list[tuple[WatchedMonitor, TraceMonitor]]] = {}
        for monitor in monitors:
            definition = monitor.definition
            assert isinstance(definition, TraceMonitor)
            self._by_service.setdefault(definition.service, []).append((monitor, definition))

    def add_parts(self, batch: pa.RecordBatch, received_at_ms: int, parts: PartsOfBatch) -> None:
        """Add what the batch holds."""
        columns = RecordColumns(batch, received_at_ms)
        for service in (None, *columns.codes("service")[1]):
            for monitor, definition in self._by_service.get(service, ()):
                _add(monitor, definition, columns, parts)


def _add(monitor: WatchedMonitor, definition: TraceMonitor, columns: RecordColumns, parts: PartsOfBatch) -> None:
    asked = (("service", definition.service), ("operation", definition.operation), ("kind", definition.span_kind))
    conditions = [(name, text) for name, text in asked if text is not None]
    if monitor.aggregation == "error_count":
        conditions.append(("status", "error"))
    places = columns.places_where(conditions)
    if not len(places):
        return
    if monitor.aggregation == "error_rate":
        codes, numbers = columns.codes("status")
        values = (codes == numbers.get("error", -1)).astype(np.float64)
    else:
        values = columns.numbers("duration_ns") / 1e6
    labels = [(label, label) for label in definition.group_by]
    for group, inside in columns.groups(labels, places):
        panes = build_panes(
            monitor,
            columns.ts_ms[inside],
            values[inside],
            sample=lambda place: "trace:" + columns.text("trace_id", place),
            places=inside,
        )
        parts.add(monitor, group, panes)
