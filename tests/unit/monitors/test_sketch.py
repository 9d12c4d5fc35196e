"""Quantiles of sketches against those of the values themselves."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.sketch import BUCKETS_MAX, RELATIVE_ERROR, add_counts, bucket_counts, bucket_of, quantile, value_of

VALUES = st.lists(
    st.floats(-1e300, 1e300, allow_subnormal=False).filter(lambda value: value == 0 or abs(value) > 1e-300), min_size=1
)


@settings(deadline=None)
@given(VALUES, st.sampled_from([0.0, 0.5, 0.75, 0.9, 0.99, 1.0]))
def test_a_quantile_is_within_one_percent_of_the_value_of_its_rank(values: list[float], q: float) -> None:
    exact = sorted(values)[math.floor(q * (len(values) - 1))]
    found = quantile(bucket_counts(np.array(values)), q)
    assert found == pytest.approx(exact, rel=RELATIVE_ERROR * 1.001)


@settings(deadline=None)
@given(VALUES)
def test_buckets_are_the_same_one_by_one_and_as_a_column(values: list[float]) -> None:
    one_by_one: dict[int, int] = {}
    for value in values:
        add_counts(one_by_one, {bucket_of(value): 1})
    column = bucket_counts(np.array(values))
    # A value within a rounding error of a border may lie on either side of it.
    assert sum(column.values()) == sum(one_by_one.values()) == len(values)
    for a, b in zip(_spread(column), _spread(one_by_one), strict=True):
        assert value_of(a) == pytest.approx(value_of(b), rel=0.021)


def _spread(counts: dict[int, int]) -> list[int]:
    return [bucket for bucket in sorted(counts) for _ in range(counts[bucket])]


def test_sketches_add_up_within_their_bound_and_keep_what_is_high() -> None:
    rng = np.random.default_rng(7)
    values = np.exp(rng.uniform(-200, 200, 50_000))
    counts: dict[int, int] = {}
    for part in np.array_split(values, 20):
        add_counts(counts, bucket_counts(part))
    assert len(counts) <= BUCKETS_MAX
    assert sum(counts.values()) == len(values)
    exact = np.sort(values)[math.floor(0.99 * (len(values) - 1))]
    assert quantile(counts, 0.99) == pytest.approx(exact, rel=0.0101)


def test_of_nothing_there_is_no_quantile() -> None:
    assert quantile({}, 0.5) is None


@pytest.mark.parametrize("value", [sys.float_info.max, -sys.float_info.max, 5e-324])
def test_the_largest_and_smallest_doubles_have_a_quantile(value: float) -> None:
    assert quantile({bucket_of(value): 1}, 0.5) == pytest.approx(value, rel=RELATIVE_ERROR * 1.001)
