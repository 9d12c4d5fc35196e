"""Settings -> the stores and the transport, opened, declared and migrated. Who may use them: aegis/access.py."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import redis.asyncio as aioredis
from redis.exceptions import RedisError

from aegis.settings import Settings
from storage.clickhouse import ClickHouse, ClickHouseAddress
from storage.metrics import MetricStore
from storage.migrations import AppliedMigration, migrate
from storage.timescale import Timescale, TimescaleAddress
from topics.errors import Refused, Unavailable
from topics.names import READERS
from topics.redis_streams.catalogue import declare_topics
from topics.redis_streams.config import TransportConfig
from topics.redis_streams.stream_producer import StreamProducer
from topics.redis_streams.stream_store import RedisStreamStore

log = logging.getLogger(__name__)


def clickhouse_address(settings: Settings) -> ClickHouseAddress:
    """Where ClickHouse is."""
    return ClickHouseAddress.parse(
        settings.clickhouse_host,
        settings.clickhouse_port,
        database=settings.clickhouse_database,
        user=settings.clickhouse_user,
        password=settings.clickhouse_password.get_secret_value(),
    )


@asynccontextmanager
async def opened_clickhouse(settings: Settings) -> AsyncIterator[ClickHouse]:
    """ClickHouse; it may be away."""
    async with ClickHouse(clickhouse_address(settings)) as clickhouse:
        yield clickhouse


def timescale_address(settings: Settings) -> TimescaleAddress:
    """Where metrics are stored."""
    return TimescaleAddress(
        settings.timescale_host,
        settings.timescale_port,
        database=settings.timescale_database,
        user=settings.timescale_user,
        password=settings.timescale_password.get_secret_value(),
    )


@asynccontextmanager
async def opened_timescale(settings: Settings) -> AsyncIterator[Timescale]:
    """TimescaleDB, or the plain PostgreSQL that serves in its place; it may be away."""
    cached = 100 if settings.timescale_statement_cache else 0
    timescale = await Timescale.open(timescale_address(settings), statement_cache_size=cached)
    try:
        yield timescale
    finally:
        await timescale.close()


@asynccontextmanager
async def opened_metrics(settings: Settings) -> AsyncIterator[MetricStore]:
    """The store of metrics; its server may be away."""
    async with opened_timescale(settings) as timescale:
        yield MetricStore(timescale, series_max=settings.series_max)


@asynccontextmanager
async def opened_redis(settings: Settings) -> AsyncIterator[aioredis.Redis]:
    """A plain Redis client, for what is not on the hot path."""
    client = aioredis.Redis.from_url(settings.transport_url, socket_connect_timeout=2, socket_timeout=5)
    try:
        yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def opened_stream_store(settings: Settings, *, adds_to: Sequence[str] = ()) -> AsyncIterator[RedisStreamStore]:
    """Topics for commands. It adds to the topics of `adds_to` alone, within the bounds that the gateway keeps too."""
    producer = StreamProducer(settings.transport_url, topics=adds_to, topic_bytes_max=settings.stream_bytes_max)
    store = RedisStreamStore(TransportConfig(url=settings.transport_url, data_dir=settings.data_dir), producer)
    try:
        if adds_to:
            await producer.start()
        yield store
    finally:
        await store.close()
        await producer.close()


async def declare_all_topics(settings: Settings) -> None:
    """Make every topic and every group that reads it known. Raises `Unavailable`, or `Refused` for a wrong AEGIS_PARTITIONS."""
    async with opened_redis(settings) as client:
        try:
            await declare_topics(client, dict.fromkeys(READERS, settings.partitions), readers=READERS)
        except (RedisError, OSError) as exc:
            raise Unavailable(f"cannot reach Redis at {settings.transport_address}: {exc}") from exc
        except Refused as exc:
            raise Refused(f"{exc.reason}; set AEGIS_PARTITIONS to what it has", code="bad_setting") from exc


async def declare_all_topics_in_time(settings: Settings, stop: asyncio.Event) -> None:
    """`declare_all_topics`, again until Redis is there or `stop` is set."""
    said = False
    while not stop.is_set():
        try:
            await declare_all_topics(settings)
        except Unavailable as exc:
            if not said:
                log.warning("waiting: %s", exc)
            said = True
            await asyncio.sleep(0.5)
        else:
            return


async def migrate_all(settings: Settings, *, dry_run: bool = False) -> list[AppliedMigration]:
    """Bring every store to this version's schema."""
    return await migrate(
        control_plane_dsn=settings.database_url.get_secret_value(),
        clickhouse=clickhouse_address(settings),
        timescale_dsn=timescale_address(settings).dsn,
        metrics_deletion=settings.retention == "on",
        dry_run=dry_run,
    )
