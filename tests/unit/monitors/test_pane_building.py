"""Values become the same panes as columns and one by one; groups are those of the values; panes tile their window."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors import pane_building
from monitors.definitions import parse_monitor
from monitors.pane_building import LATE_MS, build_panes, event_times
from monitors.record_columns import RecordColumns
from monitors.watched import WatchedMonitor
from topics.transitions import group_text

VALUES = st.lists(st.tuples(st.integers(0, 10_000), st.floats(-1e6, 1e6)), min_size=1, max_size=60)


def watched(**definition: Any) -> WatchedMonitor:
    given = {"name": "m", "kind": "metric", "metric": "m", "critical": 1, "window_s": 60} | definition
    return WatchedMonitor("m", "o", 1, parse_monitor(given))


@settings(deadline=None)
@given(VALUES, st.sampled_from(["avg", "p90"]))
def test_panes_are_the_same_as_columns_and_one_by_one(values: list[tuple[int, float]], aggregation: str) -> None:
    monitor = watched(aggregation=aggregation)
    ts, column = np.array([t for t, _ in values]), np.array([v for _, v in values])
    one_by_one = pane_building._one_by_one(monitor, ts.tolist(), column.tolist(), None, None)
    # As often as makes them many.
    times = pane_building.FEW // len(values) + 1
    many = build_panes(monitor, np.repeat(ts, times), np.repeat(column, times))
    assert len(one_by_one) == len(many)
    for a, b in zip(sorted(one_by_one, key=lambda pane: pane.start_ms), many, strict=True):
        assert (a.start_ms, a.min, a.max, a.last_ms) == (b.start_ms, b.min, b.max, b.last_ms)
        assert a.count * times == b.count
        assert a.sum * times == pytest.approx(b.sum, abs=1e-3)
        assert sum(a.buckets.values()) * times == sum(b.buckets.values())


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.sampled_from(["", "1"])), max_size=50),
)
def test_groups_are_those_of_the_records(rows: list[tuple[str, str, str]]) -> None:
    names = ["one", "two", "three"]
    batch = pa.record_batch([pa.array([row[i] for row in rows], pa.string()) for i in range(3)], names=names)
    columns = RecordColumns(batch, 0)
    expected = defaultdict(list)
    for place, row in enumerate(rows):
        if row[0] == "a":
            expected[group_text({"l2": row[1], "l3": row[2]})].append(place)
    places = columns.places_where([("one", "a")])
    found = {group: inside.tolist() for group, inside in columns.groups([("l2", "two"), ("l3", "three")], places)}
    assert found == expected


@settings(deadline=None)
@given(st.integers(10, 43_200), st.sampled_from(["avg", "p99"]), st.booleans())
def test_panes_tile_their_window(window_s: int, aggregation: str, change: bool) -> None:
    monitor = watched(window_s=window_s, aggregation=aggregation, change="absolute" if change else None)
    assert monitor.panes * monitor.pane_ms == window_s * 1000
    assert monitor.pane_ms >= 1000
    assert monitor.panes >= min(10, window_s)
    assert monitor.slots >= monitor.panes * (2 if change else 1) + 1


def test_times_are_no_later_than_arrival_and_ten_minutes_earlier_at_most() -> None:
    arrived = 1_800_000_000_000
    times = np.array([0, arrived - LATE_MS - 1, arrived - 5, arrived, arrived + 5])
    assert event_times(times, arrived).tolist() == [arrived - LATE_MS, arrived - LATE_MS, arrived - 5, arrived, arrived]


def test_a_monitor_that_only_decides_otherwise_keeps_its_windows() -> None:
    shape = watched().shape
    for same in (
        {"critical": 5},
        {"for_s": 30},
        {"name": "n", "message": "m"},
        {"no_data": "notify"},
        {"renotify_s": 60},
    ):
        assert watched(**same).shape == shape, same
    others = ({"window_s": 61}, {"aggregation": "max"}, {"labels": {"a": "b"}}, {"group_by": ["a"]}, {"metric": "n"},
              {"change": "percent"}, {"evaluation_delay_s": 1})  # fmt: skip
    for other in others:
        assert watched(**other).shape != shape, other
