"""The month so far and projected, by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from query.month import days_needed, month_usage
from storage.usage import UsageDay


def days(first: date, *logs: int) -> list[UsageDay]:
    return [UsageDay(first + timedelta(days=i), logs_count=n, logs_bytes=10 * n) for i, n in enumerate(logs) if n]


def test_the_rest_of_the_month_is_like_the_last_seven_whole_days() -> None:
    """On the 11th at noon 19.5 of 30 days are left; the mean of the seven days before is 20 a day, zeros counted."""
    now = datetime(2025, 11, 11, 12, tzinfo=UTC)
    month = month_usage(days(date(2025, 11, 1), 500, 0, 0, 70, 0, 0, 70, 0, 0, 0, 6), now)
    assert month.first == date(2025, 11, 1)
    assert month.so_far == {
        "logs_count": 646, "logs_bytes": 6460, "metrics_count": 0, "spans_count": 0, "rum_events": 0
    }  # fmt: skip
    assert month.projected is not None
    assert month.projected["logs_count"] == 646 + round(140 / 7 * 19.5)
    assert month.projected["metrics_count"] == 0


def test_on_the_first_day_the_month_before_is_gone_by() -> None:
    now = datetime(2025, 12, 1, 0, tzinfo=UTC)
    assert days_needed(now) == (date(2025, 11, 24), date(2025, 12, 2))
    month = month_usage(days(date(2025, 11, 24), 7, 7, 7, 7, 7, 7, 7), now)
    assert month.so_far["logs_count"] == 0
    assert month.projected is not None
    assert month.projected["logs_count"] == 7 * 31


def test_who_began_yesterday_has_one_day_to_go_by_and_who_began_today_none() -> None:
    now = datetime(2025, 11, 29, tzinfo=UTC)
    month = month_usage(days(date(2025, 11, 28), 100, 1), now)
    assert month.projected is not None
    assert month.projected["logs_count"] == 101 + 100 * 2
    assert month_usage(days(date(2025, 11, 29), 100), now).projected is None


def test_the_last_day_of_december_belongs_to_december_in_every_zone() -> None:
    now = datetime(2026, 1, 1, 1, tzinfo=UTC).astimezone(datetime.fromisoformat("2025-01-01T00:00:00-05:00").tzinfo)
    month = month_usage(days(date(2025, 12, 31), 9, 1), now)
    assert (month.first, month.so_far["logs_count"]) == (date(2026, 1, 1), 1)
    assert days_needed(now)[1] == date(2026, 1, 2)


def test_who_fell_silent_is_projected_silent() -> None:
    month = month_usage(days(date(2025, 11, 1), 100), datetime(2025, 11, 20, tzinfo=UTC))
    assert month.projected == month.so_far
