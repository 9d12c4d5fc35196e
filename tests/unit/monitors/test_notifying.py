"""Who is told of a transition, and why others are not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from monitors.downtimes import parse_downtime
from monitors.notifying import QUEUE_MAX, Decision, Occasion, Place, Silence, decide

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BREACH = Occasion("m1", {"host": "a"}, "ALERT", tags=("db",))
PLACES = {"x": Place(), "y": Place(), "old": Place()}


def told_of(occasion: Occasion, **changes: Any) -> list[Decision]:
    known: dict[str, Any] = {"channels": ["x", "y"], "places": PLACES, "told": (), "silences": (), "at": NOON}
    return decide(occasion, **(known | changes))


def silence(monitor_id: str | None = None, **definition: Any) -> Silence:
    return Silence(parse_downtime(definition), monitor_id)


def test_a_breach_goes_to_every_channel_that_is_there() -> None:
    assert told_of(BREACH) == [Decision("x"), Decision("y")]
    assert told_of(BREACH, channels=["gone", "x"]) == [Decision("x")]


def test_a_recovery_goes_to_who_was_told_wherever_the_monitor_sends_now() -> None:
    recovery = replace(BREACH, state="OK")
    assert told_of(recovery, told=("old", "x")) == [Decision("old"), Decision("x"), Decision("y", "not_told")]
    # Also while it is muted or disabled: nobody is left with an incident that is over.
    silenced = told_of(replace(recovery, monitor_enabled=False), told=("x",), silences=[silence()])
    assert silenced == [Decision("x"), Decision("y", "not_told")]


def test_a_downtime_says_until_when_and_a_reminder_is_not_held_back() -> None:
    night = silence(ends_at="2026-03-01T13:00:00Z")
    one = NOON + timedelta(hours=1)
    assert told_of(BREACH, silences=[night]) == [Decision("x", "downtime", one), Decision("y", "downtime", one)]
    assert told_of(replace(BREACH, repeat=1), silences=[night])[0] == Decision("x", "downtime")
    assert told_of(BREACH, silences=[night], at=one) == [Decision("x"), Decision("y")]


def test_a_mute_is_of_its_monitor_alone() -> None:
    assert told_of(BREACH, silences=[silence("m1")])[0].reason == "muted"
    assert told_of(BREACH, silences=[silence("m2")]) == [Decision("x"), Decision("y")]


def test_a_scope_is_met_by_all_that_it_names() -> None:
    for given in ({"monitor_ids": ["m1"]}, {"tags": ["db"]}, {"group": {"host": "a"}}, {"group": {"host": "*"}}):
        assert told_of(BREACH, silences=[silence(**given)])[0].reason == "downtime", given
    for given in (
        {"monitor_ids": ["m2"]},
        {"tags": ["db", "web"]},
        {"group": {"host": "b"}},
        {"group": {"region": "*"}},
        {"monitor_ids": ["m1"], "group": {"host": "b"}},
    ):
        assert told_of(BREACH, silences=[silence(**given)])[0].reason == "", given


def test_reminders_stop_with_the_alert_or_when_somebody_has_it() -> None:
    reminder = replace(BREACH, repeat=2)
    assert told_of(replace(reminder, acknowledged=True))[0].reason == "acknowledged"
    assert told_of(replace(reminder, goes_on=False))[0].reason == "resolved"
    assert told_of(replace(BREACH, acknowledged=True))[0].reason == ""


def test_a_channel_may_be_off_or_full_by_itself() -> None:
    places = {"x": Place(enabled=False), "y": Place(waiting=QUEUE_MAX)}
    assert told_of(BREACH, places=places) == [Decision("x", "channel_disabled"), Decision("y", "queue_full")]


def test_a_disabled_monitor_tells_of_no_breach() -> None:
    assert [each.reason for each in told_of(replace(BREACH, monitor_enabled=False))] == ["monitor_disabled"] * 2
