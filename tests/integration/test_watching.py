"""Monitors of the real control plane, watched on real streams: each transition once, through restarts, moves and outages."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as aioredis

from agents.app import create_normalize_app, create_watch_app, learn_topics
from agents.followed_monitors import FollowedMonitors
from agents.scrubbers import Scrubbers
from privacy.policy import Policy
from storage.changes import ANYTHING, ChangeListener
from storage.control_plane import ControlPlane
from storage.scope import OrgScope
from topics.errors import Unavailable
from topics.faust_app import EmbeddedApp, TransportConfig
from topics.names import ALERTS, METRICS_RAW, PANES, READERS
from topics.panes import Resolve, encode
from topics.raw import RawBatch
from topics.redis_streams.catalogue import declare_topics
from topics.redis_streams.entries import decode_entry, encode_entry, partition_of
from topics.redis_streams.keys import Keys
from topics.transitions import AlertMessage, decode, key_of

PARTITIONS = 2
MAXIMUM = {
    "metric": "cpu",
    "aggregation": "max",
    "critical": 90,
    "window_s": 60,
    "group_by": ["host"],
    "new_group_delay_s": 0,
}


async def no_policies() -> dict[str, Policy]:
    return {}


async def nothing(*_: Any) -> int:
    return 0


async def until(done: Callable[[], Any], within_s: float = 20) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := await result if asyncio.iscoroutine(result := done()) else result):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    return found


class Installation:
    """Workers on one Redis, with the monitors of one control plane."""

    def __init__(self, redis: aioredis.Redis, config: TransportConfig, control_plane: ControlPlane, dsn: str) -> None:
        self.redis, self.config, self.control_plane, self.dsn = redis, config, control_plane, dsn
        self.org_id = ""
        self.away = False
        self.slow_s = 0.0
        self.reading = False
        self.crashes: list[Any] = []
        self._sent = 0

    @property
    def scope(self) -> OrgScope:
        return OrgScope(self.org_id)

    async def _load_all(self) -> Any:
        if self.away:
            raise Unavailable("away")
        self.reading = True
        await asyncio.sleep(self.slow_s)
        return await self.control_plane.monitors.load_enabled()

    async def _load_of(self, scope: OrgScope) -> Any:
        if self.away:
            raise Unavailable("away")
        self.reading = True
        await asyncio.sleep(self.slow_s)
        return await self.control_plane.monitors.list_in(scope)

    async def monitor(self, name: str = "cpu", **definition: Any) -> str:
        """Create a metric monitor."""
        stored = await self.control_plane.monitors.create(
            self.scope, name=name, kind="metric", definition=MAXIMUM | definition
        )
        return stored.id

    @asynccontextmanager
    async def worker(self, *duties: str) -> AsyncIterator[FollowedMonitors]:
        """A worker with some duties; leaving stops it as SIGTERM does."""
        monitors = FollowedMonitors(self._load_all, self._load_of)
        listener = ChangeListener(self.dsn, monitors.changed)
        await listener.start()
        following = asyncio.create_task(monitors.keep_rereading())
        apps: list[EmbeddedApp] = []
        if "normalize" in duties:
            scrubbers = Scrubbers(no_policies, lambda _: bytes(16))
            apps.append(
                create_normalize_app(self.config, scrubbers=scrubbers, crash=self.crashes.append, monitors=monitors)
            )
        if "watch" in duties:
            apps.append(
                create_watch_app(self.config, flush_usage=nothing, crash=self.crashes.append, monitors=monitors)
            )
        try:
            for app in apps:
                await learn_topics(app)
                await app.start()
            await until(lambda: listener.connected)
            yield monitors
        finally:
            for app in reversed(apps):
                await app.stop()
            following.cancel()
            await listener.close()

    async def send(self, *points: dict[str, Any]) -> None:
        """A request as a gateway adds it."""
        self._sent += 1
        now_ms = int(time.time() * 1000)
        body = json.dumps({"metrics": [{"timestamp": now_ms} | point for point in points]}).encode()
        batch = RawBatch(self.org_id, "r", now_ms, 30, body)
        entry = encode_entry(batch.body, headers=batch.headers(), timestamp_ms=now_ms)
        stream = Keys().stream(METRICS_RAW, self._sent % PARTITIONS)
        await self.redis.execute_command("XADD", stream, "0-*", *entry)

    async def resolve(self, monitor_id: str, group: str) -> None:
        """As the API does it."""
        key = key_of(monitor_id)
        value = encode(Resolve(self.org_id, monitor_id, group, int(time.time() * 1000), "someone"))
        stream = Keys().stream(PANES, partition_of(key, PARTITIONS))
        await self.redis.execute_command("XADD", stream, "0-*", *encode_entry(value, key=key, timestamp_ms=1))

    async def alerts(self) -> list[AlertMessage]:
        """Everything on the topic."""
        found = []
        for partition in range(PARTITIONS):
            for _, fields in await self.redis.execute_command("XRANGE", Keys().stream(ALERTS, partition), "-", "+"):
                # redis-py makes a mapping of the fields.
                found.append(decode(decode_entry([each for pair in fields.items() for each in pair]).value or b""))
        return found

    async def sent(self, count: int) -> bool:
        """Whether there are so many transitions."""
        return len(await self.alerts()) >= count

    async def states(self) -> list[tuple[str, str, str]]:
        """Group, previous state, state, group by group in order."""
        messages = sorted(await self.alerts(), key=lambda message: (message.group, message.sequence))
        return [(message.group, message.previous_state, message.state) for message in messages]


def cpu(value: float, *hosts: str) -> list[dict[str, Any]]:
    return [{"name": "cpu", "value": value, "labels": {"host": host}} for host in hosts]


@pytest.fixture
async def installation(
    redis_server: Any, store_control_plane: ControlPlane, store_dsn: str, tmp_path: Path
) -> AsyncIterator[Installation]:
    redis = aioredis.Redis.from_url(redis_server.url)
    await declare_topics(redis, dict.fromkeys(READERS, PARTITIONS), readers=READERS)
    config = TransportConfig(url=redis_server.url, data_dir=tmp_path, partitions=PARTITIONS, lease_s=1.0)
    made = Installation(redis, config, store_control_plane, store_dsn)
    made.org_id = (await store_control_plane.organizations.create("it")).id
    yield made
    await redis.aclose()
    assert made.crashes == []


async def test_a_monitor_that_is_new_watches_what_comes_next(installation: Installation) -> None:
    async with installation.worker("normalize", "watch") as monitors:
        await installation.send(*cpu(95, "before"))
        monitor_id = await installation.monitor()
        await until(lambda: monitor_id in monitors.by_id)
        began = time.time()
        await installation.send(*cpu(95, "a"), *cpu(5, "b"))
        (message,) = await until(installation.alerts)
        assert message.at_ms / 1000 - began < 1
        assert (message.org_id, message.monitor_id, message.group) == (installation.org_id, monitor_id, "host=a")
        assert (message.state, message.previous_state, message.value, message.threshold) == ("ALERT", "OK", 95, 90)
        assert message.evidence["window"]["values"][-1][1] == 95
        await installation.resolve(monitor_id, "host=a")
        await until(lambda: installation.sent(2))
        assert await installation.states() == [("host=a", "OK", "ALERT"), ("host=a", "ALERT", "OK")]
        await installation.control_plane.monitors.delete(installation.scope, monitor_id)
        await until(lambda: not monitors.by_id)
        await installation.send(*cpu(95, "a"))
        await asyncio.sleep(0.3)
        assert len(await installation.alerts()) == 2


async def test_what_is_sent_right_behind_a_new_monitor_is_watched(installation: Installation) -> None:
    async with installation.worker("normalize", "watch") as monitors:
        await until(lambda: monitors.known)
        installation.slow_s, installation.reading = 0.15, False
        await installation.monitor()
        await until(lambda: installation.reading)
        await installation.send(*cpu(95, "a"))
        assert [message.value for message in await until(installation.alerts)] == [95]
        # Where reading takes too long nobody waits for it, and what was sent is stored unwatched.
        installation.slow_s, installation.reading = 5.0, False
        await installation.monitor("second")
        await until(lambda: installation.reading)
        began = time.monotonic()
        await installation.send(*cpu(96, "b"))
        await until(lambda: installation.sent(2))
        assert time.monotonic() - began < 4


async def test_waiting_for_the_control_plane_is_no_reason_to_rest(installation: Installation) -> None:
    async with installation.worker("watch") as monitors:
        await until(lambda: monitors.known)
        installation.slow_s = 0.5
        first = await installation.monitor("first")
        await until(lambda: first in monitors.by_id)
        second = await installation.monitor("second")
        began = time.monotonic()
        await until(lambda: second in monitors.by_id)
        assert time.monotonic() - began < 1.5


async def test_states_and_windows_go_with_their_partitions(installation: Installation) -> None:
    """Workers come and go during an incident: what was passed stays passed, and is said once."""
    for name in ("one", "two", "three"):
        await installation.monitor(name, aggregation="sum", critical=4)
    hosts = [f"h{i}" for i in range(5)]
    points = cpu(1, *hosts)
    async with installation.worker("normalize"):
        async with installation.worker("watch"):
            await installation.send(*points)
            await installation.send(*points)
            async with installation.worker("watch"):
                await installation.send(*points)
                await asyncio.sleep(0.5)  # A part of the partitions has moved by now, or moves under way.
                assert await installation.alerts() == []
                await installation.send(*points)
        # Nobody watches now. The fifth value passes the threshold, and the panes wait.
        await installation.send(*points)
        async with installation.worker("watch"):
            await installation.send(*points)
            await until(lambda: installation.sent(15))
        async with installation.worker("watch"):
            await installation.send(*points)
            await asyncio.sleep(0.5)
    assert await installation.states() == [(f"host={host}", "OK", "ALERT") for host in hosts for _ in range(3)]
    assert {message.value for message in await installation.alerts()} == {5}


async def test_a_timer_fires_without_data_and_on_another_worker(installation: Installation) -> None:
    await installation.monitor(for_s=2)
    async with installation.worker("normalize"):
        async with installation.worker("watch"):
            sent = time.time()
            await installation.send(*cpu(95, "a"))
            await asyncio.sleep(0.5)
        async with installation.worker("watch"):
            (message,) = await until(installation.alerts)
            assert message.state == "ALERT"
            assert 1.99 <= message.at_ms / 1000 - sent < 3.0


async def test_known_monitors_are_watched_while_the_control_plane_is_away(installation: Installation) -> None:
    await installation.monitor()
    async with installation.worker("normalize", "watch") as monitors:
        await until(lambda: monitors.by_id)
        installation.away = True
        monitors.changed(ANYTHING)
        await asyncio.sleep(0.2)
        await installation.send(*cpu(95, "a"))
        assert len(await until(installation.alerts)) == 1


async def test_nothing_is_normalized_or_watched_before_monitors_are_known(installation: Installation) -> None:
    """What is not known would pass for deleted, and a breach for nobody's."""
    await installation.monitor()
    installation.away = True
    async with installation.worker("normalize", "watch"):
        await installation.send(*cpu(95, "a"))
        await asyncio.sleep(0.3)
        assert await installation.alerts() == []
        installation.away = False
        assert len(await until(installation.alerts)) == 1
