"""What a question says becomes what the store is asked, or a refusal that names the field."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from query.accepted_media import prefers
from query.time_ranges import read_instant
from query.trace_search import TraceSearch
from query.usage import _days_asked
from topics.errors import Refused, TooExpensive

AT = datetime(2025, 11, 20, 9, tzinfo=UTC)


def test_milliseconds_become_nanoseconds() -> None:
    selection = TraceSearch(start=1, end=2, min_duration_ms=0, max_duration_ms=0.0015).selection()
    assert (selection.duration_min_ns, selection.duration_max_ns) == (0, 1500)
    nothing = TraceSearch(start=1, end=2).selection()
    assert (nothing.duration_min_ns, nothing.duration_max_ns) == (None, None)


def test_a_longest_below_the_shortest_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        TraceSearch(start=1, end=2, min_duration_ms=2, max_duration_ms=1).selection()
    assert caught.value.path == "max_duration_ms"


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        (None, None, ("2025-11-01", "2025-11-21")),
        ("2025-10-01", "2025-10-31", ("2025-10-01", "2025-10-31")),
        ("2025-10-31T00:00:00Z", "2025-10-31T23:59:59Z", ("2025-10-31", "2025-11-01")),
        ("1761904803000", "1761904803001", ("2025-10-31", "2025-11-01")),
        (None, "2025-11-02", ("2025-11-01", "2025-11-02")),
    ],
)
def test_every_day_that_a_range_touches_is_asked(start: str | None, end: str | None, days: tuple[str, str]) -> None:
    assert _days_asked(start, end, AT) == tuple(date.fromisoformat(day) for day in days)


def test_too_many_days_name_the_limit() -> None:
    with pytest.raises(TooExpensive) as caught:
        _days_asked("1970-01-01", "2070-01-02", AT)
    assert (caught.value.limit, caught.value.asked) == ("36525 days", "a range of 36526 days")


@pytest.mark.parametrize(
    ("accept", "csv"),
    [
        (None, False),
        ("*/*", False),
        ("text/csv", True),
        ("Text/CSV; charset=utf-8", True),
        ("application/json, text/csv", False),
        ("application/json;q=0.5, text/csv", True),
        ("text/csv;q=0.4, application/json;q=0.5", False),
        ("text/csv;q=0", False),
        ("text/csv;q=nan", False),
        ("text/csv;q=x, ,;", False),
        ("text/html, text/csv;q=0.9, */*;q=0.1", True),
    ],
)
def test_csv_is_for_who_prefers_it(accept: str | None, csv: bool) -> None:
    assert prefers(accept, "text/csv") is csv


@pytest.mark.parametrize("zone", [" 02:00", " 0200", "+02:00"])
def test_a_plus_that_an_address_made_a_space_is_a_plus(zone: str) -> None:
    assert read_instant("start", f"2025-10-31T12:00:00.5{zone}") == 1_761_904_800_500_000_000
    assert read_instant("start", f"2025-10-31T12:00{zone}") == 1_761_904_800_000_000_000


def test_a_space_before_the_time_of_day_stays_one() -> None:
    assert read_instant("start", "2025-10-31 02:00") == read_instant("start", "2025-10-31T02:00Z")
    with pytest.raises(Refused):
        read_instant("start", "2025-10-31T12:00:00%2B02:00")
