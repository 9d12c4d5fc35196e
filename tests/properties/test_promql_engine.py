"""Whatever is asked of whatever series: the engine, by columns, says what a plain evaluation sample by sample says."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from promql_reference import Ambiguous, Reference
from promql_series import STALE, MemorySeries

from query.promql.engine import Expression, evaluate, parse, selections
from query.promql.labels import LabelKey, key_of
from query.promql.steps import Limits, Result, Steps
from topics.errors import Refused

STEPS = Steps(300_000, 540_000, 60_000)
LIMITS = Limits()

_values = st.one_of(
    st.integers(-5, 40).map(float),
    st.sampled_from([0.5, -2.25, 1e9, math.nan, math.inf, -math.inf]),
)
_points = st.one_of(_values, st.just(STALE), st.none(), st.none())


@st.composite
def loaded(draw: st.DrawFn) -> MemorySeries:
    """Series of two metrics with times on a grid, off it, with gaps, stale markers, NaN and infinities; counters among them."""
    series = MemorySeries()
    for name in ("m", "n_total"):
        for labels in draw(st.lists(st.sampled_from(["", "a", "b"]), min_size=1, max_size=3, unique=True)):
            for part in draw(st.lists(st.sampled_from(["", "x", "y"]), min_size=1, max_size=2, unique=True)):
                key = [("__name__", name), *([("g", labels)] if labels else []), *([("h", part)] if part else [])]
                shift = draw(st.sampled_from([0, 0, 7_000, -13_000]))
                values = draw(st.lists(_points, min_size=10, max_size=22))
                if draw(st.booleans()):  # A counter, which falls where a value is negative.
                    sums = np.cumsum([v if v is not None and math.isfinite(v) else 0.0 for v in values])
                    values = [None if v is None else float(total) for v, total in zip(values, sums, strict=True)]
                points = {k * 30_000 + shift: np.float64(v) for k, v in enumerate(values) if v is not None}
                if points:
                    series.series[tuple(sorted(key))] = points
    return series


_selector = st.sampled_from(
    ["m", "n_total", 'm{g="a"}', 'm{h=""}', '{g=~"a|b"}', 'n_total{h!~"x"}', 'm{g!="b",h=~".+"}']
)
_offset = st.sampled_from(["", "", "", " offset 1m", " offset -45s", " @ 333", " @ start()", " @ end() offset 30s"])
_range = st.sampled_from(["[1m]", "[2m]", "[5m]", "[70s]", "[30s]"])
_numbers = st.sampled_from(["0", "1", "2", "-1.5", "time()", "scalar(m)", "NaN", "Inf", "0.5"])
_over_time = st.sampled_from(
    (
        "rate", "increase", "delta", "irate", "idelta", "resets", "changes", "deriv", "sum_over_time", "avg_over_time",
        "min_over_time", "max_over_time", "count_over_time", "last_over_time", "present_over_time", "stddev_over_time",
        "stdvar_over_time", "absent_over_time",
    )
)  # fmt: skip
_math = st.sampled_from(["abs", "ceil", "floor", "sgn", "sqrt", "absent", "timestamp", "sort", "round"])
_grouping = st.sampled_from(["", " by (g)", " by (g, h)", " by ()", " without (h)", " without ()", " by (__name__)"])
_aggregates = st.sampled_from(["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"])
_arithmetic = st.sampled_from(["+", "-", "*", "/", "%", "^", "atan2"])
_comparisons = st.sampled_from(["==", "!=", "<", ">", "<=", ">=", "== bool", "< bool", ">= bool"])
_matching = st.sampled_from(["", "", " on (g)", " on (g, h)", " ignoring (h)", " on ()"])
_many = st.sampled_from(
    [" on (g) group_left ()", " on (g) group_right (h)", " ignoring (h) group_left ()", " on (g) group_left (h)"]
)
_sets = st.sampled_from(["and", "or", "unless"])


@st.composite
def vectors(draw: st.DrawFn, depth: int = 2) -> str:
    """The text of an expression that gives a vector."""
    kinds = ["selector", "range", "range"]
    if depth:
        kinds += [
            "math",
            "aggregate",
            "aggregate",
            "scalar",
            "binary",
            "many",
            "set",
            "minus",
            "subquery",
            "quantile",
            "clamp",
        ]
    inner = vectors(depth - 1)
    match draw(st.sampled_from(kinds)):
        case "selector":
            return draw(_selector) + draw(_offset)
        case "range":
            return f"{draw(_over_time)}({draw(_selector)}{draw(_range)}{draw(_offset)})"
        case "subquery":
            step = draw(st.sampled_from([":30s", ":1m", ":", ":25s"]))
            window = draw(_range).removesuffix("]")
            return f"{draw(_over_time)}(({draw(inner)}){window}{step}]{draw(_offset)})"
        case "quantile":
            phi = draw(st.sampled_from(["0", "0.3", "0.5", "1", "-1", "2", "NaN"]))
            ranged = f"quantile_over_time({phi}, {draw(_selector)}{draw(_range)})"
            return draw(st.sampled_from([ranged, f"quantile{draw(_grouping)} ({phi}, {draw(inner)})"]))
        case "clamp":
            low, high = draw(_numbers), draw(_numbers)
            called = draw(
                st.sampled_from([f"clamp({{}}, {low}, {high})", f"clamp_min({{}}, {low})", f"clamp_max({{}}, {high})"])
            )
            return called.format(draw(inner))
        case "math":
            return f"{draw(_math)}({draw(inner)})"
        case "aggregate":
            return f"{draw(_aggregates)}{draw(_grouping)} ({draw(inner)})"
        case "scalar":
            operator = draw(st.one_of(_arithmetic, _comparisons))
            sides = [f"({draw(inner)})", draw(_numbers)]
            return f" {operator} ".join(draw(st.permutations(sides)))
        case "binary":
            operator = draw(st.one_of(_arithmetic, _comparisons))
            return f"({draw(inner)}) {operator}{draw(_matching)} ({draw(inner)})"
        case "many":
            operator = draw(st.one_of(_arithmetic, _comparisons))
            return f"({draw(inner)}) {operator}{draw(_many)} ({draw(inner)})"
        case "set":
            return f"({draw(inner)}) {draw(_sets)}{draw(_matching)} ({draw(inner)})"
        case _:
            return f"-({draw(inner)})"


def _asked(expression: Expression, series: MemorySeries, steps: Steps) -> Result:
    return evaluate(expression, [series.block(each) for each in selections(expression, steps)], steps, LIMITS)


def _columns(result: Result) -> list[dict[LabelKey, float]]:
    """By step, the labels and values that are there."""
    columns: list[dict[LabelKey, float]] = [{} for _ in result.times_ms]
    for labels, values, present in zip(result.labels, result.values, result.present, strict=True):
        for column, value, there in zip(columns, values.tolist(), present.tolist(), strict=True):
            if there:
                assert key_of(labels) not in column
                column[key_of(labels)] = value
    return columns


def _agree(
    found: dict[LabelKey, float], wanted: dict[LabelKey, float], text: str, *, values_only: bool = False
) -> None:
    if values_only:
        assert len(found) == len(wanted), (text, found, wanted)
        pairs = list(
            zip(*(sorted(side.values(), key=lambda v: (math.isnan(v), v)) for side in (found, wanted)), strict=True)
        )
    else:
        assert found.keys() == wanted.keys(), (text, found, wanted)
        pairs = [(found[key], wanted[key]) for key in found]
    for a, b in pairs:
        same = (math.isnan(a) and math.isnan(b)) or a == b or math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-7)
        assert same, (text, found, wanted)


def _check(text: str, series: MemorySeries, *, values_only: bool = False) -> None:
    expression = parse(text)
    try:
        ranged = _columns(_asked(expression, series, STEPS))
    except Refused as refused:
        if refused.code != "execution":
            raise
        ranged = None
    reference = Reference(series, STEPS)
    ambiguous = False
    for number, time in enumerate(STEPS.times_ms().tolist()):
        try:
            with np.errstate(all="ignore"):
                wanted = reference.vector(expression.root, time)
        except Ambiguous:
            ambiguous = True
            continue
        if ranged is not None:
            _agree(ranged[number], wanted, text, values_only=values_only)
        elif "start()" not in text and "end()" not in text:
            at_once = _columns(_asked(expression, series, Steps.instant(time)))
            _agree(at_once[0], wanted, text, values_only=values_only)
    if ambiguous:
        assert ranged is None, f"{text}: two series of the same labels must be an error"


@settings(max_examples=120, deadline=None)
@given(series=loaded(), text=vectors())
def test_columns_say_what_single_samples_say(series: MemorySeries, text: str) -> None:
    _check(text, series)


@settings(max_examples=30, deadline=None)
@given(
    series=loaded(),
    inner=vectors(depth=1),
    k=st.sampled_from(["1", "2", "0", "3.7", "-1", "time() / 120"]),
    grouping=_grouping,
)
def test_the_largest_of_each_group(series: MemorySeries, inner: str, k: str, grouping: str) -> None:
    for operator in ("topk", "bottomk"):
        _check(f"{operator}{grouping} ({k}, {inner})", series, values_only=True)


@settings(max_examples=30, deadline=None)
@given(series=loaded(), inner=_selector, offset=_offset, grouping=_grouping, label=st.sampled_from(["v", "g"]))
def test_values_are_counted(series: MemorySeries, inner: str, offset: str, grouping: str, label: str) -> None:
    _check(f'count_values{grouping} ("{label}", {inner}{offset})', series)
