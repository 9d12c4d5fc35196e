"""A server for metrics in; the migrations that fit it out: TimescaleDB's own, or those for plain PostgreSQL.

A database takes one of the two with its first migration, for ever: tables with rows do not turn into hypertables by themselves,
and the other way round the views would be gone.
"""

from __future__ import annotations

from pathlib import Path

import asyncpg

from storage.migration_files import Migration, read_migrations
from storage.named_queries import load_queries
from storage.postgres import postgres_errors
from storage.postgres_target import PostgresTarget
from topics.errors import Refused

KEPT = "timescaledb"
COMPAT = "timescaledb_compat"

_SQL = load_queries("migrations.sql")


class TimescaleTarget(PostgresTarget):
    """The database of metrics, with or without TimescaleDB."""

    async def apply(self, migration: Migration) -> None:
        """As every target; TimescaleDB's extension is created before its first migration, in a transaction of its own."""
        if self.name == KEPT and migration.number == 1:
            with postgres_errors("create the extension timescaledb"):
                await self._connection.execute(_SQL["create_timescaledb"])
        await super().apply(migration)

    async def set_retention(self, *, deletion: bool) -> None:
        """Set the policies; nothing happens when they are so already."""
        with postgres_errors("set the retention of metrics"):
            await self._connection.execute(_SQL["set_metrics_retention"], deletion)


async def timescale_target(connection: asyncpg.Connection, folder: Path) -> TimescaleTarget:
    """Choose by what the database has recorded, else by what the server offers. Raises `Refused` when the two do not fit."""
    targets = {
        name: TimescaleTarget(name, connection, read_migrations(name, folder / part))
        for name, part in ((KEPT, "migrations"), (COMPAT, "compat"))
    }
    with postgres_errors("ask for TimescaleDB"):
        is_offered = await connection.fetchval(_SQL["find_timescaledb"])
    chosen = KEPT if is_offered else COMPAT
    other = COMPAT if is_offered else KEPT
    if await targets[other].recorded():
        why = (
            "this database was set up as plain PostgreSQL, and its server now has TimescaleDB: give TimescaleDB a database of "
            "its own, or take the extension away from this server"
            if is_offered
            else "this database was set up with TimescaleDB, and its server no longer has the extension: install it again"
        )
        raise Refused(f"cannot migrate timescaledb: {why}", code="bad_migration")
    return targets[chosen]
