"""PromQL evaluated one step, one series, one sample at a time: slow, plain, written apart from the engine, to compare it with.

It knows the nodes of an expression and nothing else of the engine. Formulas are those of Prometheus' documentation and source.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
from promql_formulas import AGGREGATES, COMPARISONS, DATES, OPERATORS, OVER_TIME, divided, line, quantile, rate
from promql_series import MemorySeries, matches

from query.promql.labels import LabelKey
from query.promql.nodes import (
    Aggregate,
    Binary,
    Call,
    Negation,
    Node,
    Number,
    Selector,
    Subquery,
    Text,
    Window,
    kind_of,
)
from query.promql.source import STALE_BITS
from query.promql.steps import Steps

Vector = dict[LabelKey, float]
Range = dict[LabelKey, list[tuple[int, float]]]


class Ambiguous(Exception):
    """Prometheus would answer an error."""


def _is_stale(value: float) -> bool:
    return int(np.float64(value).view(np.int64)) == STALE_BITS


def _without(key: LabelKey, *names: str) -> LabelKey:
    return tuple(pair for pair in key if pair[0] not in names)


def _add(vector: Vector, key: LabelKey, value: float) -> None:
    if key in vector:
        raise Ambiguous(str(key))
    vector[key] = value


def _renamed(vector: Vector, change: Callable[[float], float]) -> Vector:
    found: Vector = {}
    for key, value in vector.items():
        _add(found, _without(key, "__name__"), change(value))
    return found


def _demanded(node: Node) -> LabelKey:
    """What a selector demands of labels with =, unless it says more of the same label."""
    selector = node.selector if isinstance(node, Window) else node
    if not isinstance(selector, Selector):
        return ()
    others = [matcher for matcher in selector.matchers if matcher.label != "__name__"]
    return tuple(
        sorted(
            (matcher.label, matcher.value)
            for matcher in others
            if matcher.op == "=" and matcher.value and [other.label for other in others].count(matcher.label) == 1
        )
    )


class Reference:
    """Answers at one step at a time."""

    def __init__(self, series: MemorySeries, query: Steps) -> None:
        self.series = series
        self.query = query

    def _at(self, node: Selector | Subquery, time: int) -> int:
        at = {"start": self.query.start_ms, "end": self.query.end_ms, None: time}.get(node.at, node.at)  # type: ignore[arg-type]  # None is looked up, not passed on
        assert isinstance(at, int)
        return at - node.offset_ms

    def _chosen(self, node: Selector) -> Range:
        return {
            key: sorted((time, float(value)) for time, value in points.items())
            if not any(_is_stale(value) for value in points.values())
            else [(time, points[time]) for time in sorted(points)]
            for key, points in self.series.series.items()
            if all(matches(dict(key), matcher) for matcher in node.matchers)
        }

    def number(self, node: Node, time: int) -> float:
        match node:
            case Number():
                return node.value
            case Negation():
                return -self.number(node.inner, time)
            case Call(function="time"):
                return time / 1000
            case Call(function="scalar"):
                vector = self.vector(node.arguments[0], time)
                return next(iter(vector.values())) if len(vector) == 1 else math.nan
            case Binary():
                left, right = self.number(node.left, time), self.number(node.right, time)
                if node.operator in COMPARISONS:
                    return float(COMPARISONS[node.operator](left, right))
                return OPERATORS[node.operator](left, right)
            case _:
                raise AssertionError(node)

    def ranged(self, node: Node, time: int) -> tuple[Range, int, int]:
        """The samples of each series, the end of the window and its length."""
        if isinstance(node, Window):
            end, length = self._at(node.selector, time), node.range_ms
            found = {
                key: [(t, float(v)) for t, v in points if end - length < t <= end and not _is_stale(v)]
                for key, points in self._chosen(node.selector).items()
            }
        else:
            assert isinstance(node, Subquery)
            end, length, step = self._at(node, time), node.range_ms, node.step_ms or 60_000
            found = {}
            for inner in range((end - length) // step * step + step, end + 1, step):
                for key, value in self.vector(node.inner, inner).items():
                    found.setdefault(key, []).append((inner, value))
        return {key: points for key, points in found.items() if points}, end, length

    def vector(self, node: Node, time: int) -> Vector:
        match node:
            case Selector():
                return {key: value for key, (_, value) in self._latest(node, time).items()}
            case Negation():
                return _renamed(self.vector(node.inner, time), lambda value: -value)
            case Aggregate():
                return self._aggregate(node, time)
            case Binary():
                return self._binary(node, time)
            case Call():
                if any(kind_of(argument) == "matrix" for argument in node.arguments):
                    return self._over_range(node, time)
                return self._call(node, time)
            case _:
                raise AssertionError(node)

    def _latest(self, node: Selector, time: int) -> dict[LabelKey, tuple[int, float]]:
        at = self._at(node, time)
        found = {}
        for key, points in self._chosen(node).items():
            before = [point for point in points if at - self.query.lookback_ms < point[0] <= at]
            if before and not _is_stale(before[-1][1]):
                found[key] = (before[-1][0], float(before[-1][1]))
        return found

    def _call(self, node: Call, time: int) -> Vector:
        name, arguments = node.function, node.arguments
        if name == "vector":
            return {(): self.number(arguments[0], time)}
        if name in DATES and not arguments:
            return {(): float(DATES[name](datetime.fromtimestamp(time / 1000, UTC)))}
        if name == "timestamp" and isinstance(arguments[0], Selector):
            found: Vector = {}
            for key, (at, _) in self._latest(arguments[0], time).items():
                _add(found, _without(key, "__name__"), at / 1000)
            return found
        kinds = [kind_of(argument) for argument in arguments]
        vector = self.vector(arguments[kinds.index("vector")], time)
        numbers = [self.number(each, time) for each, kind in zip(arguments, kinds, strict=True) if kind == "scalar"]
        if name == "timestamp":
            return _renamed(vector, lambda value: time / 1000)
        if name in DATES:
            return _renamed(vector, lambda value: float(DATES[name](datetime.fromtimestamp(math.trunc(value), UTC))))
        if name == "absent":
            return {} if vector else {_demanded(arguments[0]): 1.0}
        if name == "clamp" and numbers[1] < numbers[0]:
            return {}
        if name.startswith("clamp"):
            low = -math.inf if name == "clamp_max" else numbers[0]
            high = {"clamp": numbers[-1], "clamp_max": numbers[0], "clamp_min": math.inf}[name]

            def clamp(value: float) -> float:
                if -math.inf in (high, value):
                    value = -math.inf
                else:
                    value = math.nan if math.isnan(value) or math.isnan(high) else min(high, value)
                if math.inf in (low, value):
                    return math.inf
                return math.nan if math.isnan(value) or math.isnan(low) else max(low, value)

            return _renamed(vector, clamp)
        if name == "round":
            inverse = divided(1, numbers[0]) if numbers else 1.0
            return _renamed(vector, lambda value: float(np.floor(value * inverse + 0.5)) / inverse)
        plain: dict[str, Callable[[float], float]] = {
            "abs": abs,
            "ceil": lambda value: float(np.ceil(value)),
            "floor": lambda value: float(np.floor(value)),
            "sgn": lambda value: value if value == 0 or math.isnan(value) else math.copysign(1, value),
            "sqrt": lambda value: math.nan if value < 0 else math.sqrt(value),
            "sort": lambda value: value,
        }
        return vector if name == "sort" else _renamed(vector, plain[name])

    def _over_range(self, node: Call, time: int) -> Vector:
        name = node.function
        ranged = next(each for each in node.arguments if kind_of(each) == "matrix")
        numbers = [self.number(each, time) for each in node.arguments if kind_of(each) == "scalar"]
        series, end, length = self.ranged(ranged, time)
        if name == "absent_over_time":
            return {} if series else {_demanded(ranged): 1.0}
        found: Vector = {}
        for key, points in series.items():
            value = self._of_points(name, points, numbers, end, length, time)
            if value is not None:
                _add(found, key if name == "last_over_time" else _without(key, "__name__"), value)
        return found

    def _of_points(
        self, name: str, points: list[tuple[int, float]], numbers: list[float], end: int, length: int, time: int
    ) -> float | None:
        values = [value for _, value in points]
        pairs = list(pairwise(values))
        match name:
            case "rate" | "increase" | "delta":
                change = rate(points, end, length, name != "delta")
                return change if change is None or name != "rate" else change / (length / 1000)
            case "irate" | "idelta":
                if len(values) < 2:
                    return None
                before, after = pairs[-1]
                change = after if name == "irate" and after < before else after - before
                return change if name == "idelta" else change / ((points[-1][0] - points[-2][0]) / 1000)
            case "resets":
                return float(sum(after < before for before, after in pairs))
            case "changes":
                return float(sum(a != b and not (math.isnan(a) and math.isnan(b)) for a, b in pairs))
            case "deriv":
                return line(points, points[0][0])[0] if len(points) > 1 else None
            case "predict_linear":
                if len(points) < 2:
                    return None
                slope, level = line(points, time)
                return slope * numbers[0] + level
            case "quantile_over_time":
                return quantile(numbers[0], values)
            case _:
                return OVER_TIME[name](values)

    def _aggregate(self, node: Aggregate, time: int) -> Vector:
        vector = self.vector(node.inner, time)
        groups: dict[LabelKey, list[tuple[LabelKey, float]]] = {}
        for key, value in vector.items():
            kept = (
                _without(key, "__name__", *node.labels)
                if node.without
                else tuple(p for p in key if p[0] in node.labels)
            )
            groups.setdefault(kept, []).append((key, value))
        if node.operator in ("topk", "bottomk"):
            assert node.parameter is not None
            k, sign = int(self.number(node.parameter, time)), -1 if node.operator == "topk" else 1
            chosen: Vector = {}
            for members in groups.values():
                members.sort(
                    key=lambda member: (math.isnan(member[1]), 0.0 if math.isnan(member[1]) else sign * member[1])
                )
                chosen |= dict(members[: max(k, 0)])
            return chosen
        if node.operator == "count_values":
            assert isinstance(node.parameter, Text)
            counted: Vector = {}
            for kept, members in groups.items():
                for _, value in members:
                    text = (
                        "NaN"
                        if math.isnan(value)
                        else np.format_float_positional(value, trim="-").replace("inf", "+Inf")
                    )
                    text = text.replace("-+", "-")
                    key = tuple(sorted((*_without(kept, node.parameter.value), (node.parameter.value, text))))
                    counted[key] = counted.get(key, 0.0) + 1
            return counted
        if node.operator == "quantile":
            assert node.parameter is not None
            phi = self.number(node.parameter, time)
            return {kept: quantile(phi, [value for _, value in members]) for kept, members in groups.items()}
        return {kept: AGGREGATES[node.operator]([value for _, value in members]) for kept, members in groups.items()}

    def _signature(self, key: LabelKey, node: Binary) -> LabelKey:
        matching = node.matching
        if matching.on:
            return tuple(pair for pair in key if pair[0] in matching.labels)
        return _without(key, "__name__", *matching.labels)

    def _binary(self, node: Binary, time: int) -> Vector:
        if "scalar" in (kind_of(node.left), kind_of(node.right)):
            return self._with_scalar(node, time)
        left, right = self.vector(node.left, time), self.vector(node.right, time)
        if node.operator in ("and", "or", "unless"):
            lefts, rights = ({self._signature(key, node) for key in side} for side in (left, right))
            if node.operator == "or":
                return left | {key: value for key, value in right.items() if self._signature(key, node) not in lefts}
            return {k: v for k, v in left.items() if (self._signature(k, node) in rights) == (node.operator == "and")}
        return self._matched(node, left, right)

    def _with_scalar(self, node: Binary, time: int) -> Vector:
        turned = kind_of(node.left) == "scalar"
        number = self.number(node.left if turned else node.right, time)
        vector = self.vector(node.right if turned else node.left, time)
        if node.operator not in COMPARISONS:
            operate = OPERATORS[node.operator]
            return _renamed(vector, lambda value: operate(number, value) if turned else operate(value, number))
        compare = COMPARISONS[node.operator]
        holds = {key: compare(number, value) if turned else compare(value, number) for key, value in vector.items()}
        if node.as_bool:
            return _renamed({key: float(held) for key, held in holds.items()}, lambda value: value)
        return {key: value for key, value in vector.items() if holds[key]}

    def _matched(self, node: Binary, left: Vector, right: Vector) -> Vector:
        if not left or not right:
            return {}
        matching = node.matching
        turned = matching.card == "one-to-many"
        many, one = (right, left) if turned else (left, right)
        ones: dict[LabelKey, LabelKey] = {}
        for key in one:
            if self._signature(key, node) in ones:
                raise Ambiguous(f"two of the one side: {key}")
            ones[self._signature(key, node)] = key
        found: Vector = {}
        seen: set[object] = set()
        for key, value in many.items():
            signature = self._signature(key, node)
            if signature not in ones:
                continue
            other = one[ones[signature]]
            sides = (other, value) if turned else (value, other)
            result = dict(key)
            if node.operator not in COMPARISONS or node.as_bool:
                result.pop("__name__", None)
            if matching.card == "one-to-one":
                on = matching.on
                result = {name: text for name, text in result.items() if (name in matching.labels) == on}
            for name in matching.lent:
                result.pop(name, None)
                if name in dict(ones[signature]):
                    result[name] = dict(ones[signature])[name]
            result_key = tuple(sorted(result.items()))
            identity = signature if matching.card == "one-to-one" else (signature, result_key)
            if identity in seen:
                raise Ambiguous(f"matched twice: {identity}")
            seen.add(identity)
            if node.operator in COMPARISONS:
                held = COMPARISONS[node.operator](*sides)
                if node.as_bool:
                    _add(found, result_key, float(held))
                elif held:
                    _add(found, result_key, sides[0])
            else:
                _add(found, result_key, OPERATORS[node.operator](*sides))
        return found
