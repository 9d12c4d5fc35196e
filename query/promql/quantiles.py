"""Quantiles of lists of values, and of the cumulative buckets of classic histograms (promql/quantile.go of Prometheus)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from query.promql.source import Floats, Ints, Mask

SMALL_DELTA = 1e-12
"""Counts of neighbouring buckets that differ by less than this part of them are taken as equal."""
_TINY = 2.2250738585072014e-308


def outside(phi: Floats) -> Floats:
    """What any quantile is for a phi that is none: -Inf below 0, +Inf above 1, NaN for NaN; 0 for a good one."""
    return np.where(np.isnan(phi), np.nan, np.where(phi < 0, -np.inf, np.where(phi > 1, np.inf, 0.0)))


def _of_sorted(lower: Floats, upper: Floats, weight: Floats, phi: Floats) -> Floats:
    return np.where((phi >= 0) & (phi <= 1), lower * (1 - weight) + upper * weight, outside(phi))


def _ranks(counts: Ints, phi: Floats) -> tuple[Ints, Ints, Floats]:
    """Which two of the sorted values a quantile lies between, and how near it is to the upper."""
    rank: Floats = np.where((phi >= 0) & (phi <= 1), phi, 0.0) * (counts - 1.0)
    below: Floats = np.floor(rank)
    lower: Ints = below.astype(np.int64)
    return lower, np.minimum(lower + 1, counts - 1), rank - below


def quantiles_of_rows(values: Floats, phi: Floats) -> Floats:
    """The quantile `phi[i]` of each row of a matrix, interpolated between neighbours; NaN are the smallest of values."""
    rows, count = values.shape
    ordered = np.sort(values, axis=1)
    lower, upper, weight = _ranks(np.full(rows, count), phi)
    missing = np.isnan(ordered[:, -1])
    if missing.any():  # They were sorted to the end.
        gone = np.isnan(ordered).sum(axis=1)
        lower, upper = (lower - gone) % count, (upper - gone) % count
    every = np.arange(rows)
    return _of_sorted(ordered[every, lower], ordered[every, upper], weight, phi)


def quantiles_of_lists(
    values: Floats, owner: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], phi: Floats
) -> Floats:
    """The same for lists of different lengths: values[j] belongs to list `owner[j]`, in any order; list i has `counts[i]`, at
    least one.
    """
    starts = np.cumsum(counts) - counts
    ordered = values[np.lexsort((values, ~np.isnan(values), owner))]
    lower, upper, weight = _ranks(counts, phi)
    return _of_sorted(ordered[starts + lower], ordered[starts + upper], weight, phi)


def _almost_equal(a: Floats, b: Floats) -> Mask:
    size, apart = np.abs(a) + np.abs(b), np.abs(a - b)
    tiny = (a == 0) | (b == 0) | (size < _TINY)
    limit = np.where(tiny, SMALL_DELTA * _TINY, SMALL_DELTA * np.minimum(size, np.finfo(np.float64).max))
    near: Mask = apart < limit
    return near


def rising(counts: Floats) -> tuple[Floats, Mask]:
    """Counts made to never fall along the first axis (buckets by their bound), and where more than a rounding was mended."""
    counts = counts.copy()
    mended = np.zeros(counts.shape[1:], dtype=np.bool_)
    highest = counts[0].copy()
    for bucket in counts[1:]:
        same = (bucket == highest) | _almost_equal(highest, bucket)
        fell = ~same & (bucket < highest)
        mended |= fell
        np.copyto(bucket, highest, where=same | fell)
        np.copyto(highest, bucket, where=~(same | fell))
    return counts, mended


def bucket_quantiles(phi: Floats, bounds: Floats, counts: Floats) -> tuple[Floats, Mask]:
    """The quantile of histograms whose cumulative `counts` are buckets x anything, and where their counts were mended.

    `bounds` are the buckets' upper bounds, rising, the last of them +Inf; `phi` broadcasts against one bucket's counts.
    """
    shape = counts.shape[1:]
    phi = np.broadcast_to(phi, shape)
    valid = (phi >= 0) & (phi <= 1)
    if len(bounds) == 0 or bounds[-1] != np.inf:
        return np.where(valid, np.nan, outside(phi)), np.zeros(shape, dtype=np.bool_)
    counts, mended = rising(counts)
    if len(bounds) < 2:
        return np.where(valid, np.nan, outside(phi)), np.zeros(shape, dtype=np.bool_)
    total = counts[-1]
    mended &= valid & (total != 0)
    rank = np.where(valid, phi, 0.0) * total
    # The first bucket, but for the last, that holds the rank; a NaN among the counts holds none.
    bucket = (~(counts[:-1] >= rank)).cumprod(axis=0).sum(axis=0)
    inside = np.minimum(bucket, len(bounds) - 2)
    count = np.take_along_axis(counts, inside[np.newaxis], axis=0)[0]
    before = np.take_along_axis(counts, np.maximum(inside - 1, 0)[np.newaxis], axis=0)[0]
    before = np.where(inside > 0, before, 0.0)
    begin = np.where(inside > 0, bounds[np.maximum(inside - 1, 0)], 0.0)
    found = begin + (bounds[inside] - begin) * ((rank - before) / (count - before))
    found = np.where((inside == 0) & (bounds[0] <= 0), bounds[0], found)
    found = np.where(bucket == len(bounds) - 1, bounds[-2], found)
    found = np.where(total == 0, np.nan, found)
    return np.where(valid, found, outside(phi)), mended


def bucket_fractions(lower: Floats, upper: Floats, bounds: Floats, counts: Floats) -> Floats:
    """The part of observations between two values, of histograms as above; within a bucket they lie evenly."""
    shape = counts.shape[1:]
    lower, upper = np.broadcast_to(lower, shape), np.broadcast_to(upper, shape)
    if len(bounds) == 0 or bounds[-1] != np.inf:
        return np.full(shape, np.nan)
    total = counts[-1]

    def rank_of(value: Floats) -> Floats:
        rank = np.full(shape, np.nan)
        open_ = np.ones(shape, dtype=np.bool_)
        before = np.zeros(shape)
        for number, (bound, count) in enumerate(zip(bounds, counts, strict=True)):
            start = bounds[number - 1] if number else -np.inf
            at_start = open_ & (start >= value)
            rank = np.where(at_start, before, rank)
            open_ &= ~at_start
            within = open_ & (start < value) & (bound > value)
            begin = 0.0 if number == 0 and bound > 0 else start
            part = count if np.isneginf(begin) else before + (count - before) * (value - begin) / (bound - begin)
            rank = np.where(within, part, rank)
            open_ &= ~within
            before = count
        return np.where(open_ | (rank > total), total, rank)

    found = (rank_of(upper) - rank_of(lower)) / total
    found = np.where(lower >= upper, 0.0, found)
    return np.where((total == 0) | np.isnan(lower) | np.isnan(upper), np.nan, found)
