"""Numbers and times as Prometheus writes them: strconv's shortest digits, an exponent below 1e-6 and from 1e21 on."""

from __future__ import annotations

import math
import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query.prometheus.documents import shown_number, shown_time


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-1.5, "-1.5"),
        (0.1, "0.1"),
        (1e-6, "0.000001"),
        (1.5e-5, "0.000015"),
        (-1.25e-6, "-0.00000125"),
        (9.999999e-7, "9.999999e-07"),
        (1e-7, "1e-07"),
        (5e-324, "5e-324"),
        (1e15, "1000000000000000"),
        (1e16, "10000000000000000"),
        (1.2345e17, "123450000000000000"),
        (123456789012345680.0, "123456789012345680"),
        (1e20, "100000000000000000000"),
        (-9.99e20, "-999000000000000000000"),
        (1e21, "1e+21"),
        (-1.5e21, "-1.5e+21"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
        (-math.nan, "NaN"),
        (struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0], "NaN"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert shown_number(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back_as_itself_and_has_no_digit_too_many(value: float) -> None:
    text = shown_number(value)
    assert float(text) == value
    assert ("e" in text) == (value != 0 and not 1e-6 <= abs(value) < 1e21)
    digits = Decimal(repr(value)).normalize().as_tuple().digits
    assert Decimal(text).normalize().as_tuple().digits == digits


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0"), (4000, "4"), (1500, "1.500"), (1435781451781, "1435781451.781"), (1005, "1.005"), (-1500, "-1.500")],
)
def test_times(ms: int, text: str) -> None:
    assert shown_time(ms) == text
