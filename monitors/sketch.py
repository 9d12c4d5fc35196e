"""Quantiles of many values in little room: counts by the logarithm of the value, which add up.

DDSketch (Masson, Rim, Lee, VLDB 2019): bucket i holds the values in (1.02^(i-1), 1.02^i], so any quantile is within 1 % of the
value that has its rank. Zero and negative values have buckets too, and buckets are numbered in the order of their values.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

GAMMA: Final = 1.02
RELATIVE_ERROR: Final = (GAMMA - 1) / (GAMMA + 1)
BUCKETS_MAX: Final = 1_024
"""Of one pane; beyond it the lowest are put together, which leaves the high quantiles as they are."""

_LN: Final = math.log(GAMMA)
_POSITIVE: Final = 1 << 20
"""Added to the number of a positive value's bucket; the logarithms of all doubles lie within it."""

_LARGEST: Final = math.log(sys.float_info.max)
"""The bucket of the largest doubles ends beyond them."""


def bucket_of(value: float) -> int:
    """The bucket of one finite value."""
    if value > 0:
        return _POSITIVE + math.ceil(math.log(value) / _LN)
    if value < 0:
        return -_POSITIVE - math.ceil(math.log(-value) / _LN)
    return 0


def bucket_counts(values: npt.NDArray[np.float64]) -> dict[int, int]:
    """How many of the values, all finite, lie in which bucket."""
    sizes = np.abs(values)
    sizes[sizes == 0] = 1.0
    buckets = np.sign(values).astype(np.int64) * (_POSITIVE + np.ceil(np.log(sizes) / _LN).astype(np.int64))
    different, counts = np.unique(buckets, return_counts=True)
    return dict(zip(different.tolist(), counts.tolist(), strict=True))


def value_of(bucket: int) -> float:
    """The value that stands for a bucket: in relation to each of its values at most 1 % off."""
    if bucket == 0:
        return 0.0
    middle = 2 / (GAMMA + 1)
    if bucket > 0:
        return middle * math.exp(min((bucket - _POSITIVE) * _LN, _LARGEST))
    return -middle * math.exp(min((-bucket - _POSITIVE) * _LN, _LARGEST))


def add_counts(into: dict[int, int], more: Mapping[int, int]) -> None:
    """Add counts to counts, within `BUCKETS_MAX`."""
    for bucket, count in more.items():
        into[bucket] = into.get(bucket, 0) + count
    excess = len(into) - BUCKETS_MAX
    if excess > 0:
        ordered = sorted(into)
        lowest = ordered[excess]
        into[lowest] += sum(into.pop(bucket) for bucket in ordered[:excess])


def quantile(counts: Mapping[int, int], q: float) -> float | None:
    """The value of rank q x (n - 1), within 1 %; None of nothing."""
    total = sum(counts.values())
    if not total:
        return None
    rank = q * (total - 1)
    seen = 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen > rank:
            return value_of(bucket)
    raise AssertionError("unreachable")
