"""The store is away until Redis is nearly full: requests are refused, agents pause below the bound, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from aegis.settings import load_settings
from aegis.wiring import opened_stream_store
from topics.errors import Unavailable
from topics.names import LOGS, LOGS_RAW
from topics.raw import RawBatch
from topics.redis_streams.keys import Keys

BOUND = 64 << 20
LOG = {"timestamp": "2025-10-31T10:00:00Z", "service": "api", "level": "info"}


@pytest.fixture
def small(new_instance: Callable[..., Any]) -> Any:
    """An instance whose Redis holds little."""
    started = new_instance(AEGIS_REDIS_MAXMEMORY_BYTES=str(BOUND), AEGIS_PARTITIONS="2")
    started.start()
    return started


def fill(settings: Any, org_id: str) -> int:
    """Add requests of one log, as the gateway does and through its producer, until it refuses; how many were taken."""
    headers = RawBatch(org_id, "r", int(time.time() * 1000), 30, b"").headers()

    async def add() -> int:
        taken = 0
        async with opened_stream_store(settings, adds_to=[LOGS_RAW]) as store:
            while True:
                bodies = [
                    json.dumps({"logs": [LOG | {"message": f"{number:06d}" + "x" * 500}]}).encode()
                    for number in range(taken, taken + 100)
                ]
                try:
                    await store.add_batch(LOGS_RAW, bodies, headers)
                except Unavailable:
                    return taken
                taken += 100
                await asyncio.sleep(0.005)

    return asyncio.run(add())


def used(client: redis.Redis) -> int:
    facts: Any = client.info("memory")
    return int(facts["used_memory"])


def waits_for_the_store(client: redis.Redis) -> int:
    sizes: Any = [client.memory_usage(Keys().stream(LOGS, partition)) for partition in range(2)]
    return sum(size or 0 for size in sizes)


def unread(client: redis.Redis) -> int:
    lengths: Any = [
        client.xlen(Keys().stream(topic, partition)) for topic in (LOGS, LOGS_RAW) for partition in range(2)
    ]
    return sum(lengths)


def test_with_the_store_away_agents_stop_below_the_bound_and_nothing_is_lost(
    small: Any, stopped: Callable[..., Any]
) -> None:
    organization = small.organization("full")
    settings = load_settings(small.data_dir)
    client = redis.Redis.from_url(settings.transport_url)
    with stopped(small, "clickhouse"):
        with stopped(small, "worker"):
            taken = fill(settings, organization.org_id)
            assert taken > 20_000
        # A request of one log takes three times its size as columns: normalizing all of them would be more than Redis holds.
        # Looked at until normalizing has stopped for two seconds, which takes a busy machine long.
        peak, before, since, until = 0, -1, time.monotonic(), time.monotonic() + 90
        while time.monotonic() - since < 2 or peak <= BOUND * 0.85:
            assert time.monotonic() < until, (
                f"normalizing goes on: {before} bytes wait for the store, Redis held {peak}"
            )
            peak = max(peak, used(client))
            if (now := waits_for_the_store(client)) != before:
                before, since = now, time.monotonic()
            time.sleep(0.02)
        assert BOUND * 0.85 < peak < BOUND
        assert before > BOUND // 16
        time.sleep(1)
        assert waits_for_the_store(client) == before, "normalizing goes on"
        errors: Any = client.info("errorstats")
        assert "errorstat_OOM" not in errors, "Redis refused a commit for want of memory"
        response = organization.post(json.dumps({"logs": [LOG | {"message": "refused"}]}).encode())
        assert response.status_code == 503, response.text
        assert int(response.headers["retry-after"]) >= 1
    deadline = time.monotonic() + 90
    while unread(client):
        assert time.monotonic() < deadline, f"{unread(client)} messages are still to be worked on"
        time.sleep(0.1)
    found = organization.found()
    assert len(found) == taken
    assert len({log["message"][:6] for log in found}) == taken
    assert waits_for_the_store(client) < BOUND // 16
    organization.send([LOG | {"message": "taken again"}])
    assert len(organization.found_in_time(taken + 1)) == taken + 1
    client.close()
