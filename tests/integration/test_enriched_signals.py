"""Through real streams and into the real store: what enrichment adds is there, and a bad record is a dead letter of its own."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as aioredis
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from agents.app import Stores, create_normalize_app, create_store_app, learn_topics
from agents.blocks import BlockBounds
from agents.scrubbers import Scrubbers
from enrichment.attributes import Enrichment
from enrichment.locations import Locations
from enrichment.user_agents import UserAgents
from privacy.policy import Policy
from storage.clickhouse import ClickHouse
from storage.log_selection import LogSelection
from storage.logs import LogRow, LogStore
from storage.rum import RumStore
from storage.scope import OrgScope
from storage.spans import SpanStore
from topics.dead_letters import DeadLetters
from topics.faust_app import TransportConfig
from topics.names import LOGS_RAW, READERS
from topics.raw import RawBatch
from topics.redis_streams.catalogue import declare_topics
from topics.redis_streams.entries import encode_entry
from topics.redis_streams.keys import Keys
from topics.redis_streams.stream_producer import StreamProducer
from topics.redis_streams.stream_store import RedisStreamStore

GOOD = {"timestamp": 1_761_904_800, "service": "api", "level": "WARNING", "message": "good",
        "attributes": {"client_ip": "91.64.1.2", "user_agent": "curl/8.4.0"}}  # fmt: skip
BAD = GOOD | {"timestamp": "yesterday"}


async def no_policies() -> dict[str, Policy]:
    return {}


class NoPoints:
    """No metrics are sent here."""

    async def insert(self, *arguments: Any) -> Any:
        raise AssertionError


@pytest.fixture
def enrichment(tmp_path: Path) -> Enrichment:
    writer = MMDBWriter(database_type="GeoIP2-City")
    writer.insert_network(IPSet(["91.64.0.0/16"]), {"country": {"iso_code": "DE"}})
    writer.to_db_file(os.fspath(tmp_path / "city.mmdb"))
    locations = Locations(tmp_path / "city.mmdb")
    return Enrichment(locations, UserAgents(), address_names=["client_ip"], user_agent_names=["user_agent"])


@pytest.fixture
async def streams(
    redis_server: Any, store_clickhouse: ClickHouse, tmp_path: Path, enrichment: Enrichment
) -> AsyncIterator[tuple[aioredis.Redis, DeadLetters]]:
    redis = aioredis.Redis.from_url(redis_server.url)
    await declare_topics(redis, dict.fromkeys(READERS, 1), readers=READERS)
    crashes: list[Any] = []
    config = TransportConfig(url=redis_server.url, data_dir=tmp_path, partitions=1, lease_s=1.0)
    clickhouse = store_clickhouse
    stores = Stores(LogStore(clickhouse), SpanStore(clickhouse), RumStore(clickhouse), NoPoints())
    apps = [
        create_normalize_app(
            config, scrubbers=Scrubbers(no_policies, lambda _: bytes(16)), crash=crashes.append, enrichment=enrichment
        ),
        create_store_app(config, stores=stores, bounds=BlockBounds(age_s=0.05), crash=crashes.append),
    ]
    for app in apps:
        await learn_topics(app)
        await app.start()
    store = RedisStreamStore(config, StreamProducer(redis_server.url, topics=(), topic_bytes_max=1 << 20))
    yield redis, DeadLetters(store)
    await store.close()
    for app in reversed(apps):
        await app.stop()
    await redis.aclose()
    assert crashes == []


async def stored(clickhouse: ClickHouse, org_id: str, level: str, rows: int) -> list[LogRow]:
    deadline = time.monotonic() + 60
    while True:
        selection = LogSelection(start_ns=1_761_904_000 * 10**9, end_ns=1_761_905_000 * 10**9, level=level, limit=10)
        found = (await LogStore(clickhouse).search(OrgScope(org_id), selection)).rows
        if len(found) >= rows:
            return list(found)
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def test_one_bad_record_of_a_batch(
    streams: tuple[aioredis.Redis, DeadLetters], store_clickhouse: ClickHouse
) -> None:
    redis, letters = streams
    org_id = str(uuid.uuid4())
    body = json.dumps({"logs": [GOOD, BAD, GOOD | {"message": "too"}]}).encode()
    headers = [*RawBatch(org_id, "r", 1_761_904_800_500, 0, body).headers(), ("replays", b"2")]
    await redis.execute_command(
        "XADD", Keys().stream(LOGS_RAW, 0), "0-*", *encode_entry(body, headers=headers, timestamp_ms=1)
    )
    rows = await stored(store_clickhouse, org_id, "warn", 2)
    assert sorted(row.message for row in rows) == ["good", "too"]
    assert json.loads(rows[0].attributes) == GOOD["attributes"] | {
        "geo.country": "DE", "user_agent.browser": "curl", "user_agent.browser_version": "8.4",
        "user_agent.device_type": "other", "user_agent.is_bot": False,
    }  # fmt: skip
    (letter,) = (await letters.page()).letters
    assert (letter.letter.topic, letter.letter.offset, letter.letter.agent) == (LOGS_RAW, 1, "normalize_logs")
    assert (letter.letter.code, letter.letter.replays) == ("invalid_field", 2)
    value = await letters.read_value(letter.id)
    assert value is not None
    assert json.loads(value) == {"logs": [BAD]}
    assert RawBatch.from_message(value, letter.letter.headers).org_id == org_id
    await asyncio.sleep(0.3)
    assert len(await stored(store_clickhouse, org_id, "warn", 2)) == 2
