"""Sums whose terms cancel out or overflow, in each of the ways in which the engine adds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from promql_formulas import kahan

from query.promql.engine import evaluate, parse
from query.promql.labels import LabelTable
from query.promql.source import SeriesBlock
from query.promql.steps import Limits, Steps
from query.promql.sums import compensated_means, compensated_sums, exact_sum, of_rows
from topics.errors import TooExpensive

HARD = [
    [1.0, 1e100, 1.0, -1e100],
    [0.1] * 10 + [-1.0],
    [1e308, 1e308, -1e308],
    [1.7e308] * 3,
    [-1.7e308] * 2 + [1.7e308] * 2,
    [math.inf, 1.0],
    [math.inf, -math.inf],
    [math.nan, 1.0],
    [5e-324] * 3,
    [0.0, -0.0],
    [3.0],
]


def _same(found: float, wanted: float) -> bool:
    return (math.isnan(found) and math.isnan(wanted)) or math.isclose(found, wanted, rel_tol=1e-12, abs_tol=0)


def test_sums_of_rows_are_those_of_prometheus() -> None:
    """All lists at a time, as columns of one matrix."""
    terms = max(map(len, HARD))
    values, present = np.zeros((terms, len(HARD))), np.zeros((terms, len(HARD)), dtype=np.bool_)
    for column, each in enumerate(HARD):
        values[: len(each), column], present[: len(each), column] = each, True
    with np.errstate(all="ignore"):
        sums, means = compensated_sums(*of_rows(values, present)), compensated_means(*of_rows(values, present))
    for each, found, mean in zip(HARD, sums.tolist(), means.tolist(), strict=True):
        assert _same(found, kahan(each)), each
        if math.isfinite(kahan(each)):
            assert _same(mean, kahan(each) / len(each)), each
    # Means of what overflows: of the values that were given, not of their sum.
    assert means.tolist()[3] == pytest.approx(1.7e308)
    assert abs(means.tolist()[4]) < 1e293


def test_one_list_is_summed_exactly_or_not_at_all() -> None:
    assert exact_sum(np.array(HARD[0])) == 2.0
    assert [exact_sum(np.array(HARD[k])) for k in (3, 5, 6, 7)] == [None] * 4


@pytest.mark.parametrize("series", [3, 400])  # One by one, and all at a time.
def test_windows_that_cancel_out(series: int) -> None:
    random = np.random.default_rng(series)
    count = 40
    values = random.normal(0, 1, (series, count)) * 10.0 ** random.integers(-3, 13, (series, count))
    values[:, -1] = -values[:, :-1].sum(axis=1)
    block = SeriesBlock(
        LabelTable([{"i": str(k)} for k in range(series)]),
        np.arange(series + 1, dtype=np.int64) * count,
        np.tile(np.arange(1, count + 1, dtype=np.int64) * 1000, series),
        values.ravel(),
    )
    for text, divisor in (("sum_over_time(m[1m])", 1), ("avg_over_time(m[1m])", count)):
        result = evaluate(parse(text), [block], Steps.instant(count * 1000), Limits())
        for row, found in zip(values, result.values[:, 0].tolist(), strict=True):
            exact = math.fsum(row) / divisor
            assert math.isclose(found, exact, rel_tol=1e-6, abs_tol=1e-12), (text, found, exact)
    total = evaluate(parse("sum(sum_over_time(m[1m]))"), [block], Steps.instant(count * 1000), Limits())
    assert math.isclose(total.values[0, 0], sum(math.fsum(row) for row in values), rel_tol=1e-6, abs_tol=1e-9)


@pytest.mark.parametrize("function", ["deriv", "stddev_over_time", "sum_over_time", "max_over_time"])
def test_long_windows_end_at_the_limit_of_time(function: str) -> None:
    series, count = 60, 4000
    block = SeriesBlock(
        LabelTable([{"i": str(k)} for k in range(series)]),
        np.arange(series + 1, dtype=np.int64) * count,
        np.tile(np.arange(count, dtype=np.int64) * 1000, series),
        np.random.default_rng(1).normal(0, 1, series * count),
    )
    steps = Steps(4_000_000, 4_000_000 + 3_999_000, 1000)  # 60 * 4,000 windows of up to 4,000 samples
    with pytest.raises(TooExpensive, match=r"0\.05 seconds"):
        evaluate(parse(f"{function}(m[8000s])"), [block], steps, Limits(seconds=0.05))
