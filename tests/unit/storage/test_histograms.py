"""Quantiles of exponential histograms are within their promise."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest

from storage.histograms import LOWEST_BUCKET, quantile


def histogram(values: list[float]) -> dict[int, int]:
    """As the views of clickhouse/migrations make it."""
    return dict(Counter(LOWEST_BUCKET if value <= 0 else math.ceil(math.log2(value) * 16) for value in values))


@pytest.mark.parametrize("level", [0.0, 0.01, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("spread", [0.1, 1.0, 5.0])
def test_a_quantile_is_within_its_promise(level: float, spread: float) -> None:
    pick = random.Random(7)
    values = sorted(pick.lognormvariate(15, spread) for _ in range(10_000))
    exact = values[max(math.ceil(level * len(values)) - 1, 0)]
    found = quantile(histogram(values), level)
    assert found is not None
    assert abs(found / exact - 1) < 0.0221


@pytest.mark.parametrize(("level", "expected"), [(0.5, 10), (0.9, 10), (0.95, 1000), (0.99, 1000), (1, 1000), (0, 10)])
def test_of_ten_the_slowest_is_in_the_high_quantiles(level: float, expected: float) -> None:
    assert quantile(histogram([10] * 9 + [1000]), level) == pytest.approx(expected, rel=0.022)


def test_zeros_and_nothing() -> None:
    assert quantile({}, 0.5) is None
    assert quantile(histogram([0, 0, 8]), 0.5) == 0
    assert quantile(histogram([0, 8, 8]), 0.5) == pytest.approx(8, rel=0.022)
    with pytest.raises(ValueError, match="not between"):
        quantile({1: 1}, 1.1)
