"""The points of one batch -> parts of the windows of an organization's metric monitors.

A series is looked at once: which monitors want it, and in which group, is remembered by its text. After that ten thousand
monitors cost one dictionary access a series.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from monitors.definitions import MetricMonitor
from monitors.pane_building import PARTS_MAX, PartsOfBatch, build_panes, event_times
from monitors.watched import WatchedMonitor
from topics.metric_columns import MetricBatch, decode_series
from topics.panes import Counter, Pane
from topics.transitions import group_text

KNOWN_SERIES_MAX: Final = 100_000
KNOWN_MATCHES_MAX: Final = 500_000
"""Of all series that are remembered: each may be wanted by every monitor."""


class _Match(NamedTuple):
    monitor: WatchedMonitor
    group: str


class MetricMatcher:
    """The metric monitors of one organization."""

    def __init__(self, monitors: Iterable[WatchedMonitor]) -> None:
        self._by_metric: dict[str, list[tuple[WatchedMonitor, MetricMonitor]]] = {}
        for monitor in monitors:
            definition = monitor.definition
            assert isinstance(definition, MetricMonitor)
            self._by_metric.setdefault(definition.metric, []).append((monitor, definition))
        self._known: dict[bytes, tuple[_Match, ...]] = {}
        self._known_matches = 0

    def add_parts(self, batch: MetricBatch, received_at_ms: int, parts: PartsOfBatch) -> None:
        """Add what the batch holds. Values that are not finite do not count."""
        wanted: dict[_Match, list[int]] = {}
        known = self._known
        for i, text in enumerate(batch.series):
            matches = known.get(text)
            if matches is None:
                matches = self._learn(text)
            for match in matches:
                wanted.setdefault(match, []).append(i)
            if len(wanted) > PARTS_MAX:
                break  # Adding them says that they are too many.
        if not wanted:
            return
        points = _Points(batch, received_at_ms)
        for match, series in wanted.items():
            monitor = match.monitor
            if monitor.aggregation in ("rate", "increase"):
                panes = _counter_panes(monitor, batch.series, series, points)
            else:
                ts_ms, values = points.of(series)
                panes = build_panes(monitor, ts_ms, values) if len(values) else []
            if panes:
                parts.add(monitor, match.group, panes)

    def _learn(self, text: bytes) -> tuple[_Match, ...]:
        if len(self._known) >= KNOWN_SERIES_MAX or self._known_matches >= KNOWN_MATCHES_MAX:
            self._known.clear()
            self._known_matches = 0
        matches: tuple[_Match, ...] = ()
        # `["name",{...`: the name has no character that JSON would escape.
        monitors = self._by_metric.get(text[2 : text.index(b'"', 2)].decode())
        if monitors:
            labels = decode_series(text).labels
            matches = tuple(
                _Match(monitor, group_text({name: labels.get(name, "") for name in definition.group_by}))
                for monitor, definition in monitors
                if all(labels.get(name, "") == value for name, value in definition.labels.items())
            )
        self._known[text] = matches
        self._known_matches += len(matches)
        return matches


class _Points:
    """A batch's finite points, by series."""

    def __init__(self, batch: MetricBatch, received_at_ms: int) -> None:
        finite = np.isfinite(batch.value)
        index, ts_us, value = batch.index, batch.ts_us, batch.value
        if not finite.all():
            index, ts_us, value = index[finite], ts_us[finite], value[finite]
        order = np.lexsort((ts_us, index))
        self._ends = np.searchsorted(index[order], np.arange(len(batch.series) + 1)).tolist()
        self._ts_ms = event_times(ts_us[order] // 1000, received_at_ms)
        self._value = value[order]

    def of(self, series: list[int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Times in milliseconds and values of the points of some series."""
        if len(series) == 1:
            a, b = self._ends[series[0]], self._ends[series[0] + 1]
            return self._ts_ms[a:b], self._value[a:b]
        ranges = [slice(self._ends[i], self._ends[i + 1]) for i in series]
        times = np.concatenate([self._ts_ms[each] for each in ranges])
        return times, np.concatenate([self._value[each] for each in ranges])


def _counter_panes(monitor: WatchedMonitor, texts: list[bytes], series: list[int], points: _Points) -> list[Pane]:
    """Panes with the growth of each series; what lies between two batches the window adds, which knows the last one's end."""
    panes: dict[int, Pane] = {}
    for i in series:
        ts_ms, values = points.of([i])
        name = int.from_bytes(hashlib.blake2b(texts[i], digest_size=7).digest())
        for ts, value in zip(ts_ms.tolist(), values.tolist(), strict=True):
            start = ts - ts % monitor.pane_ms
            pane = panes.get(start)
            if pane is None:
                pane = panes[start] = Pane(start, 0, 0.0, value, value, ts, value, {}, [])
            pane.count += 1
            pane.min, pane.max = min(pane.min, value), max(pane.max, value)
            if ts >= pane.last_ms:
                pane.last_ms, pane.last = ts, value
            counter = pane.counters[-1] if pane.counters and pane.counters[-1].series == name else None
            if counter is None:
                pane.counters.append(Counter(name, ts, value, ts, value, 0.0))
            else:
                counter.increase += value - counter.last if value >= counter.last else value
                counter.last_ms, counter.last = ts, value
    return sorted(panes.values(), key=lambda pane: pane.start_ms)
