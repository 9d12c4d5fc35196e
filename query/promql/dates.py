"""Seconds since 1970 -> parts of the date in UTC, by columns (the proleptic Gregorian calendar, as Go's time.Unix)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from query.promql.source import Floats, Ints

_DAY_S = 86_400
_YEARS_MAX = 200_000 * 366 * _DAY_S
"""numpy's calendar works far beyond this; Go's years do too, and nobody asks."""


def _seconds(values: Floats) -> Ints:
    """Whole seconds towards zero, as Go's int64() of a float; what is not finite becomes 0."""
    return np.trunc(np.clip(np.nan_to_num(values, nan=0.0), -_YEARS_MAX, _YEARS_MAX)).astype(np.int64)


def _days(values: Floats) -> npt.NDArray[np.datetime64]:
    days: npt.NDArray[np.datetime64] = np.floor_divide(_seconds(values), _DAY_S).astype("datetime64[D]")
    return days


def _since(values: Floats, unit: str) -> Ints:
    """Days since the begin of the year or month."""
    days = _days(values)
    since: Ints = (days - days.astype(f"datetime64[{unit}]").astype("datetime64[D]")).astype(np.int64)
    return since


def _month(values: Floats) -> Ints:
    months: Ints = _days(values).astype("datetime64[M]").astype(np.int64)
    return months % 12 + 1


def _days_in_month(values: Floats) -> Ints:
    month = _days(values).astype("datetime64[M]")
    days: Ints = ((month + 1).astype("datetime64[D]") - month.astype("datetime64[D]")).astype(np.int64)
    return days


DATE_FUNCTIONS: dict[str, Callable[[Floats], Ints]] = {
    "day_of_month": lambda values: _since(values, "M") + 1,
    "day_of_week": lambda values: (np.floor_divide(_seconds(values), _DAY_S) + 4) % 7,
    "day_of_year": lambda values: _since(values, "Y") + 1,
    "days_in_month": _days_in_month,
    "hour": lambda values: _seconds(values) % _DAY_S // 3600,
    "minute": lambda values: _seconds(values) % 3600 // 60,
    "month": _month,
    "year": lambda values: _days(values).astype("datetime64[Y]").astype(np.int64) + 1970,
}
