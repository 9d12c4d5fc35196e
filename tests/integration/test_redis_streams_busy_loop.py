"""A worker whose event loop is busy keeps its partitions; one that hangs loses them."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis

from topics.faust_app import EmbeddedApp, TransportConfig, create_app
from topics.redis_streams.catalogue import declare_topics
from topics.redis_streams.keys import Keys
from topics.redis_streams.scripts import CLAIM

KEYS = Keys()
LEASE_S = 0.8


class Rival(threading.Thread):
    """Another member, in a thread of its own, that takes the partition as soon as it can."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.taken_after_s: float | None = None
        self.stopping = threading.Event()
        self._client = redis.Redis(port=port)

    def run(self) -> None:
        began = time.monotonic()
        while not self.stopping.wait(0.02):
            (epoch,) = self._client.eval(CLAIM, 2, KEYS.lease("g", 0), KEYS.epoch("g", 0), "rival", "5000", "1")
            if epoch:
                self.taken_after_s = time.monotonic() - began
                break
        self._client.close()


@pytest.fixture
async def blocked(redis_server: Any, tmp_path: Path) -> AsyncIterator[Any]:
    """Starts an app whose agent blocks the event loop for so long while a rival waits; gives the rival and the app."""
    client = redis.asyncio.Redis(port=redis_server.port, protocol=2)
    await declare_topics(client, {"a": 1}, readers={"a": ("g",)})
    config = TransportConfig(url=redis_server.url, data_dir=tmp_path / "faust", partitions=1, lease_s=LEASE_S)
    running: list[EmbeddedApp] = []

    async def block(seconds: float, **options: Any) -> tuple[Rival, EmbeddedApp, list[bytes]]:
        app = create_app("g", dataclasses.replace(config, **options))
        running.append(app)
        done: list[bytes] = []
        rival = Rival(redis_server.port)

        @app.agent(app.topic("a"))
        async def compute(stream: Any) -> None:
            async for event in stream.events():
                if not done:
                    rival.start()
                    time.sleep(seconds)
                done.append(event.value)

        await app.start()
        await client.execute_command("XADD", KEYS.stream("a", 0), "0-*", "v", "x", "t", 1)
        async with asyncio.timeout(10):
            while not done:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        rival.stopping.set()
        rival.join()
        return rival, app, done

    yield block
    for app in running:
        await asyncio.wait_for(app.stop(), 10)
    await client.aclose()


async def test_a_busy_loop_keeps_its_partitions(blocked: Any) -> None:
    rival, app, done = await blocked(2.5 * LEASE_S)
    assert rival.taken_after_s is None
    assert app.streams.status().counts.fenced == 0
    assert app.streams.status().counts.messages_committed == 1
    assert done == [b"x"]


async def test_a_hanging_loop_loses_its_partitions(blocked: Any) -> None:
    rival, app, _ = await blocked(4.5 * LEASE_S, stall_max_s=LEASE_S)
    assert rival.taken_after_s is not None
    assert LEASE_S < rival.taken_after_s < 4 * LEASE_S
    assert app.streams.status().counts.fenced == 1
    assert app.streams.status().counts.messages_committed == 0
