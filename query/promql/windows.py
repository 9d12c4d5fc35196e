"""Where in a block each step looks: samples up to a time, and windows of them, for all series and steps at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt

from query.promql.labels import LabelTable
from query.promql.source import STALE_BITS, Floats, Ints, Mask, SeriesBlock

Positions = npt.NDArray[np.int64]
_Derived = TypeVar("_Derived")
AT_A_TIME = 65_536
"""Values that a chain of operations works on at a time, so that what it makes in between stays in the processor's cache."""
EXPANDED_MAX, REDUCED_MAX = 4_000_000, 100_000_000
"""Samples of windows that are laid out, or reduced, at a time; windows overlap, so all of them may be many times the block."""


def _is_stale(values: Floats) -> Mask:
    stale: Mask = values.view(np.int64) == STALE_BITS
    return stale


class Samples:
    """The samples of a block, with what is known of their times.

    `ends[i]` is the place behind the last sample of series i. `row` holds the times that all series share, if they do.
    """

    __slots__ = ("_derived", "ends", "row", "starts", "table", "ts_ms", "values")

    def __init__(self, table: LabelTable, offsets: Ints, ts_ms: Ints, values: Floats) -> None:
        self.table = table
        self.starts = offsets[:-1]
        self.ends = offsets[1:]
        self.ts_ms = ts_ms
        self.values = values
        self._derived: dict[str, object] = {}
        self.row = self._shared_times()

    def derive(self, key: str, make: Callable[[], _Derived]) -> _Derived:
        """What `make` gives, made once and kept as long as the block is."""
        if key not in self._derived:
            self._derived[key] = make()
        return cast(_Derived, self._derived[key])

    def _shared_times(self) -> Ints | None:
        count = len(self.starts)
        if count == 0 or len(self.ts_ms) % count:
            return None
        length = len(self.ts_ms) // count
        if length == 0 or (self.starts != np.arange(count) * length).any():
            return None
        times = self.ts_ms.reshape(count, length)
        return times[0] if (times == times[0]).all() else None

    def ends_at(self, times_ms: Ints) -> Positions:
        """series x times: the place behind the last sample of the series that is not after the time."""
        if self.row is not None:
            return self.starts[:, np.newaxis] + np.searchsorted(self.row, times_ms, side="right")
        shape = (len(self.starts), len(times_ms))
        if len(self.ts_ms) == 0 or 0 in shape:
            return np.zeros(shape, dtype=np.int64) + self.starts[:, np.newaxis]
        found = np.empty(shape, dtype=np.int64)
        some = max(AT_A_TIME // shape[1], 1)
        for row in range(0, shape[0], some):
            self._guess(slice(row, row + some), times_ms, found[row : row + some])
        return found

    def _guess(self, part: slice, times_ms: Ints, guess: Positions) -> None:
        """Samples mostly come at even intervals, so the place is computed, moved by one where it is off, and checked."""
        ts_ms, last = self.ts_ms, len(self.ts_ms) - 1
        starts, ends = self.starts[part, np.newaxis], self.ends[part, np.newaxis]
        length = ends - starts
        first_ms = ts_ms[np.minimum(starts, last)]
        span_ms = ts_ms[np.maximum(ends - 1, 0)] - first_ms
        pace = np.where((length > 1) & (span_ms > 0), (length - 1) / np.maximum(span_ms, 1), 0.0)
        np.multiply(times_ms - first_ms, pace, out=guess, casting="unsafe")
        guess += starts
        guess += 1
        np.clip(guess, starts, ends, out=guess)
        guess += (ts_ms[np.minimum(guess, last)] <= times_ms) & (guess < ends)
        guess -= (ts_ms[np.maximum(guess - 1, 0)] > times_ms) & (guess > starts)
        wrong = (ts_ms[np.minimum(guess, last)] <= times_ms) & (guess < ends)
        wrong |= (ts_ms[np.maximum(guess - 1, 0)] > times_ms) & (guess > starts)
        if wrong.any():
            series, step = np.nonzero(wrong)
            guess[series, step] = self._searched(part, series, times_ms[step])

    def _searched(self, part: slice, series: Positions, times_ms: Ints) -> Positions:
        """The same by binary search, for pairs of a series of the part and a time: the two become one rising number."""
        starts, ends = self.starts[part], self.ends[part]
        ts_ms = self.ts_ms[starts[0] : ends[-1]]
        low, high = int(ts_ms.min()), int(ts_ms.max())
        span = high - low + 1
        keys = np.repeat(np.arange(len(starts)), ends - starts) * span + (ts_ms - low)
        wanted = series * span + (np.clip(times_ms, low - 1, high) - low)
        found: Positions = np.searchsorted(keys, wanted, side="right").astype(np.int64)
        return found + int(starts[0])


def all_samples(block: SeriesBlock) -> Samples:
    """Every sample of the block, stale markers too."""
    samples = block.derived.get("all")
    if not isinstance(samples, Samples):
        samples = block.derived["all"] = Samples(block.labels, block.offsets, block.ts_ms, block.values)
    return samples


def live_samples(block: SeriesBlock) -> Samples:
    """The samples of the block without stale markers: what a range of time holds."""
    samples = block.derived.get("live")
    if isinstance(samples, Samples):
        return samples
    stale = _is_stale(block.values)
    if not stale.any():
        samples = all_samples(block)
    else:
        kept = ~stale
        offsets = np.concatenate(([0], np.cumsum(kept)))[block.offsets]
        samples = Samples(block.labels, offsets, block.ts_ms[kept], block.values[kept])
    block.derived["live"] = samples
    return samples


def latest(block: SeriesBlock, times_ms: Ints, lookback_ms: int) -> tuple[Positions, Mask]:
    """series x times: the place of the last sample within the lookback, and whether there is one that is not a stale marker."""
    samples = all_samples(block)
    place = samples.ends_at(times_ms) - 1
    present = place >= samples.starts[:, np.newaxis]
    np.maximum(place, 0, out=place)
    if len(samples.ts_ms) == 0:
        return place, present
    present &= samples.ts_ms[place] > times_ms - lookback_ms
    if live_samples(block) is not samples:
        present &= ~_is_stale(samples.values)[place]
    return place, present


@dataclass(slots=True)
class Windows:
    """The samples of `samples` at places from `low` up to `high` (series x steps), in (`end_ms` - `range_ms`, `end_ms`].

    `step_ms` are the times of the steps themselves, which @ and offset move the ends of windows away from. `check` is called
    after every some millions of samples that were looked at, and raises when that has taken too long.
    """

    samples: Samples
    low: Positions
    high: Positions
    end_ms: Ints
    step_ms: Ints
    range_ms: int
    check: Callable[[], None]

    @property
    def counts(self) -> Positions:
        return self.high - self.low

    def chunks(self) -> Iterator[Expanded]:
        """The windows that hold samples, each laid out for itself, some at a time."""
        low, counts = self.low.ravel(), self.counts.ravel()
        filled = np.nonzero(counts)[0]
        for part in parts_of(counts[filled], EXPANDED_MAX):
            self.check()
            yield Expanded(filled[part], low[filled[part]], counts[filled[part]])

    def reduced(self, operation: np.ufunc, values: Floats, low: Positions, high: Positions) -> Floats:
        """`operation` over values[low:high] for lists of places, where low < high."""
        found = np.empty(len(low))
        for part in parts_of(high - low, REDUCED_MAX):
            self.check()
            found[part] = reduce_windows(operation, values, low[part], high[part])
        return found


class Expanded:
    """Some windows laid out: `places` are those of their samples in turn, window w from `starts[w]` on.

    `cells` are the windows' places in the flattened series x steps.
    """

    __slots__ = ("cells", "counts", "places", "starts")

    def __init__(self, cells: Positions, low: Positions, counts: Positions) -> None:
        self.cells = cells
        self.counts = counts
        self.starts = np.concatenate(([0], np.cumsum(counts)[:-1]))
        self.places = np.arange(int(counts.sum())) + np.repeat(low - self.starts, counts)

    def owners(self) -> Positions:
        """Which window each sample is laid out for."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def spread(self, of_windows: npt.NDArray[np.float64]) -> Floats:
        """A value a window -> the same value at each of its samples."""
        return np.repeat(of_windows, self.counts)

    def sums(self, of_samples: Floats) -> Floats:
        sums: Floats = np.add.reduceat(of_samples, self.starts)
        return sums


def parts_of(sizes: Positions, most: int) -> Iterator[slice]:
    """Slices of a list whose sizes sum up to `most` at most, or that hold one that is larger."""
    sums = np.cumsum(sizes)
    begin = 0
    while begin < len(sums):
        before = int(sums[begin - 1]) if begin else 0
        end = max(int(np.searchsorted(sums, before + most, side="right")), begin + 1)
        yield slice(begin, end)
        begin = end


def reduce_windows(operation: np.ufunc, values: Floats, low: Positions, high: Positions) -> Floats:
    """`operation` over values[low:high] for lists of places, where low < high; what lies between two windows is passed over."""
    bounds = np.empty(2 * len(low), dtype=np.int64)
    bounds[0::2], bounds[1::2] = low, high
    if high.max(initial=0) == len(values):
        values = np.append(values, 0.0)
    return np.asarray(operation.reduceat(values, bounds)[::2]) if len(low) else np.empty(0)


def windows_of(samples: Samples, end_ms: Ints, step_ms: Ints, range_ms: int, check: Callable[[], None]) -> Windows:
    """A window for every series and step. Ends at even steps that divide the range need one search for both sides."""
    steps = len(end_ms)
    pace = int(end_ms[1] - end_ms[0]) if steps > 1 else 0
    if pace > 0 and range_ms % pace == 0 and range_ms // pace <= 2 * steps:
        shift = range_ms // pace
        places = samples.ends_at(end_ms[0] - range_ms + np.arange(steps + shift) * pace)
        return Windows(samples, places[:, :steps], places[:, shift:], end_ms, step_ms, range_ms, check)
    return Windows(
        samples, samples.ends_at(end_ms - range_ms), samples.ends_at(end_ms), end_ms, step_ms, range_ms, check
    )
