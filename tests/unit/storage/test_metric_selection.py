"""What may be asked of metrics, and the buckets that it becomes."""

from __future__ import annotations

from typing import Any

import pytest

from storage.metric_selection import (
    BUCKETS_MAX,
    BucketRange,
    LabelMatcher,
    MetricSelection,
    as_time,
    as_us,
)
from topics.errors import Refused, TooExpensive

S = 1_000_000


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("end", {"start_us": 2, "end_us": 1}),
        ("start", {"start_us": -(2**62)}),
        ("end", {"end_us": 2**62}),
        ("metric", {"metric": "a\0b"}),
        ("metric", {"metric": "\ud800"}),
        ("metric", {"metric": "x" * 70_000}),
    ],
)
def test_a_bad_selection_names_its_field(field: str, change: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refusal:
        MetricSelection(**{"metric": "m", "start_us": 0, "end_us": S, **change})
    assert refusal.value.path == field


@pytest.mark.parametrize(
    "matcher", [("a", "==", "b"), ("a", "=", "b\0"), ("\ud800", "=", "b"), ("a", "=", "b" * 70_000)]
)
def test_a_bad_matcher_is_refused(matcher: tuple[Any, Any, Any]) -> None:
    with pytest.raises(Refused) as refusal:
        LabelMatcher(*matcher)
    assert refusal.value.path == "labels"


@pytest.mark.parametrize(
    ("start", "end", "step", "expected"),
    [
        (0, 60, 60, (0, 60)),
        (1, 61, 60, (0, 120)),
        (59, 60, 60, (0, 60)),
        (-1, 1, 60, (-60, 60)),
        (10, 10, 10, (10, 10)),
        # A week begins on Monday, 5 January 1970 being the first.
        (0, 1, 7 * 86400, (-3 * 86400, 4 * 86400)),
    ],
)
def test_buckets_are_whole(start: int, end: int, step: int, expected: tuple[int, int]) -> None:
    buckets = BucketRange.of(MetricSelection("m", start * S, end * S), step * S)
    assert (buckets.start_us, buckets.end_us) == (expected[0] * S, expected[1] * S)


def test_too_many_buckets_are_too_expensive() -> None:
    assert BucketRange.of(MetricSelection("m", 0, BUCKETS_MAX * S), S).step_us == S
    with pytest.raises(TooExpensive, match=f"{BUCKETS_MAX} buckets"):
        BucketRange.of(MetricSelection("m", 0, BUCKETS_MAX * S + 1), S)
    with pytest.raises(Refused):
        BucketRange.of(MetricSelection("m", 0, S), 0)


def test_times_are_exact() -> None:
    for us in (0, -1, 1_761_904_800_123_457, 253_402_300_799_999_999):
        assert as_us(as_time(us)) == us
