"""A PostgreSQL connection and a folder's migrations in; what was applied, and applying one with its record, out."""

from __future__ import annotations

import asyncpg

from storage.migration_files import Migration, Recorded
from storage.named_queries import load_queries
from storage.postgres import postgres_errors
from topics.errors import Refused

_SQL = load_queries("migrations.sql")


class PostgresTarget:
    """A PostgreSQL database. Two targets may share one: the record names the target."""

    def __init__(self, name: str, connection: asyncpg.Connection, migrations: list[Migration]) -> None:
        self.name = name
        self.migrations = migrations
        self._connection = connection

    async def recorded(self) -> Recorded:
        with postgres_errors(f"read the migrations of {self.name}"):
            if await self._connection.fetchval(_SQL["find_records"]) is None:
                return {}
            rows = await self._connection.fetch(_SQL["list_records"], self.name)
        return {row["number"]: (row["name"], row["sha256"]) for row in rows}

    async def apply(self, migration: Migration) -> None:
        doing = f"apply {self.name} {migration.number:04}_{migration.name}"
        try:
            with postgres_errors(doing):
                async with self._connection.transaction():
                    await self._connection.execute(_SQL["create_records"])
                    await self._connection.execute(migration.text)
                    await self._connection.execute(
                        _SQL["add_record"], self.name, migration.number, migration.name, migration.sha256
                    )
        except Refused as exc:
            # Whoever migrates is to see what PostgreSQL says, which no client of the API is.
            raise Refused(f"cannot {doing}: {exc.__cause__}", code=exc.code) from exc
