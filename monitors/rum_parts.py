"""The RUM events of one batch -> parts of the windows of an organization's RUM monitors."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from monitors.definitions import RumMonitor
from monitors.pane_building import PartsOfBatch, build_panes
from monitors.record_columns import RecordColumns
from monitors.watched import WatchedMonitor

_COUNTED = ("count", "rate", "absent")


class RumMatcher:
    """The RUM monitors of one organization, by the type of event that they ask for."""

    def __init__(self, monitors: Iterable[WatchedMonitor]) -> None:
        self._by_event: dict[str, list[tuple[WatchedMonitor, RumMonitor]]] = {}
        for monitor in monitors:
            definition = monitor.definition
            assert isinstance(definition, RumMonitor)
            self._by_event.setdefault(definition.event, []).append((monitor, definition))

    def add_parts(self, batch: pa.RecordBatch, received_at_ms: int, parts: PartsOfBatch) -> None:
        """Add what the batch holds; an event without a value, or with one that is not finite, only counts."""
        columns = RecordColumns(batch, received_at_ms)
        for event in columns.codes("type")[1]:
            for monitor, definition in self._by_event.get(event, ()):
                _add(monitor, definition, columns, parts)


def _add(monitor: WatchedMonitor, definition: RumMonitor, columns: RecordColumns, parts: PartsOfBatch) -> None:
    asked = (("type", definition.event), ("name", definition.event_name), ("page_path", definition.page_path))
    places = columns.places_where([(name, text) for name, text in asked if text is not None])
    if monitor.aggregation in _COUNTED:
        values = np.ones(columns.rows)
    else:
        values = columns.numbers("value")
        places = places[np.isfinite(values[places])]
    labels = [(label, "name" if label == "event_name" else label) for label in definition.group_by]
    for group, inside in columns.groups(labels, places):
        panes = build_panes(
            monitor,
            columns.ts_ms[inside],
            values[inside],
            sample=lambda place: "session:" + columns.text("session_id", place),
            places=inside,
        )
        parts.add(monitor, group, panes)
