"""The schema.sql files say what the migrations give, so that a person reads one file and not all of history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from storage.clickhouse import ClickHouse
from storage.migrations import REPOSITORY, migrate


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
