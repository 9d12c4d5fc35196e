"""Ids of series, remembered within bounds."""

from __future__ import annotations

from storage.series import REFUSED, SeriesCache


def test_it_knows_what_it_was_told_by_organization() -> None:
    cache = SeriesCache(100)
    cache.remember({("a", b"x"): 1, ("b", b"x"): 2})
    assert cache.ids("a", [b"x", b"y"]) == [1, None]
    assert cache.ids("b", [b"x"]) == [2]
    assert cache.ids("c", [b"x"]) == [None]


def test_it_is_bounded_and_keeps_what_is_used() -> None:
    cache = SeriesCache(8)
    cache.remember({("a", b"used"): 1})
    for n in range(100):
        cache.remember({("a", b"%d" % n): n + 2})
        assert cache.ids("a", [b"used"]) == [1]
    known = [id_ for id_ in cache.ids("a", [b"%d" % n for n in range(100)]) if id_ is not None]
    assert 0 < len(known) <= 8


def test_a_refused_series_is_asked_for_again_after_a_while() -> None:
    now = 0.0
    cache = SeriesCache(100, clock=lambda: now)
    cache.remember({("a", b"x"): REFUSED, ("a", b"y"): 5})
    assert cache.ids("a", [b"x", b"y"]) == [REFUSED, 5]
    assert cache.ids("b", [b"x"]) == [None]
    now = 31.0
    assert cache.ids("a", [b"x", b"y"]) == [None, 5]
