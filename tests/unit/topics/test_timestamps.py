"""Every accepted form of a timestamp gives the same instant; everything else is refused with its place."""

from __future__ import annotations

import subprocess
import sys

import pytest

from topics.errors import Refused
from topics.timestamps import format_timestamp, parse_timestamp, parse_timestamps

INSTANT = 1_761_904_800_000_000_000  # 2025-10-31T10:00:00Z


@pytest.mark.parametrize(
    "value",
    [
        "2025-10-31T10:00:00Z",
        "2025-10-31T10:00:00z",
        "2025-10-31t10:00:00Z",
        "2025-10-31 10:00:00Z",
        "2025-10-31T10:00:00",
        "2025-10-31T10:00Z",
        "2025-10-31T12:00:00+02:00",
        "2025-10-31T12:00:00+0200",
        "2025-10-31T12:00:00+02",
        "2025-10-31T05:30:00-04:30",
        "2025-10-31T10:00:00.000000000Z",
        "2025-10-31T10:00:00,0Z",
        1_761_904_800,
        1_761_904_800.0,
        1_761_904_800_000,
        1_761_904_800_000_000,
        1_761_904_800_000_000_000,
        "1761904800",
        "1761904800000",
        "1761904800000000000",
        "1761904800.0",
        "1761904800000.000000",
    ],
)
def test_every_form_gives_the_same_instant(value: str | int | float) -> None:
    assert parse_timestamp(value) == INSTANT
    assert parse_timestamps([value] * 40).tolist() == [INSTANT] * 40


def test_a_date_alone_is_midnight_utc() -> None:
    assert format_timestamp(parse_timestamp("2025-10-31")) == "2025-10-31T00:00:00.000Z"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("2025-10-31T10:00:00.123456789Z", "2025-10-31T10:00:00.123456789Z"),
        ("2025-10-31T10:00:00.1234567899999Z", "2025-10-31T10:00:00.123456789Z"),
        ("2025-10-31T10:00:00.5Z", "2025-10-31T10:00:00.500Z"),
        (1_761_904_800_123_456_789, "2025-10-31T10:00:00.123456789Z"),
        (1_761_904_800_123_456, "2025-10-31T10:00:00.123456Z"),
        (1_761_904_800.25, "2025-10-31T10:00:00.250Z"),
        ("1761904800.123456789", "2025-10-31T10:00:00.123456789Z"),
        ("1761904800000.25", "2025-10-31T10:00:00.000250Z"),
        (0, "1970-01-01T00:00:00.000Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
        ("1970-01-01T00:00:01Z", "1970-01-01T00:00:01.000Z"),
    ],
)
def test_precision_is_kept_to_the_nanosecond(value: str | int | float, shown: str) -> None:
    assert format_timestamp(parse_timestamp(value)) == shown


@pytest.mark.parametrize(
    "value",
    [
        "",
        "yesterday",
        "2025-13-01T00:00:00Z",
        "2025-02-30T00:00:00Z",
        "2025-10-31T25:00:00Z",
        "2025-10-31T10:00:60Z",
        "2025-10-31T10:00:00+99:00",
        "2025-10-31T10:00:00Z ",
        "20251031",
        "1761904800.",
        ".5",
        "1761904800.5e3",
        "٢٠٢٥-10-31T10:00:00Z",
        "1969-12-31T23:59:59Z",
        "2263-01-01T00:00:00Z",
        -1,
        -1.5,
        10**30,
        float("inf"),
        float("nan"),
    ],
)
def test_anything_else_is_refused(value: str | int | float) -> None:
    with pytest.raises(Refused, match="timestamp"):
        parse_timestamp(value)


def test_one_odd_value_in_a_long_column_is_named() -> None:
    column: list[str | int | float] = ["2025-10-31T10:00:00Z"] * 100
    column[41] = 1_761_904_800_000
    assert parse_timestamps(column).tolist() == [INSTANT] * 100
    column[73] = "noon"
    with pytest.raises(Refused, match="noon") as caught:
        parse_timestamps(column)
    assert caught.value.path == "[73]"


def test_a_long_column_before_1970_is_refused_like_a_short_one() -> None:
    with pytest.raises(Refused) as caught:
        parse_timestamps(["2025-10-31T10:00:00Z"] * 50 + ["1960-01-01T00:00:00Z"])
    assert caught.value.path == "[50]"


def test_the_first_column_of_a_process_brings_no_pandas() -> None:
    code = (
        "import sys; from topics.timestamps import prepare_columns; prepare_columns(); print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
