"""When downtimes hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitors.downtimes import FOR_EVER, parse_downtime
from topics.errors import Refused


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def weekly(**changes: Any) -> dict[str, Any]:
    return {
        "recurrence": {"days": ["mon"], "time": "22:00", "duration_s": 4 * 3600, "timezone": "Europe/Berlin"} | changes
    }


@pytest.mark.parametrize(
    ("definition", "moment", "until"),
    [
        ({}, "2026-03-01T12:00:00Z", FOR_EVER),
        ({"starts_at": "2026-03-01T12:00:00Z"}, "2026-03-01T11:59:59Z", None),
        ({"starts_at": "2026-03-01T12:00:00Z"}, "2026-03-01T12:00:00Z", FOR_EVER),
        ({"ends_at": "2026-03-01T12:00:00Z"}, "2026-03-01T11:59:59Z", at("2026-03-01T12:00:00Z")),
        ({"ends_at": "2026-03-01T12:00:00Z"}, "2026-03-01T12:00:00Z", None),
        # Monday 22:00 in Berlin is 21:00 in UTC in winter and 20:00 in summer.
        (weekly(), "2026-03-02T20:59:59Z", None),
        (weekly(), "2026-03-02T21:00:00Z", at("2026-03-03T01:00:00Z")),
        (weekly(), "2026-03-03T00:59:59Z", at("2026-03-03T01:00:00Z")),
        (weekly(), "2026-03-03T01:00:00Z", None),
        (weekly(), "2026-07-06T20:00:00Z", at("2026-07-07T00:00:00Z")),
        # The clock goes from 2:00 to 3:00 in that night: it lasts as long as it says.
        (weekly(days=["sat"]), "2026-03-29T00:30:00Z", at("2026-03-29T01:00:00Z")),
        # A time that the clock skips.
        (weekly(days=["sun"], time="02:30", duration_s=3600), "2026-03-29T01:45:00Z", at("2026-03-29T02:30:00Z")),
        # Longer than until the next: it goes on.
        (weekly(days=["mon", "tue"], duration_s=86_400 * 2), "2026-03-03T22:00:00Z", at("2026-03-05T21:00:00Z")),
        (weekly() | {"ends_at": "2026-03-02T23:00:00Z"}, "2026-03-02T22:00:00Z", at("2026-03-02T23:00:00Z")),
        (weekly() | {"starts_at": "2026-03-03T00:00:00Z"}, "2026-03-02T22:00:00Z", None),
    ],
)
def test_a_downtime_holds_until(definition: dict[str, Any], moment: str, until: datetime | None) -> None:
    assert parse_downtime(definition).until(at(moment)) == until


@pytest.mark.parametrize(
    ("definition", "path"),
    [
        ({"starts_at": "2026-03-01T12:00:00Z", "ends_at": "2026-03-01T12:00:00Z"}, "ends_at"),
        ({"starts_at": "yesterday"}, "starts_at"),
        ({"ends_at": []}, "ends_at"),
        ({"monitors": ["m1"]}, "monitors"),
        ({"monitor_ids": ["m"] * 101}, "monitor_ids"),
        (weekly(days=[]), "recurrence.days"),
        (weekly(days=["someday"]), "recurrence.days[0]"),
        (weekly(time="24:00"), "recurrence.time"),
        (weekly(duration_s=59), "recurrence.duration_s"),
        (weekly(timezone="Mars/Olympus"), "recurrence.timezone"),
        (weekly(timezone="../../etc/passwd"), "recurrence.timezone"),
        (weekly(timezone="/etc/localtime"), "recurrence.timezone"),
    ],
)
def test_what_is_no_downtime_is_refused_by_its_field(definition: dict[str, Any], path: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_downtime(definition)
    assert caught.value.path == path


MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1)).map(lambda each: each.replace(tzinfo=UTC))


@given(
    moment=MOMENTS,
    days=st.lists(st.sampled_from(["mon", "wed", "sun"]), min_size=1, max_size=3),
    time=st.sampled_from(["00:00", "02:30", "23:59"]),
    hours=st.integers(1, 168),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Kiritimati", "America/New_York"]),
)
def test_until_it_ends_it_holds_and_it_says_the_same_end(
    moment: datetime, days: list[str], time: str, hours: int, zone: str
) -> None:
    downtime = parse_downtime(weekly(days=days, time=time, duration_s=hours * 3600, timezone=zone))
    until = downtime.until(moment)
    if until is None:
        return
    assert moment < until <= moment + timedelta(hours=hours)
    just_before = until - timedelta(microseconds=1)
    assert downtime.until(just_before) is not None
    assert downtime.until(just_before) >= until  # type: ignore[operator]  # not None, as asserted
