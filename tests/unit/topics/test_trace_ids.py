"""One trace has one id, however its services write it."""

from __future__ import annotations

import pytest

from topics.trace_ids import is_zero, normalize_id, normalize_ids

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (TRACE, TRACE),
        (TRACE.upper(), TRACE),
        ("0x" + TRACE, TRACE),
        ("0X00F067AA0BA902B7", "00f067aa0ba902b7"),
        ("4bf92f35-77b3-4da6-a3ce-929d0e0e4736", TRACE),
        ("4BF92F35-77B3-4DA6-A3CE-929D0E0E4736", TRACE),
        ("0" * 32, ""),
        ("0" * 16, ""),
        ("0x" + "0" * 16, ""),
        ("00000000-0000-0000-0000-000000000000", ""),
        ("0" * 200, ""),
        ("0", "0"),
        ("000", "000"),
        ("t-1", "t-1"),
        ("bad-cafe", "bad-cafe"),
        ("Order/17", "Order/17"),
        ("0x", "0x"),
        ("é", "é"),
        ("", ""),
        (None, ""),
    ],
)
def test_an_id_has_one_form(written: str | None, expected: str) -> None:
    assert normalize_id(written) == expected
    assert normalize_id(normalize_id(written)) == expected
    for others in ([], [TRACE], ["0x1"], [None]):
        assert normalize_ids([*others, written])[-1] == expected
    if written:
        assert is_zero(written) == (expected == "")
