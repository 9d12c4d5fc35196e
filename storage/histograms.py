"""Counts by bucket in, as the hourly tables keep them; quantiles out.

Exponential buckets, 16 a doubling (scale 4 of OpenTelemetry's exponential histogram): bucket b holds
2^((b-1)/16) < value <= 2^(b/16). Sums of histograms are exact, so hours and services may be added in any order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

BUCKETS_A_DOUBLING = 16
# Of zeros, of what is below zero, and of what is not finite; a quantile that falls into it is 0.
LOWEST_BUCKET = -32768


def quantile(histogram: Mapping[int, int], level: float) -> float | None:
    """The smallest value that the share `level` (0 to 1) of all values does not exceed, within 2.2 % of it; None for an empty
    histogram. So of ten requests the slowest is p95 and p99: nine of them would be 90 %.

    The value given is the middle of the bucket on the logarithmic scale.
    """
    if not 0 <= level <= 1:
        raise ValueError(f"cannot take the quantile {level}: it is not between 0 and 1")
    total = sum(histogram.values())
    if total == 0:
        return None
    # The nearest rank, from 0; rounded first, as 0.07 * 100 is a little more than 7.
    rank = max(math.ceil(round(level * total, 6)) - 1, 0)
    seen = 0
    for bucket in sorted(histogram):
        seen += histogram[bucket]
        if seen > rank:
            return 0.0 if bucket == LOWEST_BUCKET else float(2 ** ((bucket - 0.5) / BUCKETS_A_DOUBLING))
    raise AssertionError("the counts of a histogram are not negative")
