"""The stores' addresses in; every store brought to this version's schema, and the list of what was applied, out.

Targets, in this order: `control_plane` (timescaledb/control_plane on PostgreSQL), `timescaledb` (timescaledb/migrations) or, on a
server without TimescaleDB, `timescaledb_compat` (timescaledb/compat), `clickhouse` (clickhouse/migrations). Each store records
its own in a table `schema_migrations`. Which of the two a database took is decided once: storage/timescale_target.py.

Two runs at once are serialised by one advisory lock in the control plane. ClickHouse has no locks, so its migrations run under
the same one, and each must be idempotent (IF NOT EXISTS): a crash after applying and before recording repeats it. A PostgreSQL
file and its record are one transaction.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import asyncpg

from storage.clickhouse import ClickHouse, ClickHouseAddress
from storage.migration_files import Migration, Recorded, pending_migrations, read_migrations, split_statements
from storage.named_queries import load_queries
from storage.postgres import postgres_errors
from storage.postgres_target import PostgresTarget
from storage.timescale_target import TimescaleTarget, timescale_target
from topics.errors import Refused

REPOSITORY = Path(__file__).resolve().parent.parent

_SQL = load_queries("migrations.sql")
# Any number will do, as long as every version takes the same one.
_LOCK_KEY = 0x61656769735F6462
_STATEMENT_TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True)
class AppliedMigration:
    """What the command line shows; `seconds` is 0 for a dry run."""

    target: str
    number: int
    name: str
    seconds: float


class MigrationTarget(Protocol):
    """A store with a schema. Neither method may change anything before `apply`."""

    name: str
    migrations: list[Migration]

    async def recorded(self) -> Recorded:
        """Number -> (name, sha256) of what the store says was applied; empty for a store without records."""

    async def apply(self, migration: Migration) -> None:
        """Run it and record it; create what the record needs."""


async def migrate(
    *,
    control_plane_dsn: str,
    clickhouse: ClickHouseAddress | None = None,
    timescale_dsn: str | None = None,
    metrics_deletion: bool = True,
    dry_run: bool = False,
    lock_timeout_s: float = 60.0,
    root: Path = REPOSITORY,
) -> list[AppliedMigration]:
    """Apply what is missing, or with `dry_run` only say what would be. A store that is not given is left alone.

    With `metrics_deletion` off (AEGIS_RETENTION=off) the policies of metrics drop nothing.
    `control_plane_dsn` may lead through pgbouncer. Raises `Refused` before anything is changed when files or records do not fit,
    and `Unavailable` when a store is away or another run holds the lock for longer than `lock_timeout_s`. What was applied before
    a failure stays, and the next run goes on from there.
    """
    async with AsyncExitStack() as stack:
        lock = await stack.enter_async_context(_connection(control_plane_dsn, "the control plane"))
        if not dry_run:
            await stack.enter_async_context(_locked(lock, lock_timeout_s))
        targets = await _targets(stack, control_plane_dsn, clickhouse, timescale_dsn, root)
        plan = [
            (target, migration)
            for target in targets.values()
            for migration in pending_migrations(target.name, target.migrations, await target.recorded())
        ]
        applied: list[AppliedMigration] = []
        for target, migration in plan:
            started = time.monotonic()
            if not dry_run:
                with postgres_errors("hold the migration lock"):
                    await lock.execute(_SQL["check_connection"])
                await target.apply(migration)
            seconds = 0.0 if dry_run else time.monotonic() - started
            applied.append(AppliedMigration(migration.target, migration.number, migration.name, seconds))
        timescale = targets.get("timescaledb")
        if isinstance(timescale, TimescaleTarget) and not dry_run:
            await timescale.set_retention(deletion=metrics_deletion)
        return applied


async def _targets(
    stack: AsyncExitStack,
    control_plane_dsn: str,
    clickhouse: ClickHouseAddress | None,
    timescale_dsn: str | None,
    root: Path,
) -> dict[str, MigrationTarget]:
    targets: dict[str, MigrationTarget] = {}
    connection = await stack.enter_async_context(_connection(control_plane_dsn, "the control plane"))
    migrations = read_migrations("control_plane", root / "timescaledb/control_plane")
    targets["control_plane"] = PostgresTarget("control_plane", connection, migrations)
    if timescale_dsn is not None:
        connection = await stack.enter_async_context(_connection(timescale_dsn, "timescaledb"))
        targets["timescaledb"] = await timescale_target(connection, root / "timescaledb")
    if clickhouse is not None:
        migrations = read_migrations("clickhouse", root / "clickhouse/migrations")
        server = await stack.enter_async_context(
            ClickHouse(replace(clickhouse, database=""), answer_timeout_s=_STATEMENT_TIMEOUT_S)
        )
        # With a short patience, as that of the statements is an hour.
        await server.ping(timeout_s=10.0)
        database = await stack.enter_async_context(ClickHouse(clickhouse, answer_timeout_s=_STATEMENT_TIMEOUT_S))
        targets["clickhouse"] = ClickHouseTarget(server, database, migrations)
    return targets


class ClickHouseTarget:
    """A ClickHouse database, which is created when it is missing. `server` speaks to the same server without a database."""

    def __init__(self, server: ClickHouse, database: ClickHouse, migrations: list[Migration]) -> None:
        if not database.address.database:
            raise Refused("cannot migrate clickhouse: no database is named", code="bad_setting")
        self.name = "clickhouse"
        self.migrations = migrations
        self._server = server
        self._database = database
        for migration in migrations:
            split_statements(migration)

    async def recorded(self) -> Recorded:
        doing, name = "read the migrations of clickhouse", self._database.address.database
        found = await self._server.read(_SQL["clickhouse_find_records"], tuple[int], {"database": name}, doing=doing)
        if not found.rows:
            return {}
        records = await self._database.read(_SQL["clickhouse_list_records"], tuple[int, str, str], doing=doing)
        return {number: (migration, sha256) for number, migration, sha256 in records.rows}

    async def apply(self, migration: Migration) -> None:
        doing = f"apply clickhouse {migration.number:04}_{migration.name}"
        await self._create_database(doing)
        await self._database.command(_SQL["clickhouse_create_records"], doing=doing)
        for statement in split_statements(migration):
            await self._database.command(statement, doing=doing)
        record = {"number": migration.number, "name": migration.name, "sha256": migration.sha256}
        await self._database.command(_SQL["clickhouse_add_record"], record, doing=doing)

    async def _create_database(self, doing: str) -> None:
        name = self._database.address.database
        found = await self._server.read(_SQL["clickhouse_find_database"], tuple[int], {"database": name}, doing=doing)
        # Asked first, because IF NOT EXISTS needs the right to create databases even when it is there. The name cannot be a
        # parameter here; the address has checked that it is an identifier.
        if not found.rows:
            await self._server.command(f"CREATE DATABASE IF NOT EXISTS `{name}`", doing=doing)


@asynccontextmanager
async def _connection(dsn: str, name: str) -> AsyncIterator[asyncpg.Connection]:
    with postgres_errors(f"connect to {name}"):
        connection: asyncpg.Connection = await asyncpg.connect(
            dsn, timeout=10.0, command_timeout=_STATEMENT_TIMEOUT_S, statement_cache_size=0
        )
    try:
        yield connection
    finally:
        # Closing ends the lock's transaction; a server that is gone has ended it already.
        with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await connection.close(timeout=5.0)


@asynccontextmanager
async def _locked(connection: asyncpg.Connection, timeout_s: float) -> AsyncIterator[None]:
    """Hold the lock for one transaction, which pgbouncer keeps on one server even in transaction mode."""
    with postgres_errors("take the migration lock"):
        await connection.execute("BEGIN")
        await connection.execute(_SQL["bound_lock_wait"], f"{int(timeout_s * 1000)}ms")
        await connection.execute(_SQL["take_lock"], _LOCK_KEY)
    yield
