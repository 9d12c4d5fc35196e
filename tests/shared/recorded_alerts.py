"""One organization whose alerts are recorded and told, over the real control plane (fixture `alerting`): what its tests share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import pytest

from agents.delivery import Delivery
from agents.record_alerts import RecordAlerts
from agents.send_notifications import SendNotifications
from channels.definitions import parse_config, secrets_of, without_secrets
from channels.destinations import Destinations
from channels.outgoing_http import OutgoingHttp
from channels.sending import Senders
from storage.channels import StoredChannel
from storage.control_plane import ControlPlane
from storage.monitors import StoredMonitor
from storage.notifications import SentNotification
from storage.scope import OrgScope
from topics.transitions import AlertMessage

SECRET = "a secret of a channel"


@dataclass
class Alerting:
    """One organization with a monitor, its channel, and what records and sends."""

    control_plane: ControlPlane
    scope: OrgScope
    http: OutgoingHttp
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        # What comes over the topic, and its burying, are another test's.
        delivery = Delivery("test", produce=lambda *_: None, crash=lambda _: None)
        self.recorder = RecordAlerts(
            self.control_plane.notifications.record,
            delivery,
            recorded=lambda: None,
            public_url="https://aegis.example.com/",
            now=lambda: self.now.timestamp(),
        )

    async def channel(self, url: str, name: str = "hook", **config: Any) -> StoredChannel:
        checked = parse_config("webhook", {"url": url, "secret": SECRET, **config})
        return await self.control_plane.channels.create(
            self.scope, name=name, kind="webhook", config=without_secrets(checked), secrets=secrets_of(checked)
        )

    async def monitor(self, *channels: StoredChannel, name: str = "errors", **definition: Any) -> StoredMonitor:
        return await self.control_plane.monitors.create(
            self.scope,
            name=name,
            kind="metric",
            definition={"group_by": ["host"], "channels": [each.id for each in channels], **definition},
        )

    def message(self, monitor: StoredMonitor, sequence: int, state: str, before: str, **changes: Any) -> AlertMessage:
        values: dict[str, Any] = {
            "group": "host=a",
            "repeat": 0,
            "value": 7.5,
            "threshold": 5.0,
            "evidence": {"why": "x"},
        }
        values |= changes
        at_ms = int(self.now.timestamp() * 1000) + sequence  # In the order of lists.
        return AlertMessage(
            self.scope.org_id, monitor.id, sequence=sequence, state=state, previous_state=before, at_ms=at_ms, **values
        )

    async def record(self, *messages: AlertMessage) -> None:
        """One transaction each, as of one group."""
        for message in messages:
            assert await self.control_plane.notifications.record([message], self.recorder.decide) == []

    @asynccontextmanager
    async def sending(self, **options: Any) -> AsyncIterator[SendNotifications]:
        sender = SendNotifications(
            self.control_plane.outbox,
            self.control_plane.notifications,
            Senders(self.http, None),
            **{"poll_s": 0.02, "backoff": quickly, **options},
        )
        task = asyncio.create_task(sender.run())
        yield sender
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def told(self, *, open_only: bool = False) -> list[SentNotification]:
        """Notifications of every alert, oldest alert first."""
        alerts = await self.control_plane.alerts.list_in(self.scope, open_only=open_only, limit=1000)
        lists = [await self.control_plane.notifications.of_alert(self.scope, alert.id) for alert in reversed(alerts)]
        return [each for notifications in lists for each in notifications]

    async def states(self) -> list[tuple[str, str]]:
        return [(each.state, each.reason) for each in await self.told()]

    async def until(self, states: list[str]) -> list[SentNotification]:
        async with asyncio.timeout(10):
            while True:
                told = await self.told()
                if [each.state for each in told] == states:
                    return told
                await asyncio.sleep(0.02)


@pytest.fixture
async def alerting(store_control_plane: ControlPlane) -> AsyncIterator[Alerting]:
    organization = await store_control_plane.organizations.create("acme")
    http = OutgoingHttp(Destinations((ip_network("127.0.0.1/32"),)), total_timeout_s=1.0)
    yield Alerting(store_control_plane, organization.scope, http)
    await http.close()


def quickly(tries: int, asked_s: float | None) -> float:
    """Pauses between tries of milliseconds, growing as they do."""
    return min(0.1, 0.005 * 2 ** min(tries, 10))


def most_rows(plan: dict[str, Any]) -> float:
    """The most rows that any step of a statement's plan gave (EXPLAIN with FORMAT JSON)."""
    return max([plan["Actual Rows"] * plan["Actual Loops"], *map(most_rows, plan.get("Plans", []))])
