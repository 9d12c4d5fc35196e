"""What `aegis stores` and `aegis retention apply` do, on a real PostgreSQL and the real ClickHouse engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from storage.clickhouse import ClickHouse
from storage.clickhouse_inventory import clickhouse_inventory
from storage.clickhouse_retention import apply_clickhouse_retention
from storage.control_plane import ControlPlane
from storage.metrics_retention import apply_metrics_retention
from storage.postgres_inventory import CONTROL_PLANE, postgres_inventory
from storage.retention import Removed
from topics.errors import Unavailable

ACME, OTHER = "0c6f1a3e-6b0e-4a52-9f0a-6a3f6f1f2b11", "1c6f1a3e-6b0e-4a52-9f0a-6a3f6f1f2b12"

INSERT = """
INSERT INTO logs (org_id, ts, record_id, service, level, message, trace_id, span_id, host, environment, version, attributes,
    received_at, retention_days)
SELECT {org:String}, now64(9), number, 'api', 'info', 'a message that repeats', '', '', '', '', '', '{}',
    now64(3) - toIntervalDay({age:UInt16}), {keep:UInt16}
FROM numbers({rows:UInt32})
"""

METRICS = """
CREATE TABLE series (id integer PRIMARY KEY, org_id uuid NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE metrics (
    ts timestamptz NOT NULL, value double precision NOT NULL, block bigint NOT NULL, series_id integer NOT NULL
);
"""


@pytest.fixture
async def clickhouse(store_clickhouse: ClickHouse) -> AsyncIterator[ClickHouse]:
    """Expired rows stay until somebody asks: by itself the engine removes them at the next merge."""
    tables = ("logs",)
    for table in tables:
        await store_clickhouse.command(f"SYSTEM STOP TTL MERGES {table}")
    yield store_clickhouse
    for table in tables:
        await store_clickhouse.command(f"SYSTEM START TTL MERGES {table}")


async def _insert(clickhouse: ClickHouse, org: str, *, age: int, keep: int, rows: int) -> None:
    await clickhouse.command(INSERT, {"org": org, "age": age, "keep": keep, "rows": rows})


async def test_clickhouse_tables_and_organizations_are_counted(clickhouse: ClickHouse) -> None:
    await _insert(clickhouse, ACME, age=3, keep=30, rows=3000)
    await _insert(clickhouse, OTHER, age=0, keep=30, rows=1000)
    tables, organizations = await clickhouse_inventory(clickhouse, by_organization=True)
    logs = next(each for each in tables if each.table == "logs")
    assert (logs.store, logs.rows, logs.rows_are_estimated) == ("clickhouse", 4000, False)
    assert logs.bytes > 0
    assert logs.compression_ratio is not None
    assert logs.compression_ratio > 2
    now = datetime.now(UTC)
    assert logs.oldest is not None
    assert logs.newest is not None
    assert abs(logs.oldest - (now - timedelta(days=3))) < timedelta(minutes=5)
    assert abs(logs.newest - now) < timedelta(minutes=5)
    parts = {each.organization_id: each for each in organizations if each.table == "logs"}
    assert {org: each.rows for org, each in parts.items()} == {ACME: 3000, OTHER: 1000}
    assert abs(sum(each.bytes_estimate for each in parts.values()) - logs.bytes) <= 1
    assert parts[ACME].oldest == parts[ACME].newest == logs.oldest


async def test_an_empty_table_is_shown_too(clickhouse: ClickHouse) -> None:
    tables, organizations = await clickhouse_inventory(clickhouse, by_organization=True)
    logs = next(each for each in tables if each.table == "logs")
    assert (logs.rows, logs.oldest, logs.newest, logs.compression_ratio) == (0, None, None, None)
    assert [each for each in organizations if each.table == "logs"] == []


async def test_only_what_has_expired_is_removed_from_clickhouse(clickhouse: ClickHouse) -> None:
    await _insert(clickhouse, ACME, age=40, keep=30, rows=700)
    await _insert(clickhouse, OTHER, age=40, keep=60, rows=50)
    await _insert(clickhouse, ACME, age=400, keep=0, rows=20)
    await _insert(clickhouse, ACME, age=0, keep=30, rows=10)
    assert (await _count(clickhouse)) == 780
    removed = [each for each in await apply_clickhouse_retention(clickhouse) if each.table == "logs"]
    assert removed == [Removed("clickhouse", "logs", 700, "rows")]
    assert (await _count(clickhouse)) == 80
    assert [each for each in await apply_clickhouse_retention(clickhouse) if each.table == "logs"] == []


async def _count(clickhouse: ClickHouse) -> int:
    return (await clickhouse.read("SELECT count() FROM logs", tuple[int], doing="count")).rows[0][0]


async def test_the_control_plane_is_counted(store_control_plane: ControlPlane, store_dsn: str) -> None:
    acme = await store_control_plane.organizations.create("acme")
    for _ in range(3):
        await store_control_plane.api_keys.create(acme.scope)
    tables, organizations = await postgres_inventory(store_dsn, by_organization=True)
    assert {each.table for each in tables} == CONTROL_PLANE
    assert {each.store for each in tables} == {"control_plane"}
    rows = {each.table: each.rows for each in tables}
    assert (rows["organizations"], rows["api_keys"], rows["users"]) == (1, 3, 0)
    keys = next(each for each in tables if each.table == "api_keys")
    assert keys.bytes >= 8192
    assert keys.oldest is not None
    [part] = [each for each in organizations if each.table == "api_keys"]
    assert (part.organization_id, part.rows, part.bytes_estimate) == (acme.id, 3, keys.bytes)


@pytest.fixture
async def metrics(store_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """The two tables of plain PostgreSQL that matter here."""
    connection = await asyncpg.connect(store_dsn)
    await connection.execute(METRICS)
    await connection.execute(
        "INSERT INTO series VALUES (1, $1::uuid), (2, $2::uuid)".replace("$1", f"'{ACME}'").replace("$2", f"'{OTHER}'")
    )
    yield connection
    await connection.close()


async def _add_samples(connection: Any, series: int, *, age_days: float, count: int) -> None:
    await connection.execute(
        "INSERT INTO metrics SELECT now() - $2 * interval '1 day', n, 1, $1 FROM generate_series(1, $3::int) n",
        series,
        age_days,
        count,
    )


async def test_samples_are_counted_by_the_organization_of_their_series(
    metrics: asyncpg.Connection, store_dsn: str
) -> None:
    await _add_samples(metrics, 1, age_days=2, count=300)
    await _add_samples(metrics, 2, age_days=1, count=100)
    tables, organizations = await postgres_inventory(store_dsn, by_organization=True)
    samples = next(each for each in tables if each.table == "metrics")
    assert (samples.store, samples.rows) == ("metrics", 400)
    assert {each.organization_id: each.rows for each in organizations if each.table == "metrics"} == {
        ACME: 300,
        OTHER: 100,
    }


async def test_old_samples_go_in_batches_and_young_ones_stay(metrics: asyncpg.Connection, store_dsn: str) -> None:
    for age_days, count in ((40, 5000), (29.9, 3000), (31, 5000), (0, 2000)):
        await _add_samples(metrics, 1, age_days=age_days, count=count)
    assert await metrics.fetchval("SELECT pg_relation_size('metrics') / 8192") > 4 * 10
    assert await apply_metrics_retention(store_dsn, batch_pages=10) == [Removed("metrics", "metrics", 10_000, "rows")]
    assert await metrics.fetchval("SELECT count(*) FROM metrics") == 5000
    assert await apply_metrics_retention(store_dsn, batch_pages=10) == []


async def test_a_database_without_metrics_has_nothing_to_remove(store_dsn: str) -> None:
    assert await apply_metrics_retention(store_dsn) == []


async def test_a_store_that_is_away_is_unavailable() -> None:
    for call in (apply_metrics_retention, postgres_inventory):
        with pytest.raises(Unavailable):
            await asyncio.wait_for(call("postgresql://aegis@127.0.0.1:1/aegis"), 10)


async def test_timescaledb_is_looked_at_and_drops_old_chunks(store_timescale_address: Any) -> None:
    """Hypertables go by their names, also those behind the continuous aggregates, and what is dropped is counted."""
    dsn = store_timescale_address.dsn
    connection = await asyncpg.connect(dsn)
    try:
        for age_days in (45, 1):
            await connection.execute(f"INSERT INTO metrics VALUES (now() - interval '{age_days} days', 1, 1, 1)")
    finally:
        await connection.close()
    tables, _ = await postgres_inventory(dsn)
    names = [each.table for each in tables]
    assert len(names) == len(set(names))
    assert {"metrics", "metrics_1m_summaries", "metrics_5m_summaries", "metrics_1h_summaries", "series"} <= set(names)
    before = next(each for each in tables if each.table == "metrics")
    assert before.rows_are_estimated
    assert before.bytes > 0
    assert before.oldest is not None
    assert before.oldest < datetime.now(UTC) - timedelta(days=44)
    removed = {each.table: each for each in await apply_metrics_retention(dsn)}
    assert removed["metrics"].unit == "chunks"
    assert removed["metrics"].count >= 1
    after = next(each for each in (await postgres_inventory(dsn))[0] if each.table == "metrics")
    assert after.oldest is not None
    assert after.oldest > datetime.now(UTC) - timedelta(days=32)
    assert await apply_metrics_retention(dsn) == []
