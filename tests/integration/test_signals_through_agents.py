"""Raw requests of all four signals on real streams -> their stores, through the agents; one store away stops its signal alone."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis.asyncio as aioredis

from agents.app import Stores, create_normalize_app, create_store_app, learn_topics
from agents.blocks import BlockBounds
from agents.scrubbers import Scrubbers
from privacy.policy import Policy
from storage.clickhouse import ClickHouse
from storage.logs import LogStore
from storage.metrics import AlreadyStored, MetricsStored, SourceRange
from storage.rum import RumStore
from storage.scope import OrgScope
from storage.spans import SpanStore
from topics.errors import Unavailable
from topics.faust_app import EmbeddedApp, TransportConfig
from topics.metric_columns import MetricBatch, decode_series
from topics.names import LOGS_RAW, METRICS, METRICS_RAW, READERS, RUM_RAW, STORE_GROUP, TRACES_RAW
from topics.raw import RawBatch
from topics.redis_streams.catalogue import declare_topics
from topics.redis_streams.entries import encode_entry
from topics.redis_streams.keys import Keys

PARTITIONS = 2


async def no_policies() -> dict[str, Policy]:
    return {}


class Away:
    """A store that is away while it is told to be; otherwise the real one behind it."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.away = False

    async def insert(self, *arguments: Any, **named: Any) -> Any:
        if self.away:
            raise Unavailable("away")
        return await self.store.insert(*arguments, **named)


class KeptPoints:
    """A metrics store in memory: points and the next offset of a partition together."""

    def __init__(self) -> None:
        self.points: list[tuple[str, str, float]] = []
        self._next: dict[tuple[str, int], int] = {}

    async def insert(self, batches: Sequence[tuple[OrgScope, MetricBatch]], source: SourceRange) -> MetricsStored:
        place = (source.incarnation, source.partition)
        if source.first < self._next.get(place, 0):
            raise AlreadyStored(self._next[place])
        self._next[place] = source.last + 1
        for scope, batch in batches:
            for at, value in zip(batch.index, batch.value, strict=True):
                self.points.append((scope.org_id, decode_series(batch.series[at]).name, float(value)))
        return MetricsStored(sum(batch.points for _, batch in batches), 0, 0)


class Pipeline:
    """Both apps on one Redis, and the way in."""

    def __init__(self, redis: aioredis.Redis, stores: Stores, apps: list[EmbeddedApp], crashes: list[Any]) -> None:
        self.redis, self.stores, self.apps, self.crashes = redis, stores, apps, crashes
        self.org_id = str(uuid.uuid4())
        self._sent = 0

    async def send(self, topic: str, *requests: dict[str, Any]) -> None:
        pipeline = self.redis.pipeline(transaction=False)
        for request in requests:
            self._sent += 1
            batch = RawBatch(self.org_id, "r", int(time.time() * 1000), 0, json.dumps(request).encode())
            entry = encode_entry(batch.body, headers=batch.headers(), timestamp_ms=1)
            stream = Keys().stream(topic, self._sent % PARTITIONS)
            pipeline.execute_command("XADD", stream, "0-*", *entry)
        await pipeline.execute()


class Count(msgspec.Struct, array_like=True):
    rows: int
    distinct: int


async def counted(clickhouse: ClickHouse, table: str, org_id: str) -> tuple[int, int]:
    """Rows of an organization, and how many different record ids they have."""
    sql = f"SELECT count(), uniqExact(record_id) FROM {table} WHERE org_id = {{org_id:String}}"
    (count,) = (await clickhouse.read(sql, Count, {"org_id": org_id}, {}, doing="count")).rows
    return count.rows, count.distinct


