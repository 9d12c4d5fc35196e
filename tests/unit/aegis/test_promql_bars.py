"""What `aegis promql` draws of a series."""

from __future__ import annotations

import pytest

from aegis.cli.promql import draw_bars, shown_labels


def test_bars_rise_with_the_values_and_leave_room_where_there_are_none() -> None:
    points = [(place * 1000, float(place)) for place in range(60)]
    bars = draw_bars(points, 0, 59_999)
    assert len(bars) == 60
    assert list(bars) == sorted(bars)
    assert set(bars) == set("▁▂▃▄▅▆▇█")
    half = draw_bars(points[:10] + points[50:], 0, 59_999)
    assert half[10:50] == " " * 40
    assert half.strip() == half


@pytest.mark.parametrize("points", [[(0, 5.0)], [(0, 5.0), (59_000, 5.0)]])
def test_a_level_line_stands_in_the_middle(points: list[tuple[int, float]]) -> None:
    assert set(draw_bars(points, 0, 59_999)) <= {"▅", " "}


def test_the_largest_and_the_smallest_double_have_a_line() -> None:
    assert draw_bars([(0, -1.7e308), (59_999, 1.7e308)], 0, 59_999) == "▁" + " " * 58 + "█"


def test_labels_are_shown_as_promql_writes_them() -> None:
    assert shown_labels({"__name__": "up", "job": "api", "a": "b"}) == 'up{job="api", a="b"}'
    assert [shown_labels({"__name__": "up"}), shown_labels({})] == ["up", "{}"]
