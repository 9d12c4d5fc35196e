"""Alerts recorded and told: the real control plane, the real sender and a real receiver that fails as it likes."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from recorded_alerts import SECRET, Alerting, most_rows, quickly
from webhook_receiver import Received, WebhookReceiver

from aegis.doctor import look_at_notifications
from aegis.settings import Settings
from agents.send_notifications import SendNotifications
from channels.destinations import Destinations
from channels.outgoing_http import OutgoingHttp
from channels.sending import Senders
from storage.control_plane import ControlPlane
from storage.migrations import migrate
from storage.named_queries import load_queries
from storage.sealing import Sealer
from topics.transitions import AlertMessage


async def test_a_breach_and_its_recovery_are_told_in_order_and_signed(
    alerting: Alerting, webhook_receiver: WebhookReceiver
) -> None:
    monitor = await alerting.monitor(
        await alerting.channel(webhook_receiver.url), message="{{monitor.name}} {{state}} on {{group.host}}: {{value}}"
    )
    async with alerting.sending():
        await alerting.record(
            alerting.message(monitor, 1, "ALERT", "OK"), alerting.message(monitor, 2, "OK", "ALERT", value=1.0)
        )
        first, second = await webhook_receiver.wait_for(2)
        told = await alerting.until(["sent", "sent"])
    assert first.is_signed_with(SECRET)
    assert [each.json["state"] for each in (first, second)] == ["ALERT", "OK"]
    assert first.json["message"] == "errors ALERT on a: 7.5"
    (breach,) = [a for a in await alerting.control_plane.alerts.list_in(alerting.scope) if a.state == "ALERT"]
    assert first.json["url"] == f"https://aegis.example.com/alerts/{breach.id}"
    assert {each.dedup_key for each in told} == {first.json["dedup_key"], second.json["dedup_key"]}
    assert [(each.attempts, each.last_status) for each in told] == [(1, 200), (1, 200)]


async def test_what_comes_again_is_recorded_and_told_once(
    alerting: Alerting, webhook_receiver: WebhookReceiver
) -> None:
    monitor = await alerting.monitor(await alerting.channel(webhook_receiver.url))
    message = alerting.message(monitor, 1, "ALERT", "OK")
    async with alerting.sending():
        await alerting.record(message, message, message)
        await alerting.until(["sent"])
        await alerting.record(message)
        await asyncio.sleep(0.1)
    assert len(webhook_receiver.received) == 1


async def test_a_monitor_of_another_organization_is_unknown(alerting: Alerting) -> None:
    monitor = await alerting.monitor()
    other = await alerting.control_plane.organizations.create("other")
    stolen = AlertMessage(other.id, monitor.id, "host=a", 1, 0, "ALERT", "OK", 1, evidence={})
    own = alerting.message(monitor, 1, "ALERT", "OK", group="host=b")
    assert await alerting.control_plane.notifications.record([stolen, own], alerting.recorder.decide) == [stolen]
    assert await alerting.control_plane.alerts.list_in(other.scope) == []
    assert len(await alerting.control_plane.alerts.list_in(alerting.scope)) == 1


async def test_nul_in_evidence_and_groups_is_kept_as_another_character(alerting: Alerting) -> None:
    monitor = await alerting.monitor()
    await alerting.record(
        alerting.message(monitor, 1, "ALERT", "OK", group="host=a\0", evidence={"a\0": ["\0", r"\u0000", float("nan")]})
    )
    (alert,) = await alerting.control_plane.alerts.list_in(alerting.scope)
    assert (alert.group, dict(alert.evidence)) == ("host=a\ufffd", {"a\ufffd": ["\ufffd", r"\u0000", None]})


async def test_a_muted_breach_is_recorded_and_not_told_nor_is_its_recovery(
    alerting: Alerting, webhook_receiver: WebhookReceiver
) -> None:
    monitor = await alerting.monitor(await alerting.channel(webhook_receiver.url))
    await alerting.control_plane.downtimes.mute(alerting.scope, monitor.id, definition={})
    async with alerting.sending():
        await alerting.record(alerting.message(monitor, 1, "ALERT", "OK"), alerting.message(monitor, 2, "OK", "ALERT"))
        await asyncio.sleep(0.2)
    assert await alerting.states() == [("suppressed", "muted"), ("suppressed", "not_told")]
    assert webhook_receiver.received == []


async def test_a_breach_that_outlasts_its_mute_is_told_then_and_so_is_its_recovery(
    alerting: Alerting, webhook_receiver: WebhookReceiver
) -> None:
    monitor = await alerting.monitor(await alerting.channel(webhook_receiver.url))
    await alerting.control_plane.downtimes.mute(alerting.scope, monitor.id, definition={})
    async with alerting.sending():
        await alerting.record(alerting.message(monitor, 1, "WARN", "OK"), alerting.message(monitor, 2, "ALERT", "WARN"))
        await asyncio.sleep(0.1)
        await alerting.control_plane.downtimes.unmute(alerting.scope, monitor.id)
        await webhook_receiver.wait_for(1)
        # Muted again, and all the same: who was told of a breach hears that it is over.
        await alerting.control_plane.downtimes.mute(alerting.scope, monitor.id, definition={})
        await alerting.record(alerting.message(monitor, 3, "OK", "ALERT"))
        await alerting.until(["suppressed", "sent", "sent"])
    assert [each.json["state"] for each in webhook_receiver.received] == ["ALERT", "OK"]


async def test_a_breach_whose_recovery_is_being_recorded_is_not_told_as_its_mute_ends(alerting: Alerting) -> None:
    monitor = await alerting.monitor(await alerting.channel("http://127.0.0.1:9999/"))
    await alerting.control_plane.downtimes.mute(alerting.scope, monitor.id, definition={})
    await alerting.record(alerting.message(monitor, 1, "ALERT", "OK"))
    notifications = alerting.control_plane.notifications
    async with notifications._pool.transaction("be slow") as recording:
        # As `record` does: the recovery's transaction is not over, and found nobody who was told.
        await recording.execute("UPDATE alerts SET ended_at = now() WHERE monitor_id = $1", uuid.UUID(monitor.id))
        await alerting.control_plane.downtimes.unmute(alerting.scope, monitor.id)
        assert await notifications.settle_suppressed(lambda *_: ("", None)) == 0
    assert await notifications.settle_suppressed(lambda found, _: ("" if found.goes_on else "ended", None)) == 0
    assert await alerting.states() == [("suppressed", "muted")]


async def test_a_downtime_suppresses_what_is_in_its_scope_until_it_ends(
    alerting: Alerting, webhook_receiver: WebhookReceiver
) -> None:
    monitor = await alerting.monitor(await alerting.channel(webhook_receiver.url))
    ends = (datetime.now(UTC) + timedelta(seconds=0.6)).isoformat()
    await alerting.control_plane.downtimes.create(
        alerting.scope, name="night", definition={"group": {"host": "a*"}, "ends_at": ends}
    )
    async with alerting.sending():
        await alerting.record(
            alerting.message(monitor, 1, "ALERT", "OK", group="host=a1"),
            alerting.message(monitor, 1, "ALERT", "OK", group="host=b1"),
        )
        await webhook_receiver.wait_for(1)
        assert ("suppressed", "downtime") in await alerting.states()
        await alerting.until(["sent", "sent"])
    assert [each.json["group"] for each in webhook_receiver.received] == ["host=b1", "host=a1"]


async def test_reminders_stop_when_somebody_acknowledges(alerting: Alerting, webhook_receiver: WebhookReceiver) -> None:
    monitor = await alerting.monitor(await alerting.channel(webhook_receiver.url))
    await alerting.record(
        alerting.message(monitor, 1, "ALERT", "OK"), alerting.message(monitor, 1, "ALERT", "OK", repeat=1)
    )
    (alert,) = await alerting.control_plane.alerts.list_in(alerting.scope)
    await alerting.control_plane.alerts.acknowledge(alerting.scope, alert.id, by_user=None)
    await alerting.record(alerting.message(monitor, 1, "ALERT", "OK", repeat=2))
    await alerting.control_plane.alerts.resolve(alerting.scope, alert.id, by_user=None)
    await alerting.record(alerting.message(monitor, 1, "ALERT", "OK", repeat=3))
    states = [("waiting", ""), ("waiting", ""), ("suppressed", "acknowledged"), ("suppressed", "resolved")]
    assert await alerting.states() == states


async def test_a_channel_that_is_away_is_tried_until_it_is_back_and_delays_no_other(
    alerting: Alerting, webhook_receiver: WebhookReceiver
) -> None:
    dead, slow = WebhookReceiver(), WebhookReceiver()
    await dead.start()
    await slow.start()
    await dead.stop()
    slow.delay_s = 0.5
    channels = [
        await alerting.channel(each.url, name)
        for each, name in ((dead, "dead"), (slow, "slow"), (webhook_receiver, "good"))
    ]
    monitor = await alerting.monitor(*channels)
    async with alerting.sending():
        for i in range(20):
            await alerting.record(alerting.message(monitor, 1, "ALERT", "OK", group=f"host={i}"))
        await webhook_receiver.wait_for(20, timeout_s=2.0)
        failing = await alerting.control_plane.channels.failing()
        assert [(each.name, each.last_error) for each in failing] == [
            ("dead", f"cannot reach 127.0.0.1:{dead.port}: it refuses connections")
        ]
        await dead.start()
        await dead.wait_for(20)
        await slow.wait_for(20)
        await alerting.until(["sent"] * 60)
    await dead.stop()
    await slow.stop()
    assert (await alerting.control_plane.outbox.overview()).waiting == 0


async def test_what_a_receiver_never_takes_is_given_up_with_its_reason(
    alerting: Alerting, webhook_receiver: WebhookReceiver, store_dsn: str
) -> None:
    webhook_receiver.answer = lambda _: 404
    monitor = await alerting.monitor(await alerting.channel(webhook_receiver.url))
    async with alerting.sending():
        await alerting.record(alerting.message(monitor, 1, "ALERT", "OK"))
        await webhook_receiver.wait_for(3)
        connection = await asyncpg.connect(store_dsn)
        await connection.execute("UPDATE notifications SET expires_at = now()")
        await connection.close()
        (dead,) = await alerting.until(["dead"])
    assert (dead.reason, dead.last_error, dead.last_status) == ("expired", "the receiver answered 404", 404)
    assert dead.attempts >= 3
    assert (await alerting.control_plane.outbox.overview()).dead == 1
    findings = await look_at_notifications(Settings(database_url=SecretStr(store_dsn)))
    assert [(each.subject, each.state) for each in findings] == [
        ("channel hook", "warning"),
        ("notifications", "warning"),
    ]
    assert "the receiver answered 404" in findings[0].found


async def test_a_flood_past_the_limit_is_told_in_one_and_loses_nothing(
    alerting: Alerting, webhook_receiver: WebhookReceiver
) -> None:
    monitor = await alerting.monitor(await alerting.channel(webhook_receiver.url, per_minute=60))
    for i in range(150):
        await alerting.record(alerting.message(monitor, 1, "ALERT", "OK", group=f"host={i}"))
    async with alerting.sending():
        await alerting.until(["sent"] * 150)
    bodies = [each.json for each in webhook_receiver.received]
    assert len(bodies) < 15
    groups = [each["group"] for body in bodies for each in body.get("notifications", [body])]
    assert sorted(groups) == sorted(f"host={i}" for i in range(150))
    assert {each.headers["x-aegis-dedup-key"] for each in webhook_receiver.received} == {b["dedup_key"] for b in bodies}


async def test_a_channel_that_gathers_tells_of_the_groups_of_one_monitor_together(
    alerting: Alerting, webhook_receiver: WebhookReceiver
) -> None:
    channel = await alerting.channel(webhook_receiver.url, group_wait_s=0.4)
    monitors = [await alerting.monitor(channel, name=name) for name in ("a", "b")]
    async with alerting.sending():
        for i in range(5):
            for monitor in monitors:
                await alerting.record(alerting.message(monitor, 1, "ALERT", "OK", group=f"host={i}"))
        await alerting.until(["sent"] * 10)
    assert sorted((each.json["monitor_name"], each.json["count"]) for each in webhook_receiver.received) == [
        ("a", 5), ("b", 5)
    ]  # fmt: skip


async def test_a_channel_that_is_switched_off_is_not_told(
    alerting: Alerting, webhook_receiver: WebhookReceiver
) -> None:
    channel = await alerting.channel(webhook_receiver.url)
    monitor = await alerting.monitor(channel)
    await alerting.record(alerting.message(monitor, 1, "ALERT", "OK"))
    await alerting.control_plane.channels.update(alerting.scope, channel.id, 1, enabled=False)
    await alerting.record(alerting.message(monitor, 1, "ALERT", "OK", group="host=b"))
    async with alerting.sending():
        await asyncio.sleep(0.1)
    assert await alerting.states() == [("suppressed", "channel_disabled")] * 2
    assert webhook_receiver.received == []


async def test_secrets_under_another_master_key_are_a_reason_and_not_a_crash(
    alerting: Alerting, webhook_receiver: WebhookReceiver, store_dsn: str
) -> None:
    monitor = await alerting.monitor(await alerting.channel(webhook_receiver.url))
    await alerting.record(alerting.message(monitor, 1, "ALERT", "OK"))
    async with await ControlPlane.open(store_dsn) as keyless:
        blind = Alerting(keyless, alerting.scope, alerting.http)
        async with blind.sending():
            async with asyncio.timeout(5):
                while not (failing := await keyless.channels.failing()):
                    await asyncio.sleep(0.02)
    assert "AEGIS_MASTER_KEY is not set" in failing[0].last_error
    assert await alerting.states() == [("waiting", "")]


@pytest.fixture(scope="module")
def outbox_dsn(store_postgres_server: Any) -> Iterator[str]:
    """A migrated database for all examples, as migrating takes longer than one of them."""
    name = f"outbox_{uuid.uuid4().hex}"

    async def run(statement: str) -> None:
        admin = await asyncpg.connect(store_postgres_server.dsn())
        await admin.execute(statement)
        await admin.close()

    asyncio.run(run(f"CREATE DATABASE {name}"))
    asyncio.run(migrate(control_plane_dsn=store_postgres_server.dsn(name)))
    yield store_postgres_server.dsn(name)
    asyncio.run(run(f"DROP DATABASE {name} WITH (FORCE)"))


SCRIPTS = st.lists(st.sampled_from(["take", "fail", "cut", "hang", "die", "die after"]), max_size=12)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=SCRIPTS, per_minute=st.sampled_from([30, 6000]), seed=st.integers(0, 1000))
def test_whatever_fails_every_notification_arrives_and_none_twice_by_its_key(
    outbox_dsn: str,
    script: list[str],
    per_minute: int,
    seed: int,
) -> None:
    """The receiver fails, cuts or hangs as the script says; workers die before they write down how a try ended, or after."""
    asyncio.run(_survive(outbox_dsn, script, per_minute, random.Random(seed)))


async def _survive(dsn: str, script: list[str], per_minute: int, random_: random.Random) -> None:
    receiver = WebhookReceiver()
    await receiver.start()
    connection = await asyncpg.connect(dsn)
    await connection.execute("DELETE FROM organizations")
    await connection.close()
    try:
        async with await ControlPlane.open(dsn, Sealer(b"k" * 32)) as control_plane:
            await _survive_in(control_plane, receiver, script, per_minute, random_)
    finally:
        await receiver.stop()


async def _survive_in(
    control_plane: ControlPlane, receiver: WebhookReceiver, script: list[str], per_minute: int, random_: random.Random
) -> None:
    organization = await control_plane.organizations.create("acme")
    http = OutgoingHttp(Destinations((ip_network("127.0.0.1/32"),)), total_timeout_s=0.1)
    alerting = Alerting(control_plane, organization.scope, http)
    left = list(script)
    kept: Counter[str] = Counter()
    die: list[Callable[[], None]] = []

    def answer(received: Received) -> int | bytes | None:
        step = left.pop(0) if left else "take"
        if step == "fail":
            return random_.choice([500, 404, 429])
        body = received.json
        if step == "cut":
            return None
        # From here on the receiver has it, also where the sender never learns of that.
        if body["dedup_key"] not in kept:
            for each in body.get("notifications", [body]):
                kept[f"{each['group']} {each['sequence']}"] += 1
        kept[body["dedup_key"]] += 1
        if step in ("die", "die after") and die:
            die[0]()
        return b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf" if step == "hang" else 200

    receiver.answer = answer
    channel = await alerting.channel(receiver.url, per_minute=per_minute)
    monitor = await alerting.monitor(channel)
    wanted = set()
    for host in range(12):
        for sequence, (state, before) in enumerate((("ALERT", "OK"), ("OK", "ALERT")), 1):
            wanted.add(f"host={host} {sequence}")
            await alerting.record(alerting.message(monitor, sequence, state, before, group=f"host={host}"))
    async with asyncio.timeout(30):
        while (await control_plane.outbox.overview()).waiting:
            sender = SendNotifications(
                control_plane.outbox,
                control_plane.notifications,
                Senders(http, None),
                poll_s=0.02,
                lease_s=0.3,
                backoff=quickly,
            )
            task = asyncio.create_task(sender.run())

            def kill(sender: SendNotifications = sender, task: asyncio.Task[None] = task) -> None:
                """As SIGKILL: nothing is finished or written down."""
                for each in list(sender._under_way):
                    each.cancel()
                task.cancel()

            die[:] = [kill]
            while not task.done() and (await control_plane.outbox.overview()).waiting:
                await asyncio.sleep(0.02)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert {name: count for name, count in kept.items() if " " in name} == dict.fromkeys(wanted, 1)
    await http.close()


async def test_what_waits_costs_a_message_nothing(alerting: Alerting) -> None:
    """Of two thousand that wait, and with the planner's figures from before they came, one claim looks at some hundred."""
    channel = await alerting.channel("http://127.0.0.1:9999/x")
    monitor = await alerting.monitor(channel)
    pool = alerting.control_plane._pool
    for begin in range(0, 2200, 200):
        groups = [f"host=h{i}" for i in range(begin, begin + 200)]
        await alerting.record(*(alerting.message(monitor, 1, "ALERT", "OK", group=group) for group in groups))
        if begin == 0:
            await pool.fetch("look", "UPDATE notifications SET state = 'sent', next_at = NULL, finished_at = now()")
            await pool.fetch("look", "ANALYZE notifications")
    queries, id_ = load_queries("outbox.sql"), uuid.UUID(channel.id)
    async with pool.transaction("look") as connection:
        await connection.fetch(queries["in_order"])
        for name, values in (("fresh", ([id_], [0.0], 100)), ("again", ([id_], 4))):
            plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {queries[name]}", *values)
            assert most_rows(json.loads(plan)[0]["Plan"]) <= 200, plan
