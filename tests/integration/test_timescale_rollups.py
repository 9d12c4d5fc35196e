"""What only the real TimescaleDB has: hypertable, continuous aggregates, policies, compression, retention. They share a
database that no other tests use, because what a refresh has passed is not computed from samples any more; each test takes an
organization of its own and leaves the policies on."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import numpy as np
import pytest

from storage.metric_selection import MetricSelection
from storage.metrics import MetricStore, SourceRange
from storage.migrations import migrate
from storage.scope import OrgScope
from storage.timescale import Timescale, TimescaleAddress
from topics.metric_columns import MetricBatch, Series, encode_series

S = 1_000_000
DAY_S = 86_400
ROLLUPS = {"1m": 60, "5m": 300, "1h": 3600}


@pytest.fixture
async def timescale(store_rollups_address: TimescaleAddress) -> AsyncIterator[Timescale]:
    opened = await Timescale.open(store_rollups_address)
    yield opened
    await opened.close()


@pytest.fixture
async def database(store_rollups_address: TimescaleAddress) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(store_rollups_address.dsn)
    yield connection
    await connection.close()


@pytest.fixture
def store(timescale: Timescale) -> MetricStore:
    return MetricStore(timescale, series_max=1000)


@pytest.fixture
def scope() -> OrgScope:
    return OrgScope(str(uuid.uuid4()))


async def insert(
    store: MetricStore, scope: OrgScope, start_s: int, samples: int, *, series: int = 2, step_s: int = 15
) -> None:
    """Counters that rise by 0 to 9 a step and are reset now and then; one NaN a series."""
    random = np.random.default_rng(start_s)
    rises = random.integers(0, 10, (series, samples)).cumsum(axis=1).astype(float) % 97
    rises[:, samples // 2] = np.nan
    texts = [encode_series(Series("m", {"n": str(n)}, "counter", "")) for n in range(series)]
    ts_us = np.tile((start_s + np.arange(samples) * step_s) * S, series)
    columns = MetricBatch(texts, np.repeat(np.arange(series, dtype=np.int32), samples), ts_us, rises.ravel())
    await store.insert([(scope, columns)], SourceRange(uuid.uuid4().hex, "metrics", 0, 1, 1))


async def jobs(database: asyncpg.Connection, view: str, kind: str) -> list[asyncpg.Record]:
    return await database.fetch(
        "SELECT job_id, schedule_interval, config::jsonb AS config FROM timescaledb_information.jobs"
        " WHERE hypertable_name = $1 AND proc_name = $2 ORDER BY (config ->> 'end_offset')::interval",
        view, kind,
    )  # fmt: skip


async def answers(store: MetricStore, scope: OrgScope, start_s: int, end_s: int) -> dict[tuple[str, int], Any]:
    """Every question by every step, so that two sources can be compared."""
    selection = MetricSelection("m", start_s * S, end_s * S)
    found: dict[tuple[str, int], Any] = {}
    for step_s in (*ROLLUPS.values(), 7200):
        for aggregation in ("avg", "sum", "min", "max", "count"):
            points = await store.query(scope, selection, step_us=step_s * S, aggregation=aggregation)  # type: ignore[arg-type]  # one of the literals
            found[aggregation, step_s] = [(point.ts_us, pytest.approx(point.value)) for point in points]
        points = await store.increase(scope, selection, step_us=step_s * S)
        found["increase", step_s] = [(point.ts_us, pytest.approx(point.value)) for point in points]
    return found


class SamplesOnly:
    """A pool whose server is said to keep no rollups, so that everything is computed from the samples."""

    def __init__(self, timescale: Timescale) -> None:
        self.pool = timescale.pool
        self._timescale = timescale

    async def capabilities(self) -> Any:
        known = await self._timescale.capabilities()
        return type(known)(known.version, rollups_are_kept=False, compresses_copies=False)


async def test_the_tables_are_hypertables_of_one_day(database: asyncpg.Connection) -> None:
    row = await database.fetchrow(
        "SELECT d.column_name, d.time_interval, h.compression_enabled FROM timescaledb_information.hypertables h"
        " JOIN timescaledb_information.dimensions d USING (hypertable_name) WHERE hypertable_name = 'metrics'"
    )
    assert row is not None
    assert row["column_name"] == "ts"
    assert row["time_interval"].days == 1
    assert row["compression_enabled"]
    views = await database.fetch(
        "SELECT view_name, materialized_only FROM timescaledb_information.continuous_aggregates"
    )
    assert {row["view_name"]: row["materialized_only"] for row in views} == {
        f"metrics_{step}_summaries": False for step in ROLLUPS
    }
    indexes = await database.fetch("SELECT indexname FROM pg_indexes WHERE tablename = 'metrics'")
    assert [row["indexname"] for row in indexes] == ["metrics_series_id_ts_idx"]


async def test_the_policies_are_those_of_the_mission(database: asyncpg.Connection) -> None:
    expected = {"1m": (30, "7 days"), "5m": (120, "30 days"), "1h": (600, "365 days")}
    for step, (every_s, kept) in expected.items():
        view = f"metrics_{step}_summaries"
        often, late = await jobs(database, view, "policy_refresh_continuous_aggregate")
        assert often["schedule_interval"].total_seconds() == every_s
        assert late["schedule_interval"].total_seconds() == 600
        retention = await jobs(database, view, "policy_retention")
        assert [f'"drop_after": "{kept}"' in row["config"] for row in retention] == [True]
        reach = await database.fetchval(
            "SELECT ($1::jsonb ->> 'start_offset')::interval < least(INTERVAL '30 days', $2::text::interval)",
            late["config"], kept,
        )  # fmt: skip
        assert reach, "a refresh beyond what is kept would erase the rollup"
    assert '"30 days"' in (await jobs(database, "metrics", "policy_retention"))[0]["config"]
    assert '"7 days"' in (await jobs(database, "metrics", "policy_compression"))[0]["config"]


async def test_refreshed_rollups_say_what_the_samples_say(
    store: MetricStore, timescale: Timescale, database: asyncpg.Connection, scope: OrgScope
) -> None:
    # Of yesterday: the next test writes today's.
    end_s = int(time.time()) // 7200 * 7200 - DAY_S
    start_s = end_s - 6 * 3600
    await insert(store, scope, start_s, 6 * 240)
    # Some are written again, so that refreshing has something to take the later of.
    await insert(store, scope, start_s + 3600, 200)
    samples_only = MetricStore(SamplesOnly(timescale), series_max=1)  # type: ignore[arg-type]  # all that is asked of it
    expected = await answers(samples_only, scope, start_s, end_s)
    assert expected["increase", 60]
    assert await answers(store, scope, start_s, end_s) == expected, "before a refresh"
    for step in ROLLUPS:
        await database.execute(
            f"CALL refresh_continuous_aggregate('metrics_{step}_summaries', NULL, to_timestamp({end_s}))"
        )
    kept = await database.fetchval(
        "SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)"
        " FROM timescaledb_information.continuous_aggregates WHERE view_name = 'metrics_1m_summaries'"
    )
    mine = "series_id IN (SELECT id FROM series WHERE org_id = $1)"
    assert await database.fetchval(f"SELECT count(*) FROM {kept} WHERE {mine}", scope.org_id) == 2 * 6 * 60
    assert await answers(store, scope, start_s, end_s) == expected, "after a refresh"
    row = await database.fetchrow(
        f"SELECT sum(count) AS count, sum(excluded) AS excluded, sum(resets) AS resets, min(first_ts) AS first_ts"
        f" FROM metrics_1m WHERE {mine}", scope.org_id
    )  # fmt: skip
    assert row is not None
    assert row["count"] + row["excluded"] == 2 * 6 * 240
    assert row["excluded"] >= 2
    assert row["resets"] > 0
    assert row["first_ts"].timestamp() == start_s


async def test_the_policies_do_their_work(store: MetricStore, database: asyncpg.Connection, scope: OrgScope) -> None:
    """What arrives on time, what arrives late, and samples so old that they are compressed."""
    now_s = int(time.time()) // 3600 * 3600
    await insert(store, scope, now_s - 1800, 100)
    await insert(store, scope, now_s - 3 * DAY_S, 100)
    await insert(store, scope, now_s - 10 * DAY_S, 500)
    mine = "series_id IN (SELECT id FROM series WHERE org_id = $1)"
    for step in ROLLUPS:
        for job in await jobs(database, f"metrics_{step}_summaries", "policy_refresh_continuous_aggregate"):
            await database.execute(f"CALL run_job({job['job_id']})")
    (compression,) = await jobs(database, "metrics", "policy_compression")
    await database.execute(f"CALL run_job({compression['job_id']})")
    compressed = await database.fetch(
        "SELECT range_start, is_compressed FROM timescaledb_information.chunks WHERE hypertable_name = 'metrics'"
        " AND range_end < now() - INTERVAL '8 days'"
    )
    assert compressed
    assert all(row["is_compressed"] for row in compressed)
    for step in ROLLUPS:
        counted = await database.fetchval(f"SELECT sum(count) FROM metrics_{step} WHERE {mine}", scope.org_id)
        # The policy of one minute does not reach ten days back.
        assert counted == 2 * (99 + 99 + (0 if step == "1m" else 499)), step
    series = [known.id for known in await store.find_series(scope, MetricSelection("m", 0, 0))]
    old = ((now_s - 10 * DAY_S) * S, (now_s - 9 * DAY_S) * S)
    samples = await store.read_samples(scope, series, *old)
    assert len(samples.value) == 1000
    assert np.isnan(samples.value).sum() == 2
    # A late write into what is compressed is taken, and counts as the later one.
    await insert(store, scope, now_s - 10 * DAY_S, 4)
    again = await store.read_samples(scope, series, *old)
    assert len(again.value) == 1000
    selection = MetricSelection("m", *old)
    points = await store.query(scope, selection, step_us=15 * S, aggregation="count")
    assert sum(point.value for point in points) == 998 - 2


async def test_retention_drops_what_is_too_old_and_keeps_the_rollups(
    store: MetricStore, database: asyncpg.Connection, scope: OrgScope
) -> None:
    now_s = int(time.time()) // 3600 * 3600
    await insert(store, scope, now_s - 40 * DAY_S, 50)
    await insert(store, scope, now_s - DAY_S, 50)
    window = f"to_timestamp({now_s - 41 * DAY_S}), to_timestamp({now_s - DAY_S // 2})"
    await database.execute(f"CALL refresh_continuous_aggregate('metrics_1h_summaries', {window})")
    series = [known.id for known in await store.find_series(scope, MetricSelection("m", 0, 0))]
    (retention,) = await jobs(database, "metrics", "policy_retention")
    await database.execute(f"CALL run_job({retention['job_id']})")
    left = await store.read_samples(scope, series, 0, now_s * S)
    assert len(left.value) == 100
    assert left.ts_us.min() == (now_s - DAY_S) * S
    # The late refresh does not reach what is gone, so the hour's rollup stays.
    for job in await jobs(database, "metrics_1h_summaries", "policy_refresh_continuous_aggregate"):
        await database.execute(f"CALL run_job({job['job_id']})")
    selection = MetricSelection("m", (now_s - 41 * DAY_S) * S, (now_s - 39 * DAY_S) * S)
    points = await store.query(scope, selection, step_us=3600 * S, aggregation="count")
    assert sum(point.value for point in points) == 98
    await insert(store, scope, now_s - 40 * DAY_S, 50)
    assert await database.fetchval("SELECT apply_metrics_retention()") >= 1
    assert len((await store.read_samples(scope, series, 0, now_s * S)).value) == 100


async def test_with_deletion_off_nothing_is_dropped_and_refreshes_reach_back(
    store_rollups_address: TimescaleAddress, store_postgres_server: Any, database: asyncpg.Connection
) -> None:
    where = {"control_plane_dsn": store_postgres_server.dsn(), "timescale_dsn": store_rollups_address.dsn}
    try:
        await migrate(**where, metrics_deletion=False)
        for view in ("metrics", *(f"metrics_{step}_summaries" for step in ROLLUPS)):
            assert await jobs(database, view, "policy_retention") == []
        for step in ROLLUPS:
            _, late = await jobs(database, f"metrics_{step}_summaries", "policy_refresh_continuous_aggregate")
            assert await database.fetchval("SELECT ($1::jsonb) ->> 'start_offset'", late["config"]) is None
    finally:
        await migrate(**where)
    kept = await jobs(database, "metrics_1h_summaries", "policy_refresh_continuous_aggregate")
    await migrate(**where)
    assert await jobs(database, "metrics_1h_summaries", "policy_refresh_continuous_aggregate") == kept


async def test_compressed_copies_are_left_to_servers_that_tell_the_aggregates(
    timescale: Timescale, database: asyncpg.Connection
) -> None:
    capabilities = await timescale.capabilities()
    version = await database.fetchval("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
    assert capabilities.version == version
    assert capabilities.rollups_are_kept
    assert capabilities.compresses_copies == (tuple(map(int, version.split(".")[:2])) >= (2, 24))
