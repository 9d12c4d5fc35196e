"""Usage by day -> the month so far, and what the whole month comes to if the last days are like those to come."""

from __future__ import annotations

import calendar
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from storage.usage import UsageDay

COUNTS: Final = ("logs_count", "logs_bytes", "metrics_count", "spans_count", "rum_events")
TYPICAL_DAYS: Final = 7
"""The projection goes by the mean of as many whole days, a week, because weekends differ."""


@dataclass(frozen=True, slots=True)
class MonthUsage:
    """Of the calendar month of `first` (UTC). `projected` is None until there is one whole day to go by."""

    first: date
    so_far: Mapping[str, int]
    projected: Mapping[str, int] | None


def days_needed(now: datetime) -> tuple[date, date]:
    """The days that `month_usage` looks at: first, and the one behind the last."""
    today = now.astimezone(UTC).date()
    return min(today.replace(day=1), today - timedelta(days=TYPICAL_DAYS)), today + timedelta(days=1)


def month_usage(days: Sequence[UsageDay], now: datetime) -> MonthUsage:
    """The month of `now`. `days` holds at least those of `days_needed` on which something came, oldest first.

    Projected is what came so far, and for the rest of the month the mean of the last seven whole days, those before the first
    known one left out: an organization that began yesterday has one day to go by, and one that fell silent has zeros.
    """
    now = now.astimezone(UTC)
    today = now.date()
    first = today.replace(day=1)
    so_far = _sums([day for day in days if first <= day.day <= today])
    since = max([today - timedelta(days=TYPICAL_DAYS), *(day.day for day in days[:1])])
    whole_days = (today - since).days
    if whole_days < 1:
        return MonthUsage(first, so_far, None)
    typical = _sums([day for day in days if since <= day.day < today])
    behind = datetime(first.year, first.month, 1, tzinfo=UTC) + timedelta(
        days=calendar.monthrange(first.year, first.month)[1]
    )
    left_days = (behind - now) / timedelta(days=1)
    projected = {name: so_far[name] + round(typical[name] / whole_days * left_days) for name in COUNTS}
    return MonthUsage(first, so_far, projected)


def _sums(days: Sequence[UsageDay]) -> dict[str, int]:
    return {name: sum(getattr(day, name) for day in days) for name in COUNTS}
