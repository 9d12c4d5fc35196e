"""Timestamps in every accepted form -> int64 unix nanoseconds.

Accepted: ISO 8601 / RFC 3339 text (no zone means UTC, up to 9 fraction digits are kept), numbers and numeric text, with a
fraction or without, in unix seconds, milliseconds, microseconds or nanoseconds. Numbers are told apart by size: below 1e11
seconds (year 5138), below 1e14 milliseconds, below 1e17 microseconds, else nanoseconds. ISO text is never guessed at.

The range is 1970-01-01 up to 2262-04-11, what 64-bit nanoseconds hold from the epoch on.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from importlib.abc import MetaPathFinder
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from topics.errors import Refused

Timestamp = str | int | float

_NS_TYPE = pa.timestamp("ns", "UTC")
_TEXT_MAX = 64
_COLUMN_FROM = 24  # below this many values the per-value path is cheaper than two pyarrow calls
_NS_MAX = 2**63 - 1
_UNITS = ((10**11, 1_000_000_000), (10**14, 1_000_000), (10**17, 1_000))  # below the first: nanoseconds of one; else 1
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d)(?::(\d\d)(?::(\d\d)(?:[.,](\d{1,9})\d*)?)?)? ?([Zz]|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_NUMERIC = re.compile(r"(\d{9,19})(?:\.(\d{1,9}))?", re.ASCII)

_ISO_SCHEMA = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([Tt ][0-9]{2}(:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?)? ?([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)?)?"
)
_NUMERIC_SCHEMA = "[0-9]{9,19}([.][0-9]{1,9})?"
TIMESTAMP_FORMAT: Final = "timestamp"
TIMESTAMP_SCHEMAS: Final[list[dict[str, Any]]] = [
    {"type": "string", "format": TIMESTAMP_FORMAT, "maxLength": 64, "pattern": f"^({_ISO_SCHEMA}|{_NUMERIC_SCHEMA})$"},
    {"type": "number", "description": "seconds", "minimum": 0, "exclusiveMaximum": 9223372036.854776},
    {"type": "number", "description": "milliseconds", "minimum": 10**11, "exclusiveMaximum": 9223372036854.777},
    {"type": "number", "description": "microseconds", "minimum": 10**14, "exclusiveMaximum": 9223372036854776},
    {"type": "number", "description": "nanoseconds", "minimum": 10**17, "exclusiveMaximum": 2**63},
]
"""What this accepts as JSON schemas: each upper bound is the first double past the range. Of a text they say the form alone.
They stand in the published schema wherever the format is `TIMESTAMP_FORMAT`."""


def parse_timestamps(values: Sequence[Timestamp]) -> npt.NDArray[np.int64]:
    """Parse a column: n values -> n int64 unix nanoseconds.

    Raises `Refused` with `path` "[i]" for the first value i that is no timestamp in range.
    """
    if len(values) >= _COLUMN_FROM:
        column = _parse_column(values)
        if column is not None:
            return column
    out = np.empty(len(values), np.int64)
    for i, value in enumerate(values):
        try:
            out[i] = parse_timestamp(value)
        except Refused as exc:
            raise Refused(exc.reason, code=exc.code, path=f"[{i}]") from None
    return out


def _parse_column(values: Sequence[Timestamp]) -> npt.NDArray[np.int64] | None:
    """A column of one type at once; None when it is mixed, or has an odd value, so that each must be looked at."""
    if type(values[0]) is str:
        try:
            column = pa.array(values, pa.string()).cast(_NS_TYPE).view(pa.int64()).to_numpy()
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            return None
        return column if column.min() >= 0 else None
    kinds = set(map(type, values))
    if kinds != {int} and kinds != {float}:
        return None
    numbers = np.array(values)
    if numbers.dtype not in (np.int64, np.float64) or not (numbers.min() >= 0 and numbers.max() <= _NS_MAX - 1024):
        return None  # NaN and whole numbers of more than 64 bits end here too.
    unit = np.select([numbers < size for size, _ in _UNITS], [np.int64(unit) for _, unit in _UNITS], np.int64(1))
    if numbers.dtype == np.int64:
        whole, rest = numbers, np.int64(0)
    else:
        fraction, integral = np.modf(numbers)
        whole, rest = integral.astype(np.int64), np.rint(fraction * unit).astype(np.int64)
    if np.any(whole >= _NS_MAX // unit):
        return None
    return whole * unit + rest


def prepare_columns() -> None:
    """Pay now what the first column of a process costs, while pyarrow registers what it can compute.

    It also looks once for pandas, which comes with the embedded ClickHouse and which nothing here uses: half a second of CPU and
    40 MB, so it is told that there is none.
    """
    sys.meta_path.insert(0, _NoPandas())
    try:
        parse_timestamps(["1970-01-01T00:00:00Z"] * _COLUMN_FROM)
    finally:
        sys.meta_path.pop(0)


class _NoPandas(MetaPathFinder):
    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not used here", name=fullname)


def parse_timestamp(value: Timestamp) -> int:
    """Parse one value to unix nanoseconds. Raises `Refused` when it is no timestamp, or out of range."""
    if isinstance(value, str):
        if len(value) > _TEXT_MAX:
            raise _refused(value)
        numeric = _NUMERIC.fullmatch(value)
        ns = _parse_iso(value) if numeric is None else _parse_decimal(numeric[1], numeric[2] or "0")
    elif isinstance(value, int):
        ns = value * _unit_ns(value)
    elif math.isfinite(value):
        # Whole and fraction apart, because a float of nanoseconds since 1970 has steps of 256.
        unit = _unit_ns(value)
        fraction, whole = math.modf(value)
        ns = int(whole) * unit + round(fraction * unit)
    else:
        raise _refused(value)
    # A float may be below zero by less than a nanosecond.
    if not 0 <= ns <= _NS_MAX or (isinstance(value, float) and value < 0):
        raise Refused(
            f"cannot accept timestamp {_shown(value)}: it must lie between 1970-01-01 and 2262-04-11",
            code="bad_timestamp",
        )
    return ns


def format_timestamp(ns: int) -> str:
    """Unix nanoseconds -> RFC 3339 in UTC, with 3, 6 or 9 fraction digits: as few as lose nothing, at least 3."""
    seconds, fraction = divmod(ns, 1_000_000_000)
    text = (datetime(1970, 1, 1) + timedelta(seconds=seconds)).isoformat()
    if fraction % 1_000_000 == 0:
        return f"{text}.{fraction // 1_000_000:03d}Z"
    if fraction % 1_000 == 0:
        return f"{text}.{fraction // 1_000:06d}Z"
    return f"{text}.{fraction:09d}Z"


def _unit_ns(value: float) -> int:
    """How many nanoseconds one unit of a bare number is."""
    size = abs(value)
    return next((unit for below, unit in _UNITS if size < below), 1)


def _parse_decimal(whole: str, fraction: str) -> int:
    """The digits on both sides of a point; what is below a nanosecond is cut off."""
    unit = _unit_ns(int(whole))
    return int(whole) * unit + int(fraction.ljust(9, "0")) * unit // 10**9


def _parse_iso(text: str) -> int:
    match = _ISO.fullmatch(text)
    if match is None:
        raise _refused(text)
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        moment = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=_zone(zone)
        )
        whole = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    except (ValueError, OverflowError) as exc:
        raise _refused(text) from exc
    return whole * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))


def _zone(text: str | None) -> timezone:
    if text is None or text in "Zz":
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)


def _shown(value: Timestamp) -> str:
    return repr(value)[:60]


def _refused(value: Timestamp) -> Refused:
    return Refused(
        f"cannot read timestamp {_shown(value)}: expected ISO 8601, or unix s, ms, us or ns", code="bad_timestamp"
    )
