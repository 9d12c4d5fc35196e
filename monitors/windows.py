"""The window of one group: panes of batches in, readings out.

At `now` the open pane counts too, so that a decision need not wait for its end. A window then reaches back a pane less than its
length (`narrow`) or up to one more (`wide`). Of what can only grow with the reach, a state rises by the reach that cannot raise
it too early and falls by the one that cannot end it too early: so a value near the threshold does not make it flap with every
pane.
With an evaluation delay, or where two windows are compared, only complete panes count, exactly as many as a window has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from monitors.sketch import add_counts, quantile
from monitors.watched import WatchedMonitor
from topics.panes import Counter, Pane

SAMPLES_MAX: Final = 3
COUNTERS_MAX: Final = 1_000
"""Counter series of one group; further ones add nothing."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a window holds at one moment. `rise` and `fall` are the value for either way, None where there is none.

    `count` is how many values the window has, `last_ms` the time of the newest ever seen in the group, 0 of none. `start_ms` and
    `end_ms` are the window's.
    """

    rise: float | None
    fall: float | None
    count: int
    last_ms: int
    start_ms: int
    end_ms: int


@dataclass(slots=True)
class Window:
    """The panes of one group, by their beginning, and the last point of each counter series."""

    panes: dict[int, Pane] = field(default_factory=dict)
    last_ms: int = 0
    _counters: dict[int, tuple[int, float]] = field(default_factory=dict)

    def restore(self, pane: Pane) -> None:
        """Take a pane as it was kept."""
        self.panes[pane.start_ms] = pane
        self.last_ms = max(self.last_ms, pane.last_ms)
        for counter in pane.counters:
            if counter.last_ms >= self._counters.get(counter.series, (0, 0.0))[0]:
                self._counters[counter.series] = (counter.last_ms, counter.last)

    def add(self, monitor: WatchedMonitor, pane: Pane, now_ms: int) -> Pane | None:
        """Add what a batch holds for a pane; returns the pane as it is then, None when its time is over."""
        if pane.start_ms <= self.oldest_kept(monitor, now_ms):
            return None
        self._forget(monitor, now_ms)
        if pane.counters:
            pane = self._counted(monitor, pane)
        kept = self.panes.get(pane.start_ms)
        if kept is None:
            kept = self.panes[pane.start_ms] = pane
            if pane.buckets:
                pane.buckets = dict(pane.buckets)
        else:
            _merge(kept, pane)
        self.last_ms = max(self.last_ms, pane.last_ms)
        return kept

    def oldest_kept(self, monitor: WatchedMonitor, now_ms: int) -> int:
        """Panes that begin here or before are no longer looked at by any decision."""
        return monitor.pane_of(now_ms) - monitor.slots * monitor.pane_ms

    def read(self, monitor: WatchedMonitor, now_ms: int) -> Reading:
        """The reading at `now_ms`."""
        definition = monitor.definition
        if definition.evaluation_delay_s or definition.change:
            end = monitor.pane_of(now_ms - definition.evaluation_delay_s * 1000)
            return self._read(monitor, end, monitor.panes, monitor.panes)
        end = monitor.pane_of(now_ms) + monitor.pane_ms
        return self._read(monitor, end, monitor.panes, monitor.panes + 1)

    def _read(self, monitor: WatchedMonitor, end: int, narrow: int, wide: int) -> Reading:
        width = monitor.pane_ms
        start = end - wide * width
        inside = self._between(start, end)
        value = self._value(monitor, inside)
        if monitor.definition.change:
            before = self._value(monitor, self._between(start - monitor.window_ms, start))
            value = _change(value, before, percent=monitor.definition.change == "percent")
        rise = fall = value
        if monitor.grows and wide > narrow:
            less = self._value(monitor, [pane for pane in inside if pane.start_ms > start])
            lower, upper = (less, value) if monitor.grows > 0 else (value, less)
            if lower is not None and upper is not None and lower > upper:
                lower, upper = upper, lower  # A sum of values of which some are negative.
            # None is no value at all, which is past no threshold.
            rise, fall = (lower, upper) if monitor.definition.above else (upper, lower)
            if fall is None:
                fall = value
        return Reading(rise, fall, sum(pane.count for pane in inside), self.last_ms, start, end)

    def values(self, monitor: WatchedMonitor, reading: Reading) -> list[list[Any]]:
        """What each pane of a reading's window holds, for people: [unix milliseconds, value]."""
        return [
            [pane.start_ms, self._value(monitor, [pane])]
            for pane in sorted(self._between(reading.start_ms, reading.end_ms), key=lambda pane: pane.start_ms)
        ]

    def samples(self, reading: Reading) -> list[str]:
        """Records of the window, the newest first."""
        newest = sorted(self._between(reading.start_ms, reading.end_ms), key=lambda pane: -pane.start_ms)
        return list(dict.fromkeys(_samples(newest)))[:SAMPLES_MAX]

    def _between(self, start: int, end: int) -> list[Pane]:
        return [pane for pane in self.panes.values() if start <= pane.start_ms < end]

    def _value(self, monitor: WatchedMonitor, panes: list[Pane]) -> float | None:
        count = sum(pane.count for pane in panes)
        match monitor.aggregation:
            case "count" | "error_count":
                return float(count)
            case "rate" if monitor.definition.kind != "metric":
                return count / monitor.definition.window_s
            case "request_rate":
                return count / monitor.definition.window_s
            case "absent":
                return 0.0 if count else 1.0
            case "increase":
                return sum(pane.sum for pane in panes)
            case "rate":
                return sum(pane.sum for pane in panes) / monitor.definition.window_s
        if not count:
            return None
        match monitor.aggregation:
            case "sum":
                return sum(pane.sum for pane in panes)
            case "avg" | "error_rate":
                return sum(pane.sum for pane in panes) / count
            case "min":
                return min(pane.min for pane in panes)
            case "max":
                return max(pane.max for pane in panes)
            case "last":
                return max(panes, key=lambda pane: (pane.last_ms, pane.start_ms)).last
        assert monitor.quantile is not None
        counts: dict[int, int] = {}
        for pane in panes:
            add_counts(counts, pane.buckets)
        return quantile(counts, monitor.quantile)

    def _forget(self, monitor: WatchedMonitor, now_ms: int) -> None:
        """Leave what no decision looks at any more, but the newest, which says when there were data."""
        if len(self.panes) <= monitor.slots:
            return
        oldest = self.oldest_kept(monitor, now_ms)
        for start in [start for start in self.panes if start <= oldest]:
            del self.panes[start]
        if len(self._counters) > COUNTERS_MAX // 2:
            self._counters = {key: seen for key, seen in self._counters.items() if seen[0] > oldest}

    def _counted(self, monitor: WatchedMonitor, pane: Pane) -> Pane:
        """The pane with the growth of its counters as its sum, from the last point of each series on."""
        growth = 0.0
        kept: list[Counter] = []
        for counter in pane.counters:
            before = self._counters.get(counter.series)
            if before is None and len(self._counters) >= COUNTERS_MAX:
                continue
            if before is not None and before[0] >= counter.first_ms:
                if before[0] >= counter.last_ms:
                    continue  # It came late: a point behind it has counted this growth already.
                growth += _growth(before[1], counter.last)
            else:
                growth += counter.increase
                if before is not None and counter.first_ms - before[0] <= monitor.window_ms:
                    growth += _growth(before[1], counter.first)
            self._counters[counter.series] = (counter.last_ms, counter.last)
            kept.append(Counter(counter.series, 0, 0.0, counter.last_ms, counter.last, 0.0))
        return Pane(
            pane.start_ms, pane.count, growth, pane.min, pane.max, pane.last_ms, pane.last, {}, kept, pane.samples
        )


def _growth(before: float, after: float) -> float:
    """By how much a counter grew; one that fell was reset and began at zero (Prometheus: increase)."""
    return after - before if after >= before else after


def _merge(kept: Pane, more: Pane) -> None:
    kept.count += more.count
    kept.sum += more.sum
    kept.min = min(kept.min, more.min)
    kept.max = max(kept.max, more.max)
    if more.last_ms >= kept.last_ms:
        kept.last_ms, kept.last = more.last_ms, more.last
    if more.buckets:
        if not kept.buckets:
            kept.buckets = {}
        add_counts(kept.buckets, more.buckets)
    if more.counters:
        newest = {counter.series: counter for counter in kept.counters}
        newest.update({counter.series: counter for counter in more.counters})
        kept.counters = list(newest.values())
    if more.samples:
        kept.samples = list(dict.fromkeys([*more.samples, *kept.samples]))[:SAMPLES_MAX]


def _change(value: float | None, before: float | None, *, percent: bool) -> float | None:
    if value is None or before is None:
        return None
    if not percent:
        return value - before
    return None if before == 0 else 100 * (value - before) / abs(before)


def _samples(panes: Iterable[Pane]) -> Iterator[str]:
    for pane in panes:
        yield from pane.samples
