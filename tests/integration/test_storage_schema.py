"""The schema.sql files say what the migrations give, so that a person reads one file and not all of history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncpg
import pytest

from storage.clickhouse import ClickHouse
from storage.migrations import REPOSITORY, migrate
from storage.timescale import TimescaleAddress


def _compare(schema: Path, found: str, scratch: Path) -> None:
    fresh = scratch / "schema.sql"
    fresh.write_text(found)
    assert schema.read_text() == found, f"the migrations changed: copy {fresh} to {schema}"


async def test_the_control_plane_schema_is_what_the_migrations_give(
    store_postgres_server: Any, store_dsn: str, tmp_path: Path
) -> None:
    await migrate(control_plane_dsn=store_dsn)
    found = store_postgres_server.dump_schema(store_dsn.rpartition("/")[2])
    _compare(REPOSITORY / "timescaledb/control_plane/schema.sql", found, tmp_path)


async def test_the_schema_of_metrics_on_plain_postgresql_is_what_the_migrations_give(
    store_postgres_server: Any, store_dsn: str, store_empty_dsn: str, tmp_path: Path
) -> None:
    await migrate(control_plane_dsn=store_empty_dsn, timescale_dsn=store_dsn)
    found = store_postgres_server.dump_schema(store_dsn.rpartition("/")[2])
    _compare(REPOSITORY / "timescaledb/compat/schema.sql", found, tmp_path)


async def test_timescaledb_has_the_same_columns_functions_and_constraints(
    store_dsn: str, store_empty_dsn: str, store_timescale_address: TimescaleAddress
) -> None:
    """pg_dump does not speak to it; the catalogues of the two say what can be compared."""
    await migrate(control_plane_dsn=store_empty_dsn, timescale_dsn=store_dsn)
    plain, timescale = [await _catalogue(dsn) for dsn in (store_dsn, store_timescale_address.dsn)]
    assert len(plain) > 60
    assert timescale == plain


async def _catalogue(dsn: str) -> set[tuple[str, ...]]:
    """What both kinds of server have of ours: columns, constraints, indexes and functions."""
    connection = await asyncpg.connect(dsn)
    columns = await connection.fetch(
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns WHERE table_schema = 'public'"
    )
    constraints = await connection.fetch(
        "SELECT c.conrelid::regclass::text, c.conname, pg_get_constraintdef(c.oid) FROM pg_constraint c"
        " WHERE c.connamespace = 'public'::regnamespace AND c.contype <> 'n'"
    )
    indexes = await connection.fetch("SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'")
    functions = await connection.fetch(
        "SELECT p.proname, pg_get_function_result(p.oid) FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace"
        " AND p.proname IN ('summarize_samples', 'set_metrics_retention', 'apply_metrics_retention')"
    )
    await connection.close()
    return {tuple(row) for rows in (columns, constraints, indexes, functions) for row in rows}


@pytest.mark.parametrize("name", ["0001_create_series.sql", "0005_create_metric_hours.sql"])
def test_what_needs_no_timescaledb_is_the_same_file(name: str) -> None:
    folder = REPOSITORY / "timescaledb"
    assert (folder / "compat" / name).read_text() == (folder / "migrations" / name).read_text()


async def test_the_clickhouse_schema_is_what_the_migrations_give(store_clickhouse: ClickHouse, tmp_path: Path) -> None:
    _compare(REPOSITORY / "clickhouse/schema.sql", await _clickhouse_schema(store_clickhouse), tmp_path)


async def _clickhouse_schema(clickhouse: ClickHouse) -> str:
    """SHOW CREATE of every table in order of name, without the database's name."""
    database = clickhouse.address.database
    sql = "SELECT name FROM system.tables WHERE database = {database:String} ORDER BY name"
    tables = await clickhouse.read(sql, tuple[str], {"database": database}, doing="list tables")
    statements = []
    for (name,) in tables.rows:
        shown = await clickhouse.read(f"SHOW CREATE TABLE {name}", tuple[str], doing="show a table")
        statements.append(shown.rows[0][0].replace(f"{database}.", "") + ";\n")
    return "\n".join(statements)