async def until(done: Callable[[], Any], within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not (await result if asyncio.iscoroutine(result := done()) else result):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@pytest.fixture
async def pipeline(redis_server: Any, store_clickhouse: ClickHouse, tmp_path: Path) -> AsyncIterator[Pipeline]:
    redis = aioredis.Redis.from_url(redis_server.url)
    await declare_topics(redis, dict.fromkeys(READERS, PARTITIONS), readers=READERS)
    crashes: list[Any] = []
    stores = Stores(
        logs=Away(LogStore(store_clickhouse)),
        spans=Away(SpanStore(store_clickhouse)),
        rum=Away(RumStore(store_clickhouse)),
        metrics=Away(KeptPoints()),
    )
    config = TransportConfig(url=redis_server.url, data_dir=tmp_path, partitions=PARTITIONS, lease_s=1.0)
    apps = [
        create_normalize_app(config, scrubbers=Scrubbers(no_policies, lambda _: bytes(16)), crash=crashes.append),
        create_store_app(config, stores=stores, bounds=BlockBounds(age_s=0.05), crash=crashes.append),
    ]
    for app in apps:
        await learn_topics(app)
        await app.start()
    yield Pipeline(redis, stores, apps, crashes)
    for app in reversed(apps):
        await app.stop()
    await redis.aclose()
    assert crashes == []


def log(number: int) -> dict[str, Any]:
    return {"timestamp": 1_761_904_800, "service": "api", "level": "info", "message": str(number)}


def point(number: int) -> dict[str, Any]:
    return {"name": "up", "value": number, "labels": {"service": "api"}}


def span(number: int) -> dict[str, Any]:
    return {"trace_id": "t", "span_id": str(number), "service": "api", "operation": "o", "start_time": 1_761_904_800,
            "duration_ms": number, "events": [{"name": "e", "timestamp": 1_761_904_800}]}  # fmt: skip


def event(number: int) -> dict[str, Any]:
    return {"timestamp": 1_761_904_800, "type": "action", "session_id": "s", "name": str(number), "value": number}


async def test_every_signal_reaches_its_table_once(pipeline: Pipeline, store_clickhouse: ClickHouse) -> None:
    for first in range(0, 200, 20):
        numbers = range(first, first + 20)
        await pipeline.send(LOGS_RAW, {"logs": [log(n) for n in numbers]})
        await pipeline.send(METRICS_RAW, {"metrics": [point(n) for n in numbers]})
        await pipeline.send(TRACES_RAW, {"spans": [span(n) for n in numbers]})
        await pipeline.send(RUM_RAW, {"events": [event(n) for n in numbers]})
    points = pipeline.stores.metrics.store.points  # type: ignore[attr-defined]  # Away's

    async def all_stored() -> bool:
        tables = [await counted(store_clickhouse, name, pipeline.org_id) for name in ("logs", "spans", "rum_events")]
        return len(points) >= 200 and all(rows >= 200 for rows, _ in tables)

    await until(all_stored)
    await asyncio.sleep(0.3)
    for table in ("logs", "spans", "rum_events"):
        assert await counted(store_clickhouse, table, pipeline.org_id) == (200, 200)
    assert sorted(points) == [(pipeline.org_id, "up", float(n)) for n in range(200)]
    trace = await SpanStore(store_clickhouse).trace(OrgScope(pipeline.org_id), "t")
    assert sorted(int(row.span_id) for row in trace.spans) == list(range(200))
    assert {row.span_id: row.duration_ns for row in trace.spans} == {str(n): n * 1_000_000 for n in range(200)}
    assert json.loads(trace.spans[0].events)[0]["timestamp"] == "2025-10-31T10:00:00.000Z"


@pytest.mark.parametrize("away", ["metrics", "clickhouse"])
async def test_a_store_that_is_away_stops_its_signals_alone(
    pipeline: Pipeline, store_clickhouse: ClickHouse, away: str
) -> None:
    """More waits for the absent store than a worker may hold, on the partitions that the others use."""
    stores = pipeline.stores
    absent: list[Any] = [stores.metrics] if away == "metrics" else [stores.logs, stores.spans, stores.rum]
    for store in absent:
        store.away = True
    points = stores.metrics.store.points  # type: ignore[attr-defined]  # Away's
    requests = 10_000
    if away == "metrics":
        await pipeline.send(METRICS_RAW, *({"metrics": [point(n)]} for n in range(requests)))
    else:
        await pipeline.send(TRACES_RAW, *({"spans": [span(n)]} for n in range(requests)))
    status = pipeline.apps[1].streams.status
    held = METRICS if away == "metrics" else "traces"
    await until(lambda: sum(n for tp, n in status().pending_messages.items() if tp[0] == held) >= 2 * 4096)
    await pipeline.send(LOGS_RAW, *({"logs": [log(n)]} for n in range(500)))
    await pipeline.send(RUM_RAW, *({"events": [event(n)]} for n in range(500)))
    if away == "clickhouse":
        await pipeline.send(METRICS_RAW, *({"metrics": [point(n)]} for n in range(500)))
        await until(lambda: len(points) >= 500)
    else:

        async def others_stored() -> bool:
            tables = [await counted(store_clickhouse, name, pipeline.org_id) for name in ("logs", "rum_events")]
            return all(rows >= 500 for rows, _ in tables)

        await until(others_stored)
    pending = {tp: n for tp, n in status().pending_messages.items() if tp[0] == held}
    assert all(n <= 4096 + 256 for n in pending.values()), "what is held for an absent store is bounded"
    for store in absent:
        store.away = False

    async def everything_stored() -> bool:
        if away == "metrics":
            return len(points) >= requests
        return (await counted(store_clickhouse, "spans", pipeline.org_id))[0] >= requests

    await until(everything_stored, within_s=60)
    await asyncio.sleep(0.3)
    if away == "metrics":
        assert sorted(value for _, _, value in points) == [float(n) for n in range(requests)]
    else:
        assert await counted(store_clickhouse, "spans", pipeline.org_id) == (requests, requests)
        assert await counted(store_clickhouse, "logs", pipeline.org_id) == (500, 500)
    for partition in range(PARTITIONS):
        committed = await pipeline.redis.hget(Keys().committed(held, partition), STORE_GROUP)
        assert int(committed or 0) == requests // PARTITIONS + 1
