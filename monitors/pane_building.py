"""Values with their groups and times in, panes of each group out: what one batch adds to the windows of one monitor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from monitors.sketch import bucket_counts, bucket_of
from monitors.watched import WatchedMonitor
from topics.panes import Pane, Part

FEW: Final = 24
"""So many values are added up faster one by one than as columns."""

LATE_MS: Final = 600_000

PARTS_MAX: Final = 50_000
"""Parts of one batch: about a second of work, for which the batches of other organizations wait."""

Sample = Callable[[int], str]
"""The place of a record in its batch -> what names it."""


def event_times(ts_ms: npt.NDArray[np.int64], received_at_ms: int) -> npt.NDArray[np.int64]:
    """When records count: their own time, but no later than they came and no earlier than ten minutes before.

    A clock that is ahead would put a breach into a pane that nobody looks at yet; what is sent late by more than that does not
    belong to any window of now, and is counted at the edge rather than lost from the long ones.
    """
    return np.clip(ts_ms, received_at_ms - LATE_MS, received_at_ms)


def build_panes(
    monitor: WatchedMonitor,
    ts_ms: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    *,
    sample: Sample | None = None,
    places: npt.NDArray[np.int64] | None = None,
) -> list[Pane]:
    """The panes of one group. `values` are finite.

    `sample` names the record of each pane's largest value, whose place in the batch is in `places`.
    """
    if len(values) <= FEW:
        return _one_by_one(monitor, ts_ms.tolist(), values.tolist(), sample, places)
    starts = ts_ms - ts_ms % monitor.pane_ms
    order = np.lexsort((ts_ms, starts))
    starts, times, sorted_values = starts[order], ts_ms[order], values[order]
    first = np.flatnonzero(np.r_[True, starts[1:] != starts[:-1]])
    end = np.r_[first[1:], len(starts)]
    sums = np.add.reduceat(sorted_values, first)
    lows = np.minimum.reduceat(sorted_values, first)
    highs = np.maximum.reduceat(sorted_values, first)
    panes = []
    for i, (a, b) in enumerate(zip(first.tolist(), end.tolist(), strict=True)):
        inside = sorted_values[a:b]
        panes.append(
            Pane(
                int(starts[a]),
                b - a,
                float(sums[i]),
                float(lows[i]),
                float(highs[i]),
                int(times[b - 1]),
                float(inside[-1]),
                bucket_counts(inside) if monitor.quantile is not None else {},
                [],
                [sample(_place(places, int(order[a + int(inside.argmax())])))] if sample is not None else [],
            )
        )
    return panes


def _one_by_one(
    monitor: WatchedMonitor,
    times: Sequence[int],
    values: Sequence[float],
    sample: Sample | None,
    places: npt.NDArray[np.int64] | None,
) -> list[Pane]:
    panes: dict[int, Pane] = {}
    largest: dict[int, int] = {}
    sketch = monitor.quantile is not None
    for i, (ts, value) in enumerate(zip(times, values, strict=True)):
        start = ts - ts % monitor.pane_ms
        pane = panes.get(start)
        if pane is None:
            pane = panes[start] = Pane(start, 1, value, value, value, ts, value, {})
            largest[start] = i
        else:
            pane.count += 1
            pane.sum += value
            if value < pane.min:
                pane.min = value
            if value > pane.max:
                pane.max = value
                largest[start] = i
            if ts >= pane.last_ms:
                pane.last_ms, pane.last = ts, value
        if sketch:
            bucket = bucket_of(value)
            pane.buckets[bucket] = pane.buckets.get(bucket, 0) + 1
    if sample is not None:
        for start, i in largest.items():
            panes[start].samples = [sample(_place(places, i))]
    return list(panes.values())


def _place(places: npt.NDArray[np.int64] | None, i: int) -> int:
    return i if places is None else int(places[i])


class TooManyParts(Exception):
    """A batch holds more for an organization's monitors than is watched of one."""


class PartsOfBatch:
    """Collects the parts of one batch, by monitor, `PARTS_MAX` at most: monitors times groups may be far more than records."""

    def __init__(self) -> None:
        self.of_monitors: dict[str, list[Part]] = {}
        self.room = PARTS_MAX
        self.cut = False
        """Whether there were more."""

    def add(self, monitor: WatchedMonitor, group: str, panes: list[Pane]) -> None:
        """Take the panes of one group. Raises `TooManyParts`."""
        if not self.room:
            raise TooManyParts
        self.room -= 1
        self.of_monitors.setdefault(monitor.id, []).append(Part(monitor.id, monitor.shape, group, panes))
