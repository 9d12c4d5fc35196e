"""How a series changes within windows: rate, increase, delta, irate, idelta, resets, changes, deriv, predict_linear.

Windows in, values and presence (series x steps) out. The extrapolation is that of promql/functions.go (extrapolatedRate).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from query.promql.source import Floats, Mask
from query.promql.windows import AT_A_TIME, Samples, Windows

Answer = tuple[Floats, Mask]
Counts = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Falls:
    """Where samples are less than the one before: `before[p]` falls are before place p, and fall i was from `amounts[i]`."""

    before: Counts
    amounts: Floats


def _steps_within(samples: Samples, here: Mask) -> Mask:
    """`here[p]` is said of places p and p + 1; false where they belong to two series."""
    inner = samples.starts[samples.starts < samples.ends]
    here[inner[inner > 0] - 1] = False
    return here


def _counted(flags: Mask) -> Counts:
    """How many flags are set of steps that end before place p, for every p up to the end. In 32 bits, since a block keeps it."""
    counted = np.zeros(len(flags) + 2, dtype=np.int32)
    np.cumsum(flags, out=counted[2:])
    return counted


def falls_of(samples: Samples) -> Falls | None:
    """None where no sample is less than the one before, as of most counters most of the time."""
    return samples.derive("falls", lambda: _find_falls(samples))


def _find_falls(samples: Samples) -> Falls | None:
    values = samples.values
    fell = _steps_within(samples, values[1:] < values[:-1])
    if not fell.any():
        return None
    return Falls(_counted(fell), values[:-1][fell])


def _fallen(windows: Windows, falls: Falls) -> Floats:
    """The sum of what was lost in the falls of each window."""
    first = falls.before[np.minimum(windows.low + 1, windows.high)].astype(np.int64)
    last = falls.before[windows.high].astype(np.int64)
    lost = np.zeros(first.shape)
    hit = first < last
    lost[hit] = windows.reduced(np.add, falls.amounts, first[hit], last[hit])
    return lost


def extrapolated(windows: Windows, *, counter: bool, per_second: bool) -> Answer:
    """rate, increase and delta: the change between the first and the last sample, stretched to the window where it is covered."""
    rows, steps = windows.low.shape
    values, present = np.empty((rows, steps)), np.empty((rows, steps), dtype=np.bool_)
    falls = falls_of(windows.samples) if counter else None
    lost = None if falls is None else _fallen(windows, falls)
    if len(windows.samples.values) == 0:
        present[:] = False
        return values, present
    some = max(AT_A_TIME // max(steps, 1), 1)
    for row in range(0, rows, some):
        part = slice(row, row + some)
        values[part], present[part] = _extrapolated(windows, part, None if lost is None else lost[part], counter)
    if per_second:
        values /= windows.range_ms / 1000
    return values, present


def _extrapolated(windows: Windows, part: slice, lost: Floats | None, counter: bool) -> Answer:
    samples, low, high = windows.samples, windows.low[part], windows.high[part]
    count = high - low
    present = count >= 2
    last = high - 1
    if not present.all():
        end = len(samples.values) - 1
        low, last = np.minimum(low, end), np.maximum(last, 0)
    first_value = samples.values[low]
    change = samples.values[last] - first_value
    if lost is not None:
        change += lost
    first_ms, last_ms = samples.ts_ms[low], samples.ts_ms[last]
    sampled = (last_ms - first_ms) / 1000
    to_start = (first_ms - (windows.end_ms - windows.range_ms)) / 1000
    to_end = (windows.end_ms - last_ms) / 1000
    count -= 1
    apart = sampled / count
    threshold = apart * 1.1
    apart *= 0.5
    np.copyto(to_start, apart, where=to_start >= threshold)
    np.copyto(to_end, apart, where=to_end >= threshold)
    if counter:
        to_zero = first_value / change
        to_zero *= sampled
        sooner = to_zero < to_start
        sooner &= (change > 0) & (first_value >= 0)
        np.copyto(to_start, to_zero, where=sooner)
    to_start += to_end
    to_start += sampled
    to_start /= sampled
    to_start *= change
    return to_start, present


def between_last_two(windows: Windows, *, counter: bool) -> Answer:
    """irate (per second, from 0 after a fall) and idelta."""
    samples = windows.samples
    present = windows.counts >= 2
    if len(samples.values) < 2:
        return np.zeros(present.shape), np.zeros_like(present)
    last = np.maximum(windows.high - 1, 1)
    after, before = samples.values[last], samples.values[last - 1]
    if not counter:
        return after - before, present
    change = np.where(after < before, after, after - before)
    return change / ((samples.ts_ms[last] - samples.ts_ms[last - 1]) / 1000), present


def resets(windows: Windows) -> Answer:
    """How often a sample is less than the one before."""
    falls = falls_of(windows.samples)
    if falls is None:
        return np.zeros(windows.low.shape), windows.counts > 0
    inside = falls.before[windows.high] - falls.before[np.minimum(windows.low + 1, windows.high)]
    return inside.astype(np.float64), windows.counts > 0


def changes(windows: Windows) -> Answer:
    """How often a sample differs from the one before; NaN do not differ."""
    samples = windows.samples

    def find() -> Counts:
        before, after = samples.values[:-1], samples.values[1:]
        return _counted(_steps_within(samples, (before != after) & ~(np.isnan(before) & np.isnan(after))))

    if len(samples.values) == 0:
        return np.zeros(windows.low.shape), np.zeros(windows.low.shape, dtype=np.bool_)
    changed = samples.derive("changes", find)
    inside = changed[windows.high] - changed[np.minimum(windows.low + 1, windows.high)]
    return inside.astype(np.float64), windows.counts > 0


def _lines(windows: Windows, at_step: bool) -> tuple[Floats, Floats, Mask]:
    """The least squares line of each window: slope per second, and its value at the step's time or at the first sample's.

    Times and values are taken from their means, which loses less than sums of squares do.
    """
    samples = windows.samples
    slope, intercept = np.zeros(windows.low.size), np.zeros(windows.low.size)
    origins = np.broadcast_to(windows.step_ms, windows.low.shape).ravel()
    for part in windows.chunks():
        first = samples.values[part.places[part.starts]]
        origin = origins[part.cells] if at_step else samples.ts_ms[part.places[part.starts]]
        values = samples.values[part.places]
        seconds = (samples.ts_ms[part.places] - np.repeat(origin, part.counts)) / 1000
        mean_s, mean = part.sums(seconds) / part.counts, part.sums(values) / part.counts
        seconds -= part.spread(mean_s)
        flat = part.sums((values != part.spread(first)).astype(np.float64)) == 0
        values = values - part.spread(mean)
        incline = part.sums(seconds * values) / part.sums(seconds * seconds)
        level = mean - incline * mean_s
        broken = np.where(np.isinf(first), np.nan, 0.0)
        slope[part.cells] = np.where(flat, broken, incline)
        intercept[part.cells] = np.where(flat, first + broken, level)
    shape = windows.low.shape
    return slope.reshape(shape), intercept.reshape(shape), windows.counts >= 2


def deriv(windows: Windows) -> Answer:
    """The slope, per second."""
    slope, _, present = _lines(windows, at_step=False)
    return slope, present


def predict_linear(windows: Windows, seconds: Floats) -> Answer:
    """Where the line is so many seconds after the step."""
    slope, intercept, present = _lines(windows, at_step=True)
    return slope * seconds + intercept, present
