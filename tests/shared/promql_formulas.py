"""The formulas of PromQL for single values and lists of them, in plain Python; `promql_reference` puts them together."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np


def divided(a: float, b: float) -> float:
    if b != 0 or math.isnan(a):
        return a / b if b else math.nan
    return math.nan if a == 0 else math.copysign(math.inf, a) * math.copysign(1, b)


def power(a: float, b: float) -> float:
    return float(np.power(np.float64(a), np.float64(b)))


OPERATORS: dict[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": divided,
    "%": lambda a, b: math.nan if b == 0 or math.isinf(a) or math.isnan(a) or math.isnan(b) else math.fmod(a, b),
    "^": power,
    "atan2": math.atan2,
}
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}


def kahan(values: list[float]) -> float:
    """util/kahansum of Prometheus, term by term."""
    total = carry = 0.0
    for value in values:
        added = total + value
        if math.isinf(added):
            carry = 0.0
        elif abs(total) >= abs(value):
            carry += (total - added) + value
        else:
            carry += (value - added) + total
        total = added
    return total if math.isinf(total) else total + carry


def mean(values: list[float]) -> float:
    total = kahan(values)
    if math.isinf(total):
        return math.fsum(value / len(values) for value in values) if all(map(math.isfinite, values)) else total
    return total / len(values)


def variance(values: list[float]) -> float:
    if not all(map(math.isfinite, values)):
        return math.nan
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / len(values)


def quantile(phi: float, values: list[float]) -> float:
    if math.isnan(phi):
        return math.nan
    if not 0 <= phi <= 1:
        return math.inf if phi > 1 else -math.inf
    ordered = sorted(values, key=lambda value: (not math.isnan(value), 0.0 if math.isnan(value) else value))
    rank = phi * (len(ordered) - 1)
    lower = math.floor(rank)
    upper = min(lower + 1, len(ordered) - 1)
    return ordered[lower] * (1 - (rank - lower)) + ordered[upper] * (rank - lower)


def largest(values: list[float]) -> float:
    numbers = [value for value in values if not math.isnan(value)]
    return max(numbers) if numbers else math.nan


def smallest(values: list[float]) -> float:
    numbers = [value for value in values if not math.isnan(value)]
    return min(numbers) if numbers else math.nan


AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "sum": kahan,
    "avg": mean,
    "min": smallest,
    "max": largest,
    "count": lambda values: float(len(values)),
    "group": lambda values: 1.0,
    "stdvar": variance,
    "stddev": lambda values: math.sqrt(variance(values)) if not math.isnan(variance(values)) else math.nan,
}
OVER_TIME = {f"{name}_over_time": aggregate for name, aggregate in AGGREGATES.items() if name != "group"} | {
    "present_over_time": lambda values: 1.0,
    "last_over_time": lambda values: values[-1],
}


def rate(points: list[tuple[int, float]], end: int, range_ms: int, counter: bool) -> float | None:
    if len(points) < 2:
        return None
    change = points[-1][1] - points[0][1]
    if counter:
        for (_, before), (_, after) in pairwise(points):
            if after < before:
                change += before
    sampled = (points[-1][0] - points[0][0]) / 1000
    apart = sampled / (len(points) - 1)
    to_start = (points[0][0] - (end - range_ms)) / 1000
    to_end = (end - points[-1][0]) / 1000
    if to_start >= apart * 1.1:
        to_start = apart / 2
    if counter and change > 0 and points[0][1] >= 0:
        to_start = min(to_start, sampled * (points[0][1] / change))
    if to_end >= apart * 1.1:
        to_end = apart / 2
    return change * ((sampled + to_start + to_end) / sampled)


def line(points: list[tuple[int, float]], origin: int) -> tuple[float, float]:
    values = [value for _, value in points]
    if all(value == values[0] for value in values[1:]):
        return (math.nan, math.nan) if math.isinf(values[0]) else (0.0, values[0])
    times = [(time - origin) / 1000 for time, _ in points]
    mean_t, mean_v = sum(times) / len(times), sum(values) / len(values)
    slope = sum((t - mean_t) * (v - mean_v) for t, v in zip(times, values, strict=True))
    slope /= sum((t - mean_t) ** 2 for t in times)
    return slope, mean_v - slope * mean_t


DATES: dict[str, Callable[[datetime], int]] = {
    "year": lambda at: at.year,
    "month": lambda at: at.month,
    "day_of_month": lambda at: at.day,
    "day_of_year": lambda at: at.timetuple().tm_yday,
    "day_of_week": lambda at: at.isoweekday() % 7,
    "hour": lambda at: at.hour,
    "minute": lambda at: at.minute,
    "days_in_month": lambda at: (at.replace(day=28) + timedelta(days=4)).replace(day=1).__sub__(timedelta(days=1)).day,
}
