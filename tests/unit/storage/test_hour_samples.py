"""Samples cut into hours and joined again are the same samples, whatever the series report."""

from __future__ import annotations

import numpy as np
import pytest

from storage.hour_samples import HOUR_MS, SampleColumns, carry_on, join_hours, split_hours


def made(counts: list[list[int]], first_hour: int) -> SampleColumns:
    """`counts[i][h]` samples of series i in hour h, at random times."""
    random = np.random.default_rng(3)
    times: list[int] = []
    for row in counts:
        for hour, count in enumerate(row):
            times += sorted((random.choice(HOUR_MS, count, replace=False) + (first_hour + hour) * HOUR_MS).tolist())
    values = random.random(len(times))
    values.view(np.uint64)[::3] = 0x7FF0000000000002
    return SampleColumns(np.array([sum(row) for row in counts]), np.array(times, np.int64), values)


@pytest.mark.parametrize(
    "counts",
    [
        [[2, 2, 2], [2, 2, 2]],
        [[1, 3, 0], [1, 3, 0], [1, 3, 0]],
        [[0, 5, 1], [2, 0, 0], [0, 0, 0], [1, 1, 7]],
        [[4], [0]],
        [[0, 0]],
    ],
)
def test_hours_join_to_what_was_split(counts: list[list[int]]) -> None:
    whole = made(counts, 490_000)
    parts = split_hours(whole, 490_000, len(counts[0]))
    assert [part.counts.tolist() for part in parts] == np.array(counts).T.tolist()
    for hour, part in enumerate(parts, start=490_000):
        assert (part.ts_ms // HOUR_MS == hour).all()
    joined = join_hours(parts, len(counts))
    for before, after in ((whole.counts, joined.counts), (whole.ts_ms, joined.ts_ms)):
        assert after.tolist() == before.tolist()
    assert joined.values.view(np.uint64).tolist() == whole.values.view(np.uint64).tolist()


def test_a_part_from_before_a_series_was_there_has_none_of_it() -> None:
    first, second = split_hours(made([[2, 1], [1, 1]], 0), 0, 2)
    old = SampleColumns(first.counts[:1], first.ts_ms[:2], first.values[:2])
    joined = join_hours([old, second], 2)
    assert joined.counts.tolist() == [3, 1]
    assert joined.ts_ms.tolist() == [*first.ts_ms[:2], second.ts_ms[0], second.ts_ms[1]]


def test_a_sample_carries_on_until_the_next_or_for_an_hour() -> None:
    hourly = SampleColumns(np.array([2, 0, 1]), np.array([0, 25, 10]), np.array([1.0, 2.0, 3.0]))
    carried = carry_on(hourly, 10, 40)
    assert carried.counts.tolist() == [7, 0, 4]
    assert carried.ts_ms.tolist() == [0, 10, 20, 25, 35, 45, 55, 10, 20, 30, 40]
    assert carried.values.tolist() == [1.0] * 3 + [2.0] * 4 + [3.0] * 4
    nothing = SampleColumns(np.zeros(2, np.int64), np.zeros(0, np.int64), np.zeros(0))
    assert carry_on(nothing, 10, 40).counts.tolist() == [0, 0]
