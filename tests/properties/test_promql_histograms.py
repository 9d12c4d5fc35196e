"""Classic histograms of any buckets, with gaps and counts that fall: by columns as one histogram at one step after the other."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from promql_series import MemorySeries

from query.promql.engine import evaluate, parse, selections
from query.promql.steps import Limits, Steps

STEPS = Steps(0, 240_000, 60_000)
_les = st.lists(
    st.sampled_from(["-1", "0", "0.5", "1", "1.0", "2", "10", "+Inf", "Inf"]), min_size=1, max_size=6, unique=True
)
_counts = st.one_of(st.integers(0, 30).map(float), st.sampled_from([0.0, 9.999999999999998, 10.0, 10.000000000000002]))
_limits = st.sampled_from([-math.inf, -2.0, 0.0, 0.3, 0.5, 1.5, 10.0, math.inf, math.nan])

Buckets = list[tuple[float, float]]


@st.composite
def histograms(draw: st.DrawFn) -> MemorySeries:
    """Up to three histograms; a bucket may be away at some steps, and a count less than that of a smaller bound."""
    series = MemorySeries()
    for job in draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True)):
        rises = draw(st.booleans())
        les = sorted(draw(_les), key=float)
        columns = [[draw(_counts) for _ in les] for _ in STEPS.times_ms()]
        for number, le in enumerate(les):
            points = {}
            for time, column in zip(STEPS.times_ms().tolist(), columns, strict=True):
                if draw(st.integers(0, 7)):
                    points[time] = np.float64(sum(column[: number + 1]) if rises else column[number])
            series.series[("__name__", "h"), ("job", job), ("le", le)] = points
    return series


def _coalesced(buckets: Buckets) -> Buckets:
    found: dict[float, float] = {}
    for bound, count in sorted(buckets):
        found[bound] = found.get(bound, 0.0) + count
    return list(found.items())


def _near(a: float, b: float) -> bool:
    if a == b:
        return True
    if a == 0 or b == 0:
        return abs(a - b) < 1e-12 * 2.2250738585072014e-308
    return abs(a - b) / (abs(a) + abs(b)) < 1e-12


def quantile(phi: float, buckets: Buckets) -> float:
    """BucketQuantile of promql/quantile.go."""
    if not 0 <= phi <= 1:
        return math.nan if math.isnan(phi) else math.copysign(math.inf, phi)
    buckets = _coalesced(buckets)
    if not buckets or buckets[-1][0] != math.inf or len(buckets) < 2:
        return math.nan
    counts, highest = [], buckets[0][1]
    for _, count in buckets:
        if count > highest and not _near(count, highest):
            highest = count
        counts.append(highest)
    if counts[-1] == 0:
        return math.nan
    rank = phi * counts[-1]
    at = next((k for k, count in enumerate(counts[:-1]) if count >= rank), len(counts) - 1)
    if at == len(counts) - 1:
        return buckets[-2][0]
    if at == 0 and buckets[0][0] <= 0:
        return buckets[0][0]
    start, before = (buckets[at - 1][0], counts[at - 1]) if at else (0.0, 0.0)
    part = np.float64(rank - before) / np.float64(counts[at] - before)
    return float(start + (buckets[at][0] - start) * part)


def fraction(lower: float, upper: float, buckets: Buckets) -> float:
    """BucketFraction of promql/quantile.go: the rank of both limits, each by one walk over the buckets."""
    buckets = _coalesced(buckets)
    if not buckets or buckets[-1][0] != math.inf:
        return math.nan
    total = buckets[-1][1]
    if total == 0 or math.isnan(lower) or math.isnan(upper):
        return math.nan
    if lower >= upper:
        return 0.0

    def rank_of(value: float) -> float:
        start, before = -math.inf, 0.0
        for number, (bound, count) in enumerate(buckets):
            if start >= value:
                return min(before, total)
            if bound > value:
                start = 0.0 if number == 0 and bound > 0 else start
                inside = count if start == -math.inf else before + (count - before) * (value - start) / (bound - start)
                return min(inside, total)
            start, before = bound, count
        return total

    return (rank_of(upper) - rank_of(lower)) / total


def _expect(text: str, series: MemorySeries, wanted_of: dict[str, list[float | None]]) -> None:
    expression = parse(text)
    blocks = [series.block(each) for each in selections(expression, STEPS)]
    result = evaluate(expression, blocks, STEPS, Limits())
    found = {
        labels["job"]: dict(zip(at.tolist(), values.tolist(), strict=True)) for labels, at, values in result.series()
    }
    for job, wanted in wanted_of.items():
        for time, value in zip(STEPS.times_ms().tolist(), wanted, strict=True):
            have = found.get(job, {}).get(time)
            assert (have is None) == (value is None), (text, job, time, have, value)
            if have is not None and value is not None:
                both = math.isnan(have) and math.isnan(value)
                assert both or have == value or math.isclose(have, value, rel_tol=1e-9, abs_tol=1e-12), (
                    text,
                    job,
                    time,
                )


def _by_step(series: MemorySeries) -> dict[str, list[Buckets]]:
    """Of each histogram, the buckets that are there at each step; no sample is looked back for."""
    found: dict[str, list[Buckets]] = {}
    for key, points in series.series.items():
        labels = dict(key)
        columns = found.setdefault(labels["job"], [[] for _ in STEPS.times_ms()])
        for column, time in zip(columns, STEPS.times_ms().tolist(), strict=True):
            if time in points:
                column.append((float(labels["le"]), float(points[time])))
    return found


@settings(max_examples=100)
@given(series=histograms(), phi=st.sampled_from([0.0, 0.1, 0.5, 0.75, 0.99, 1.0, -0.5, 1.5, math.nan]))
def test_quantiles(series: MemorySeries, phi: float) -> None:
    with np.errstate(all="ignore"):
        wanted = {
            job: [quantile(phi, buckets) if buckets else None for buckets in columns]
            for job, columns in _by_step(series).items()
        }
    _expect(f"histogram_quantile({phi}, last_over_time(h[1ms]))", series, wanted)


@settings(max_examples=100)
@given(series=histograms(), lower=_limits, upper=_limits)
def test_fractions(series: MemorySeries, lower: float, upper: float) -> None:
    wanted = {
        job: [fraction(lower, upper, buckets) if buckets else None for buckets in columns]
        for job, columns in _by_step(series).items()
    }
    _expect(f"histogram_fraction({lower}, {upper}, last_over_time(h[1ms]))", series, wanted)
