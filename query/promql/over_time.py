"""What windows hold, in one number: the functions *_over_time. Windows in, values and presence (series x steps) out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from query.promql.quantiles import quantiles_of_lists, quantiles_of_rows
from query.promql.rates import Answer
from query.promql.source import Floats
from query.promql.sums import compensated_means, compensated_sums, exact_sum, may_be_off, of_windows
from query.promql.windows import AT_A_TIME, Positions, Windows

_FEW = 200
"""Windows up to which each is summed up exactly for itself: a call takes as long as some terms of all windows at a time."""
_KINDS_MAX = 64
"""Different numbers of samples in windows up to which those of one number are sorted together, as rows of a matrix."""


def _reduced(operation: np.ufunc, windows: Windows) -> Answer:
    present = windows.counts > 0
    values = np.zeros(present.shape)
    values[present] = windows.reduced(operation, windows.samples.values, windows.low[present], windows.high[present])
    return values, present


def largest(windows: Windows) -> Answer:
    """NaN only where there is nothing else."""
    return _reduced(np.fmax, windows)


def smallest(windows: Windows) -> Answer:
    """NaN only where there is nothing else."""
    return _reduced(np.fmin, windows)


def count(windows: Windows) -> Answer:
    """How many samples there are; without any, nothing."""
    counts = windows.counts
    return counts.astype(np.float64), counts > 0


def present(windows: Windows) -> Answer:
    """1 where there is a sample."""
    there = windows.counts > 0
    return np.ones(there.shape), there


def last(windows: Windows) -> Answer:
    """The newest sample."""
    there = windows.counts > 0
    values = np.zeros(there.shape)
    values[there] = windows.samples.values[windows.high[there] - 1]
    return values, there


def _exactly(windows: Windows, low: Positions, counts: Positions, means: bool) -> Floats:
    """The sums or means of some windows again, without the error of a plain sum."""
    found = np.empty(len(low))
    left = np.ones(len(low), dtype=np.bool_)
    if len(low) <= _FEW:  # Long windows, one by one, are faster than term by term.
        for number, (begin, count) in enumerate(zip(low.tolist(), counts.tolist(), strict=True)):
            exact = exact_sum(windows.samples.values[begin : begin + count])
            if exact is not None:
                found[number], left[number] = exact / count if means else exact, False
            windows.check()
    if left.any():
        compensated = compensated_means if means else compensated_sums
        found[left] = compensated(*of_windows(windows.samples.values, low[left], counts[left], windows.check))
    return found


def _summed(windows: Windows, means: bool) -> Answer:
    samples = windows.samples
    there = windows.counts > 0
    low, high = windows.low[there], windows.high[there]
    counts = high - low
    sums = windows.reduced(np.add, samples.values, low, high)
    if samples.derive("not negative", lambda: not (samples.values < 0).any()):
        off = np.isinf(sums)
    else:
        off = may_be_off(sums, windows.reduced(np.add, np.abs(samples.values), low, high), counts)
    found = sums / counts if means else sums
    if off.any():
        found[off] = _exactly(windows, low[off], counts[off], means)
    values = np.zeros(there.shape)
    values[there] = found
    return values, there


def total(windows: Windows) -> Answer:
    """The sum."""
    return _summed(windows, means=False)


def mean(windows: Windows) -> Answer:
    """The mean, also of values whose sum overflows."""
    return _summed(windows, means=True)


def variance(windows: Windows) -> Answer:
    """The mean of the squared distances from the mean; NaN where a sample is not finite.

    Values are taken from the window's first, so that the same value many times has no variance at all.
    """
    values = np.zeros(windows.low.size)
    for part in windows.chunks():
        samples = windows.samples.values[part.places]
        samples -= part.spread(samples[part.starts])
        samples -= part.spread(part.sums(samples) / part.counts)
        samples *= samples
        found = part.sums(samples) / part.counts
        lost = np.isnan(found)
        if lost.any():
            # Of values so far apart that their distance overflows.
            odd = part.sums(~np.isfinite(windows.samples.values[part.places]) * 1.0)
            found[lost & (odd == 0)] = np.inf
        values[part.cells] = found
    return values.reshape(windows.low.shape), windows.counts > 0


def deviation(windows: Windows) -> Answer:
    """The square root of the variance."""
    values, there = variance(windows)
    return np.sqrt(values), there


def quantile(windows: Windows, phi: Floats) -> Answer:
    """`phi` has one value a step."""
    values = np.zeros(windows.low.size)
    low, counts = windows.low.ravel(), windows.counts.ravel()
    phis = np.broadcast_to(phi, windows.low.shape).ravel()
    kinds = np.unique(counts[counts > 0])
    if len(kinds) <= _KINDS_MAX:
        for size in kinds.tolist():
            alike = np.nonzero(counts == size)[0]
            some = max(AT_A_TIME // size, 1)
            for begin in range(0, len(alike), some):
                cells = alike[begin : begin + some]
                samples = windows.samples.values[low[cells, np.newaxis] + np.arange(size)]
                values[cells] = quantiles_of_rows(samples, phis[cells])
                windows.check()
    else:
        for part in windows.chunks():
            samples = windows.samples.values[part.places]
            values[part.cells] = quantiles_of_lists(samples, part.owners(), part.counts, phis[part.cells])
    return values.reshape(windows.low.shape), windows.counts > 0


OVER_TIME: dict[str, Callable[[Windows], Answer]] = {
    "avg_over_time": mean,
    "count_over_time": count,
    "last_over_time": last,
    "max_over_time": largest,
    "min_over_time": smallest,
    "present_over_time": present,
    "stddev_over_time": deviation,
    "stdvar_over_time": variance,
    "sum_over_time": total,
}
