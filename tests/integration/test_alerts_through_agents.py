"""Transitions on a real topic -> alerts and requests to a receiver, through the agent of the group `aegis-notify`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as aioredis
from recorded_alerts import Alerting
from webhook_receiver import WebhookReceiver

from agents.app import create_notify_app, learn_topics
from topics.errors import Unavailable
from topics.faust_app import TransportConfig
from topics.names import ALERTS, DEAD_LETTERS, READERS
from topics.redis_streams.catalogue import declare_topics
from topics.redis_streams.entries import encode_entry, partition_of
from topics.redis_streams.keys import Keys
from topics.transitions import AlertMessage, encode, key_of

PARTITIONS = 2


class Topic:
    """The topic `alerts`, as the engine writes it: all of a monitor on one partition."""

    def __init__(self, redis: aioredis.Redis) -> None:
        self.redis = redis

    async def send(self, *messages: AlertMessage | bytes) -> None:
        for message in messages:
            value = message if isinstance(message, bytes) else encode(message)
            key = b"x" if isinstance(message, bytes) else key_of(message.monitor_id)
            stream = Keys().stream(ALERTS, partition_of(key, PARTITIONS))
            await self.redis.execute_command("XADD", stream, "0-*", *encode_entry(value, key=key, timestamp_ms=1))

    async def dead_letters(self) -> int:
        return sum([await self.redis.xlen(Keys().stream(DEAD_LETTERS, each)) for each in range(PARTITIONS)])


@pytest.fixture
async def topic(redis_server: Any) -> AsyncIterator[Topic]:
    redis = aioredis.Redis.from_url(redis_server.url)
    await declare_topics(redis, dict.fromkeys(READERS, PARTITIONS), readers=READERS)
    yield Topic(redis)
    await redis.aclose()


async def test_transitions_are_recorded_and_told_and_what_is_none_is_buried(
    redis_server: Any, topic: Topic, alerting: Alerting, webhook_receiver: WebhookReceiver, tmp_path: Path
) -> None:
    monitor = await alerting.monitor(await alerting.channel(webhook_receiver.url))
    away = [True]

    async def record(messages: Any, decide: Any) -> Any:
        if away[0]:
            raise Unavailable("away")
        return await alerting.control_plane.notifications.record(messages, decide)

    crashes: list[BaseException] = []
    config = TransportConfig(url=redis_server.url, data_dir=tmp_path, partitions=PARTITIONS, lease_s=2.0)
    async with alerting.sending(poll_s=5.0) as sender:
        app = create_notify_app(config, record=record, recorded=sender.wake, public_url="", crash=crashes.append)
        await learn_topics(app)
        await app.start()
        stranger = AlertMessage(
            alerting.scope.org_id, "00000000-0000-4000-8000-000000000000", "*", 1, 0, "ALERT", "OK", 1
        )
        unending = alerting.message(monitor, 1, "SIDEWAYS", "OK", group="host=sideways")
        good = [alerting.message(monitor, 1, "ALERT", "OK", group=f"host={i}") for i in range(40)]
        recovered = [alerting.message(monitor, 2, "OK", "ALERT", group=f"host={i}") for i in range(40)]
        await topic.send(b"no message", stranger, *good, unending, *recovered, *good)
        await asyncio.sleep(0.3)
        assert webhook_receiver.received == []
        # The control plane is back, and what is told then needs no poll.
        away[0] = False
        began = time.monotonic()
        await webhook_receiver.wait_for(80, timeout_s=4.5)
        assert time.monotonic() - began < 4.5
        await alerting.until(["sent"] * 80)
        async with asyncio.timeout(10):
            while await topic.dead_letters() < 3:
                await asyncio.sleep(0.02)
        await app.stop()
    assert crashes == []
    by_group: dict[str, list[str]] = {}
    for each in webhook_receiver.received:
        by_group.setdefault(each.json["group"], []).append(each.json["state"])
    assert by_group == {f"host={i}": ["ALERT", "OK"] for i in range(40)}


async def test_from_transition_to_receiver_takes_milliseconds(
    redis_server: Any, topic: Topic, alerting: Alerting, webhook_receiver: WebhookReceiver, tmp_path: Path
) -> None:
    monitor = await alerting.monitor(await alerting.channel(webhook_receiver.url))
    config = TransportConfig(url=redis_server.url, data_dir=tmp_path, partitions=PARTITIONS)
    async with alerting.sending(poll_s=5.0) as sender:
        record = alerting.control_plane.notifications.record
        app = create_notify_app(config, record=record, recorded=sender.wake, public_url="", crash=lambda _: None)
        await learn_topics(app)
        await app.start()
        taken = []
        for i in range(20):
            began = time.monotonic()
            await topic.send(alerting.message(monitor, 1, "ALERT", "OK", group=f"host={i}"))
            received = (await webhook_receiver.wait_for(i + 1))[i]
            taken.append(received.at_s - began)
        await app.stop()
    # Some 10 ms; what stands here is for a machine that does much else.
    assert sorted(taken)[10] < 0.4, taken
    print("transition to receiver, ms:", [round(each * 1000) for each in sorted(taken)])
