"""The runner on a real PostgreSQL and the embedded ClickHouse."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from storage.clickhouse import ClickHouse, ClickHouseAddress
from storage.migration_files import read_migrations
from storage.migrations import REPOSITORY, AppliedMigration, migrate
from storage.timescale import TimescaleAddress
from topics.errors import Refused, Unavailable


def _ids(applied: list[AppliedMigration]) -> list[tuple[str, int]]:
    return [(migration.target, migration.number) for migration in applied]


def _everything() -> list[tuple[str, int]]:
    control_plane = read_migrations("control_plane", REPOSITORY / "timescaledb/control_plane")
    clickhouse = read_migrations("clickhouse", REPOSITORY / "clickhouse/migrations")
    return [(migration.target, migration.number) for migration in control_plane + clickhouse]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the SQL folders that a test may change."""
    for folder in ("timescaledb", "clickhouse"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    return tmp_path


async def _tables(dsn: str) -> list[str]:
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    await connection.close()
    return [row[0] for row in rows]


def _add_ghosts(root: Path) -> None:
    """One more migration of the control plane than there are."""
    folder = root / "timescaledb/control_plane"
    last = len(read_migrations("control_plane", folder))
    (folder / f"{last + 1:04}_create_ghosts.sql").write_text("CREATE TABLE ghosts (id int);\n")


async def _count(address: ClickHouseAddress, sql: str) -> int:
    async with ClickHouse(ClickHouseAddress(address.host, address.port, database="")) as server:
        answer = await server.read(sql, tuple[int], {"database": address.database}, doing="count")
    return answer.rows[0][0]


async def test_from_empty_and_then_nothing(store_dsn: str, store_clickhouse_address: ClickHouseAddress) -> None:
    applied = await migrate(control_plane_dsn=store_dsn, clickhouse=store_clickhouse_address)
    assert _ids(applied) == _everything()
    assert all(migration.seconds > 0 for migration in applied)
    assert await migrate(control_plane_dsn=store_dsn, clickhouse=store_clickhouse_address) == []


async def test_a_dry_run_touches_nothing(store_dsn: str, store_clickhouse_address: ClickHouseAddress) -> None:
    planned = await migrate(control_plane_dsn=store_dsn, clickhouse=store_clickhouse_address, dry_run=True)
    assert _ids(planned) == _everything()
    assert await _tables(store_dsn) == []
    assert (
        await _count(
            store_clickhouse_address, "SELECT toUInt8(count()) FROM system.databases WHERE name = {database:String}"
        )
        == 0
    )
    await migrate(control_plane_dsn=store_dsn, clickhouse=store_clickhouse_address)
    assert await migrate(control_plane_dsn=store_dsn, clickhouse=store_clickhouse_address, dry_run=True) == []


async def test_a_dry_run_does_not_wait_for_the_lock(store_dsn: str) -> None:
    holder = await asyncpg.connect(store_dsn)
    await holder.execute("BEGIN")
    await holder.execute("SELECT pg_advisory_xact_lock($1)", 0x61656769735F6462)
    assert await migrate(control_plane_dsn=store_dsn, dry_run=True)
    with pytest.raises(Unavailable, match="lock"):
        await migrate(control_plane_dsn=store_dsn, lock_timeout_s=0.2)
    assert await _tables(store_dsn) == []
    await holder.close()


async def test_two_at_once_apply_each_migration_once(
    store_dsn: str, store_clickhouse_address: ClickHouseAddress
) -> None:
    runs = await asyncio.gather(
        *(migrate(control_plane_dsn=store_dsn, clickhouse=store_clickhouse_address) for _ in range(4))
    )
    assert sorted(_ids([migration for run in runs for migration in run])) == sorted(_everything())
    sql = "SELECT toUInt8(count()) FROM system.tables WHERE database = {database:String} AND name = 'logs'"
    assert await _count(store_clickhouse_address, sql) == 1


async def test_a_failing_file_leaves_nothing_behind_and_those_before_it_stay(store_dsn: str, root: Path) -> None:
    folder = root / "timescaledb/control_plane"
    last = len(read_migrations("control_plane", folder))
    bad = folder / f"{last + 1:04}_create_ghosts.sql"
    bad.write_text("CREATE TABLE ghosts (id int);\nSELECT 1 / 0;\n")
    with pytest.raises(Refused, match="create_ghosts: division by zero"):
        await migrate(control_plane_dsn=store_dsn, root=root)
    assert "ghosts" not in await _tables(store_dsn)
    assert "api_keys" in await _tables(store_dsn)
    bad.write_text("CREATE TABLE ghosts (id int);\n")
    assert _ids(await migrate(control_plane_dsn=store_dsn, root=root)) == [("control_plane", last + 1)]


async def test_a_changed_file_stops_every_target(
    store_dsn: str, store_clickhouse_address: ClickHouseAddress, root: Path
) -> None:
    await migrate(control_plane_dsn=store_dsn, clickhouse=store_clickhouse_address, root=root)
    changed = root / "clickhouse/migrations/0001_create_logs.sql"
    changed.write_text(changed.read_text() + "-- changed\n")
    _add_ghosts(root)
    for dry_run in (True, False):
        with pytest.raises(Refused, match="0001_create_logs was changed"):
            await migrate(control_plane_dsn=store_dsn, clickhouse=store_clickhouse_address, root=root, dry_run=dry_run)
    assert "ghosts" not in await _tables(store_dsn)


async def test_a_newer_database_is_refused(store_dsn: str, root: Path) -> None:
    _add_ghosts(root)
    await migrate(control_plane_dsn=store_dsn, root=root)
    with pytest.raises(Refused, match="it is newer"):
        await migrate(control_plane_dsn=store_dsn)


async def test_a_crash_before_the_record_is_repaired(
    store_dsn: str, store_clickhouse_address: ClickHouseAddress
) -> None:
    """ClickHouse has no transactions: the tables are there and the record is not."""
    await migrate(control_plane_dsn=store_dsn, clickhouse=store_clickhouse_address)
    async with ClickHouse(store_clickhouse_address) as clickhouse:
        await clickhouse.command("TRUNCATE TABLE schema_migrations")
    applied = await migrate(control_plane_dsn=store_dsn, clickhouse=store_clickhouse_address)
    assert {migration.target for migration in applied} == {"clickhouse"}


async def test_metrics_may_share_a_database_and_plain_postgresql_gets_plain_tables(store_dsn: str, root: Path) -> None:
    applied = await migrate(control_plane_dsn=store_dsn, timescale_dsn=store_dsn, root=root)
    compat = read_migrations("timescaledb_compat", root / "timescaledb/compat")
    assert [one for one in _ids(applied) if one[0] != "control_plane"] == [(m.target, m.number) for m in compat]
    assert {"metrics", "series", "organizations"} <= set(await _tables(store_dsn))
    assert await migrate(control_plane_dsn=store_dsn, timescale_dsn=store_dsn, root=root) == []
    changed = root / "timescaledb/compat/0001_create_series.sql"
    changed.write_text(changed.read_text() + "-- changed\n")
    with pytest.raises(Refused, match="0001_create_series was changed"):
        await migrate(control_plane_dsn=store_dsn, timescale_dsn=store_dsn, root=root)


async def test_timescaledb_from_empty_and_then_nothing(store_dsn: str, store_timescale_fresh: Any) -> None:
    dsn = store_timescale_fresh.address.dsn
    planned = await migrate(control_plane_dsn=store_dsn, timescale_dsn=dsn, dry_run=True)
    assert await _tables(dsn) == []
    applied = await migrate(control_plane_dsn=store_dsn, timescale_dsn=dsn)
    assert _ids(applied) == _ids(planned)
    known = read_migrations("timescaledb", REPOSITORY / "timescaledb/migrations")
    assert [one for one in _ids(applied) if one[0] != "control_plane"] == [(m.target, m.number) for m in known]
    assert await migrate(control_plane_dsn=store_dsn, timescale_dsn=dsn) == []


async def test_a_database_does_not_change_its_kind(store_dsn: str, store_timescale_address: TimescaleAddress) -> None:
    """Each record is what the other kind of server would find."""
    connection = await asyncpg.connect(store_timescale_address.dsn)
    await connection.execute("UPDATE schema_migrations SET target = 'timescaledb_compat' WHERE target = 'timescaledb'")
    try:
        with pytest.raises(Refused, match="set up as plain PostgreSQL, and its server now has TimescaleDB"):
            await migrate(control_plane_dsn=store_dsn, timescale_dsn=store_timescale_address.dsn)
    finally:
        await connection.execute("UPDATE schema_migrations SET target = 'timescaledb' WHERE target <> 'timescaledb'")
        await connection.close()
    await migrate(control_plane_dsn=store_dsn, timescale_dsn=store_dsn)
    plain = await asyncpg.connect(store_dsn)
    await plain.execute("UPDATE schema_migrations SET target = 'timescaledb' WHERE target = 'timescaledb_compat'")
    await plain.close()
    with pytest.raises(Refused, match="no longer has the extension"):
        await migrate(control_plane_dsn=store_dsn, timescale_dsn=store_dsn)


async def test_a_store_that_is_away_is_unavailable(store_dsn: str) -> None:
    with pytest.raises(Unavailable):
        await migrate(control_plane_dsn="postgresql://aegis@127.0.0.1:1/aegis")
    with pytest.raises(Unavailable):
        await migrate(control_plane_dsn=store_dsn, clickhouse=ClickHouseAddress("127.0.0.1", 1))
    assert await _tables(store_dsn) == []
