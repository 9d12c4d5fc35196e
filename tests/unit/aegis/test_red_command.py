"""How far back `aegis services` is asked to look."""

from __future__ import annotations

import pytest

from aegis.cli.red import read_duration
from topics.errors import Refused


@pytest.mark.parametrize(("text", "seconds"), [("1m", 60), ("15m", 900), ("36h", 129_600), ("7d", 604_800)])
def test_a_duration_is_minutes_hours_or_days(text: str, seconds: int) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "0m", "-1h", "1s", "1.5h", "1h30m", "100000d", "1 h", "١h"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="as 15m, 1h, 7d"):
        read_duration(text)
