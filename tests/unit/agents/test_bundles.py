"""What of a channel goes out now, and in which messages."""

from __future__ import annotations

import pytest

from agents.bundles import BACKOFF_MAX_S, backoff_s, choose_bundles, tokens_now
from channels.definitions import Limits
from storage.outbox import Due


def due(id_: int, monitor: str = "m", *, is_due: bool = True) -> Due:
    return Due(id_, monitor, f"k{id_}", 0, is_due)


def limits(*, burst: float = 10, wait: float = 0) -> Limits:
    return Limits(per_s=1.0, burst=burst, at_once=4, group_wait_s=wait)


def ids(bundles: list[list[Due]]) -> list[list[int]]:
    return [[each.id for each in bundle] for bundle in bundles]


FRESH = [due(i) for i in range(1, 7)]


def test_each_goes_by_itself_as_far_as_there_is_room() -> None:
    bundles, tokens = choose_bundles([], FRESH, limits=limits(), tokens=10, free=4)
    assert (ids(bundles), tokens) == ([[1], [2], [3], [4]], 6)


def test_more_than_there_are_tokens_go_together() -> None:
    bundles, tokens = choose_bundles([], FRESH, limits=limits(), tokens=5.5, free=4)
    assert (ids(bundles), tokens) == ([[1, 2, 3, 4, 5, 6]], 4.5)


def test_without_a_token_nothing_goes() -> None:
    assert choose_bundles([FRESH[:1]], FRESH, limits=limits(), tokens=0.9, free=4) == ([], 0.9)


def test_what_was_tried_before_goes_first_and_as_it_was() -> None:
    bundles, tokens = choose_bundles([FRESH[:2], FRESH[2:3]], FRESH[3:], limits=limits(), tokens=10, free=3)
    assert (ids(bundles), tokens) == ([[1, 2], [3], [4]], 7)


def test_a_channel_that_gathers_takes_along_what_is_not_due_yet_and_waits_for_the_first() -> None:
    fresh = [due(1, "a"), due(2, "a", is_due=False), due(3, "b", is_due=False)]
    bundles, _ = choose_bundles([], fresh, limits=limits(wait=5), tokens=10, free=4)
    assert ids(bundles) == [[1, 2]]


@pytest.mark.parametrize(("tokens", "since_s", "now"), [(None, 0, 10), (0, 3, 3), (9, 100, 10), (5, -1, 5)])
def test_a_bucket_fills_up_to_its_burst(tokens: float | None, since_s: float, now: float) -> None:
    assert tokens_now(limits(), tokens, since_s) == now


def test_pauses_double_are_spread_and_bounded() -> None:
    assert [backoff_s(n, jitter=1) for n in (0, 1, 2, 3)] == [1, 1, 2, 4]
    assert backoff_s(1, jitter=0) == 0.5
    assert backoff_s(10_000, jitter=1) == BACKOFF_MAX_S
    assert backoff_s(1, 60.0, jitter=1) == 60
