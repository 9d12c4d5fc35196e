"""Monitors, alerts, SLOs and usage on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from storage.alerts import Transition
from storage.control_plane import ControlPlane
from storage.control_plane_pool import PageEnd
from storage.monitors import StoredMonitor
from storage.organizations import Organization
from storage.scope import OrgScope
from storage.usage import UsageDay
from topics.errors import Refused

UNKNOWN = "00000000-0000-4000-8000-000000000000"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
async def acme(store_control_plane: ControlPlane) -> Organization:
    return await store_control_plane.organizations.create("acme")


@pytest.fixture
async def other(store_control_plane: ControlPlane) -> Organization:
    return await store_control_plane.organizations.create("other")


@pytest.fixture
async def monitor(store_control_plane: ControlPlane, acme: Organization) -> StoredMonitor:
    return await store_control_plane.monitors.create(
        acme.scope,
        name="errors",
        kind="metric",
        definition={"metric": "errors", "critical": 5, "group_by": ["service"]},
    )


@pytest.fixture
def fired(monitor: StoredMonitor) -> Transition:
    return Transition(monitor.id, "service=api", 1, "ALERT", "OK", NOON, 7.5, 5.0, {"values": [7, 8], "nan": None})


async def refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        await call
    return caught.value.code, caught.value.path


async def test_a_monitor_is_kept_as_it_was_given(
    store_control_plane: ControlPlane, acme: Organization, monitor: StoredMonitor
) -> None:
    monitors = store_control_plane.monitors
    assert (monitor.organization_id, monitor.version, monitor.enabled) == (acme.id, 1, True)
    assert dict(monitor.definition) == {"metric": "errors", "critical": 5, "group_by": ["service"]}
    assert await monitors.get(acme.scope, monitor.id) == monitor
    assert await monitors.list_in(acme.scope) == [monitor]
    assert await monitors.load_enabled() == [monitor]


async def test_a_change_needs_the_version_that_was_read(
    store_control_plane: ControlPlane, acme: Organization, monitor: StoredMonitor
) -> None:
    monitors = store_control_plane.monitors
    changed = await monitors.update(acme.scope, monitor.id, 1, definition={"critical": 9})
    assert (changed.version, dict(changed.definition), changed.name) == (2, {"critical": 9}, "errors")
    assert changed.updated_at > monitor.updated_at
    assert await refusal(monitors.update(acme.scope, monitor.id, 1, name="mine")) == ("conflict", "version")
    assert not (await monitors.update(acme.scope, monitor.id, 2, enabled=False)).enabled
    assert await monitors.load_enabled() == []


async def test_no_call_reaches_another_organizations_monitor(
    store_control_plane: ControlPlane, acme: Organization, other: Organization, monitor: StoredMonitor
) -> None:
    monitors = store_control_plane.monitors
    assert await monitors.list_in(other.scope) == []
    for call in (
        monitors.get(other.scope, monitor.id),
        monitors.update(other.scope, monitor.id, 1, name="stolen"),
        monitors.delete(other.scope, monitor.id),
        monitors.get(other.scope, "not a uuid"),
    ):
        assert await refusal(call) == ("not_found", "monitor_id")
    assert await monitors.get(acme.scope, monitor.id) == monitor


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"kind": "No Kind"}, "kind"),
        ({"definition": []}, "definition"),
        ({"name": "errors"}, "name"),
    ],
)
async def test_a_bad_monitor_is_refused(
    store_control_plane: ControlPlane, acme: Organization, monitor: StoredMonitor, given: dict[str, Any], path: str
) -> None:
    good: dict[str, Any] = {"name": "new", "kind": "metric", "definition": {}}
    assert (await refusal(store_control_plane.monitors.create(acme.scope, **(good | given))))[1] == path


async def test_a_deleted_monitor_leaves_its_alerts_and_its_name(
    store_control_plane: ControlPlane, acme: Organization, monitor: StoredMonitor, fired: Transition
) -> None:
    monitors = store_control_plane.monitors
    await store_control_plane.alerts.record(acme.scope, fired)
    await monitors.delete(acme.scope, monitor.id)
    assert await monitors.list_in(acme.scope) == []
    assert await monitors.load_enabled() == []
    assert await refusal(monitors.delete(acme.scope, monitor.id)) == ("not_found", "monitor_id")
    assert [alert.monitor_name for alert in await store_control_plane.alerts.list_in(acme.scope)] == ["errors"]
    await monitors.create(acme.scope, name="errors", kind="metric", definition={})


async def test_a_transition_is_recorded_once_and_ends_the_one_before(
    store_control_plane: ControlPlane, acme: Organization, fired: Transition
) -> None:
    alerts = store_control_plane.alerts
    assert await alerts.record(acme.scope, fired)
    assert not await alerts.record(acme.scope, fired)
    assert not await alerts.record(acme.scope, replace(fired, value=99.0))
    [alert] = await alerts.list_in(acme.scope, open_only=True)
    assert (alert.state, alert.previous_state, alert.value, alert.threshold) == ("ALERT", "OK", 7.5, 5.0)
    assert (alert.group, alert.sequence, alert.started_at, alert.ended_at) == ("service=api", 1, NOON, None)
    assert dict(alert.evidence) == {"values": [7, 8], "nan": None}
    recovered = Transition(fired.monitor_id, fired.group, 2, "OK", "ALERT", NOON + timedelta(minutes=5))
    assert await alerts.record(acme.scope, recovered)
    assert not await alerts.record(acme.scope, fired)
    assert await alerts.list_in(acme.scope, open_only=True) == []
    newest, oldest = await alerts.list_in(acme.scope)
    assert (newest.state, newest.ended_at) == ("OK", None)
    assert (oldest.state, oldest.ended_at) == ("ALERT", recovered.at)


async def test_a_transition_that_comes_late_does_not_stay_open(
    store_control_plane: ControlPlane, acme: Organization, fired: Transition
) -> None:
    alerts = store_control_plane.alerts
    later = replace(fired, sequence=2, state="OK", previous_state="ALERT", at=NOON + timedelta(minutes=1))
    assert await alerts.record(acme.scope, later)
    assert await alerts.record(acme.scope, fired)
    assert await alerts.list_in(acme.scope, open_only=True) == []
    assert [(a.state, a.ended_at) for a in await alerts.list_in(acme.scope)] == [("OK", None), ("ALERT", later.at)]


async def test_the_same_transition_at_the_same_moment_is_recorded_once(
    store_control_plane: ControlPlane, acme: Organization, fired: Transition
) -> None:
    for sequence in range(1, 11):
        each = replace(fired, sequence=sequence)
        recorded = await asyncio.gather(*(store_control_plane.alerts.record(acme.scope, each) for _ in range(4)))
        assert sorted(recorded) == [False, False, False, True]


async def test_other_groups_go_on_their_own(
    store_control_plane: ControlPlane, acme: Organization, fired: Transition
) -> None:
    alerts = store_control_plane.alerts
    await alerts.record(acme.scope, fired)
    await alerts.record(acme.scope, replace(fired, group="service=web", sequence=2))
    assert {alert.group for alert in await alerts.list_in(acme.scope, open_only=True)} == {"service=api", "service=web"}


async def test_no_call_reaches_another_organizations_alert(
    store_control_plane: ControlPlane, acme: Organization, other: Organization, fired: Transition
) -> None:
    alerts = store_control_plane.alerts
    assert await refusal(alerts.record(other.scope, fired)) == ("invalid_field", "monitor_id")
    await alerts.record(acme.scope, fired)
    [alert] = await alerts.list_in(acme.scope)
    assert await alerts.list_in(other.scope) == []
    assert await alerts.list_in(other.scope, monitor_id=fired.monitor_id) == []
    for call in (
        alerts.get(other.scope, alert.id),
        alerts.acknowledge(other.scope, alert.id, by_user=None),
        alerts.resolve(other.scope, alert.id, by_user=None),
    ):
        assert await refusal(call) == ("not_found", "alert_id")
    assert await alerts.get(acme.scope, alert.id) == alert


async def test_the_first_who_acknowledges_or_resolves_stays(
    store_control_plane: ControlPlane, acme: Organization, fired: Transition
) -> None:
    alerts, users = store_control_plane.alerts, store_control_plane.users
    ada, bob = await users.create("ada@example.org"), await users.create("bob@example.org")
    await alerts.record(acme.scope, fired)
    [alert] = await alerts.list_in(acme.scope)
    seen = await alerts.acknowledge(acme.scope, alert.id, by_user=ada.id)
    assert (seen.acknowledged_by, seen.ended_at) == (ada.id, None)
    assert await alerts.acknowledge(acme.scope, alert.id, by_user=bob.id) == seen
    done = await alerts.resolve(acme.scope, alert.id, by_user=bob.id)
    assert done.resolved_by == bob.id
    assert done.ended_at is not None
    assert await alerts.resolve(acme.scope, alert.id, by_user=ada.id) == done
    assert await refusal(alerts.acknowledge(acme.scope, UNKNOWN, by_user=None)) == ("not_found", "alert_id")


async def test_pages_of_alerts_neither_skip_nor_repeat(
    store_control_plane: ControlPlane, acme: Organization, fired: Transition
) -> None:
    alerts = store_control_plane.alerts
    for number in range(23):
        at = NOON + timedelta(seconds=number // 5)
        await alerts.record(acme.scope, replace(fired, group=f"service={number}", at=at))
    seen: list[str] = []
    behind: PageEnd | None = None
    while page := await alerts.list_in(acme.scope, monitor_id=fired.monitor_id, state="ALERT", behind=behind, limit=4):
        seen += [alert.id for alert in page]
        behind = PageEnd(page[-1].started_at, page[-1].id)
    assert len(seen) == len(set(seen)) == 23
    assert [alert.id for alert in await alerts.list_in(acme.scope)] == seen


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"state": "BAD"}, "state"),
        ({"previous_state": "ALERT"}, "previous_state"),
        ({"sequence": 0}, "sequence"),
        ({"group": "x" * 1025}, "group"),
        ({"monitor_id": UNKNOWN}, "monitor_id"),
        ({"evidence": []}, "evidence"),
    ],
)
async def test_a_bad_transition_is_refused(
    store_control_plane: ControlPlane, acme: Organization, fired: Transition, given: dict[str, Any], path: str
) -> None:
    assert (await refusal(store_control_plane.alerts.record(acme.scope, replace(fired, **given))))[1] == path


async def test_an_slo_lives_and_stays_in_its_organization(
    store_control_plane: ControlPlane, acme: Organization, other: Organization
) -> None:
    slos = store_control_plane.slos
    made = await slos.create(acme.scope, name="checkout", definition={"good": "status<500"}, objective=0.999)
    assert (made.window_days, made.version, made.objective) == (30, 1, 0.999)
    assert await slos.list_in(acme.scope) == await slos.load_enabled() == [made]
    assert await slos.list_in(other.scope) == []
    for call in (
        slos.get(other.scope, made.id),
        slos.update(other.scope, made.id, 1, objective=0.5),
        slos.delete(other.scope, made.id),
    ):
        assert await refusal(call) == ("not_found", "slo_id")
    changed = await slos.update(acme.scope, made.id, 1, objective=0.99, window_days=7)
    assert (changed.objective, changed.window_days, changed.version) == (0.99, 7, 2)
    assert await refusal(slos.update(acme.scope, made.id, 1, objective=0.5)) == ("conflict", "version")
    await slos.delete(acme.scope, made.id)
    assert await refusal(slos.get(acme.scope, made.id)) == ("not_found", "slo_id")


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"objective": 1.0}, "objective"),
        ({"objective": 0.0}, "objective"),
        ({"objective": float("nan")}, "objective"),
        ({"window_days": 0}, "window_days"),
        ({"window_days": 366}, "window_days"),
        ({"name": " "}, "name"),
        ({"definition": "x"}, "definition"),
    ],
)
async def test_a_bad_slo_is_refused(
    store_control_plane: ControlPlane, acme: Organization, given: dict[str, Any], path: str
) -> None:
    good: dict[str, Any] = {"name": "checkout", "definition": {}, "objective": 0.999}
    assert (await refusal(store_control_plane.slos.create(acme.scope, **(good | given))))[1] == path


async def test_usage_is_set_and_not_added(
    store_control_plane: ControlPlane, acme: Organization, other: Organization
) -> None:
    usage = store_control_plane.usage
    first, last = date(2026, 3, 1), date(2026, 3, 3)
    own = UsageDay(first, logs_count=10, logs_bytes=1 << 40, metrics_count=3, spans_count=2, rum_events=1)
    foreign = UsageDay(first, logs_count=7)
    assert await usage.flush([]) == 0
    for _ in range(2):
        assert await usage.flush([(acme.scope, own), (other.scope, foreign)]) == 2
    assert await usage.list_days(acme.scope, first, last) == [own]
    assert await usage.list_days(other.scope, first, last) == [foreign]
    grown = replace(own, logs_count=11, scrubbed={"email": 4})
    assert await usage.flush([(acme.scope, grown)]) == 1
    assert await usage.flush([(acme.scope, own)]) == 0, "an older flush that comes late"
    tomorrow = UsageDay(date(2026, 3, 2), spans_count=1)
    assert await usage.flush([(acme.scope, tomorrow)]) == 1
    assert await usage.list_days(acme.scope, first, last) == [grown, tomorrow]
    assert await usage.list_days(acme.scope, first, first) == []


async def test_usage_of_a_deleted_organization_does_not_stop_the_others(
    store_control_plane: ControlPlane, acme: Organization
) -> None:
    day = UsageDay(date(2026, 3, 1), logs_count=1)
    assert await store_control_plane.usage.flush([(OrgScope(UNKNOWN), day), (acme.scope, day)]) == 1


async def test_bad_usage_is_refused(store_control_plane: ControlPlane, acme: Organization) -> None:
    usage, day = store_control_plane.usage, UsageDay(date(2026, 3, 1), logs_count=1)
    assert (await refusal(usage.flush([(acme.scope, replace(day, rum_events=-1))])))[0] == "invalid_field"
    assert await refusal(usage.flush([(acme.scope, day), (acme.scope, day)])) == ("invalid_field", "day")


async def test_lists_of_alerts_are_served_by_their_indexes(
    store_control_plane: ControlPlane, store_dsn: str, acme: Organization, fired: Transition
) -> None:
    """With 20,000 alerts in the table a page reads a page's worth of it."""
    await store_control_plane.alerts.record(acme.scope, fired)
    connection = await asyncpg.connect(store_dsn)
    try:
        await connection.execute(
            "INSERT INTO alerts (organization_id, monitor_id, group_key, sequence, state, previous_state, started_at, ended_at)"
            " SELECT organization_id, monitor_id, group_key, n, 'WARN', 'OK', started_at - n * interval '1 s', started_at"
            " FROM alerts, generate_series(2, 20000) n"
        )
        await connection.execute("ANALYZE alerts")
        for narrowed, index in (
            ("ended_at IS NULL AND state <> 'OK'", "alerts_open_idx"),
            ("true", "alerts_organization_id_idx"),
        ):
            plan = await connection.fetch(
                f"EXPLAIN SELECT id FROM alerts WHERE organization_id = $1 AND {narrowed}"
                " ORDER BY started_at DESC, id DESC LIMIT 100",
                acme.id,
            )
            assert any(index in row[0] for row in plan), plan
            assert not any("Sort" in row[0] for row in plan), plan
    finally:
        await connection.close()
