"""The store agent on real streams: an announced range is repeated whole, whatever the buffers hold, and a stop is quick."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import redis.asyncio as aioredis

from agents.app import Stores, create_store_app, learn_topics
from agents.blocks import BlockBounds
from topics.errors import Unavailable
from topics.faust_app import EmbeddedApp, TransportConfig
from topics.log_columns import LOG_MESSAGES, SCHEMA
from topics.names import LOGS, READERS, STORE_GROUP
from topics.redis_streams.catalogue import declare_topics
from topics.redis_streams.entries import encode_entry
from topics.redis_streams.intents import Intent
from topics.redis_streams.keys import Keys

MESSAGES = 6000


class KeptBlocks:
    """A log store that keeps what it is given, by token, or is away."""

    def __init__(self) -> None:
        self.blocks: dict[str, int] = {}
        self.away = False

    async def insert(self, arrow_stream: bytes, *, rows: int, token: str) -> None:
        if self.away:
            raise Unavailable("away")
        with pa.ipc.open_stream(arrow_stream) as reader:
            assert sum(batch.num_rows for batch in reader) == rows
        self.blocks.setdefault(token, rows)


@pytest.fixture
async def stream(redis_server: Any) -> AsyncIterator[aioredis.Redis]:
    """One partition of `logs` with more messages waiting than a worker buffers, one row each."""
    client = aioredis.Redis.from_url(redis_server.url)
    await declare_topics(client, dict.fromkeys(READERS, 1), readers=READERS)
    texts = pa.array(["x"])
    made = {"record_id": pa.array([1], pa.uint64()), "retention_days": pa.array([1], pa.uint16())}
    for name, unit in (("ts", "ns"), ("received_at", "ms")):
        made[name] = pa.array([1], pa.int64()).cast(pa.timestamp(unit, "UTC"))
    columns = pa.record_batch([made.get(name, texts) for name in SCHEMA.names], schema=SCHEMA)
    value, headers = LOG_MESSAGES.message(columns)
    entry = encode_entry(value, headers=headers, timestamp_ms=1)
    pipeline = client.pipeline(transaction=False)
    for _ in range(MESSAGES):
        pipeline.execute_command("XADD", Keys().stream(LOGS, 0), "0-*", *entry)
    await pipeline.execute()
    yield client
    await client.aclose()


def store_app(redis_server: Any, folder: Path, store: Any) -> tuple[EmbeddedApp, list[BaseException]]:
    crashes: list[BaseException] = []
    config = TransportConfig(url=redis_server.url, data_dir=folder, partitions=1, lease_s=1.0)
    bounds = BlockBounds(age_s=0.05)
    return create_store_app(
        config, stores=Stores(store, store, store, store), bounds=bounds, crash=crashes.append
    ), crashes


async def until(done: Callable[[], bool], within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_a_range_longer_than_the_buffer_is_repeated_whole(
    redis_server: Any, stream: aioredis.Redis, tmp_path: Path
) -> None:
    """The successor once stopped reading before the range's end, and the partition stood still for ever."""
    store = KeptBlocks()
    store.away = True
    first, _ = store_app(redis_server, tmp_path, store)
    await learn_topics(first)
    await first.start()
    (tp,) = [tp for tp in first.streams.assignment() if tp.topic == LOGS]
    await asyncio.sleep(0.5)
    await first.streams.write_intent(tp, Intent(1, 5000, "of the predecessor"))
    await first.stop()
    store.away = False

    second, crashes = store_app(redis_server, tmp_path, store)
    await learn_topics(second)
    await second.start()
    await until(lambda: sum(store.blocks.values()) >= MESSAGES)
    await second.stop()
    assert store.blocks.pop("of the predecessor") == 5000
    assert sum(store.blocks.values()) == MESSAGES - 5000
    assert int(await stream.hget(Keys().committed(LOGS, 0), STORE_GROUP) or 0) == MESSAGES + 1
    assert crashes == []


async def test_a_stop_over_an_absent_store_is_quick_and_loses_nothing(
    redis_server: Any, stream: aioredis.Redis, tmp_path: Path
) -> None:
    store = KeptBlocks()
    store.away = True
    app, _ = store_app(redis_server, tmp_path, store)
    await learn_topics(app)
    await app.start()
    await until(lambda: sum(app.streams.status().pending_messages.values()) > 1000)
    begin = time.monotonic()
    await app.stop()
    assert time.monotonic() - begin < 2.0
    assert int(await stream.hget(Keys().committed(LOGS, 0), STORE_GROUP) or 0) == 1

    store.away = False
    again, _ = store_app(redis_server, tmp_path, store)
    await learn_topics(again)
    await again.start()
    await until(lambda: sum(store.blocks.values()) >= MESSAGES)
    await again.stop()
    assert sum(store.blocks.values()) == MESSAGES


async def test_a_lost_fence_at_an_intent_reads_the_partition_again(
    redis_server: Any, stream: aioredis.Redis, tmp_path: Path
) -> None:
    """The writer drops its block then; were the partition not given up, nobody would read it again."""
    store = KeptBlocks()
    store.away = True
    app, crashes = store_app(redis_server, tmp_path, store)
    await learn_topics(app)
    await app.start()
    await until(lambda: sum(app.streams.status().pending_messages.values()) > 1000)
    await stream.set(Keys().epoch(STORE_GROUP, 0), "999:somebody else")
    store.away = False
    await until(lambda: sum(store.blocks.values()) >= MESSAGES)
    await app.stop()
    assert sum(store.blocks.values()) == MESSAGES
    assert crashes == []
