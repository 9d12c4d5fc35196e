"""The metrics database in; its expired samples removed now, and how many they were, out.

TimescaleDB has policies that do this by themselves; here it is done at once. Plain PostgreSQL has no background jobs, so there
somebody must call this: `aegis up` does every few hours, and elsewhere `aegis retention apply` belongs into a timer.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg

from storage.named_queries import load_queries
from storage.postgres import connected
from storage.retention import Removed

SAMPLES_KEPT = timedelta(days=30)
"""How long raw samples are kept, as the policy on TimescaleDB has it (timescaledb/migrations)."""
BATCH_PAGES = 8192
"""Pages of 8 KiB that one DELETE looks at: 64 MiB, about a million samples."""

_SQL = load_queries("retention.sql")
_DOING = "apply retention to the metrics"


async def apply_metrics_retention(dsn: str, *, batch_pages: int = BATCH_PAGES) -> list[Removed]:
    """Remove what is older than its retention; gives the tables that had something. Raises `Unavailable`.

    A database without metrics (its migrations have not run) has nothing to remove.
    """
    async with connected(dsn, _DOING, command_timeout_s=600.0) as connection:
        if not await connection.fetchval(_SQL["has_metrics"]):
            return []
        if await connection.fetchval(_SQL["has_timescaledb"]):
            return await _drop_old_chunks(connection)
        count = await _delete_old_samples(connection, batch_pages)
        return [Removed("metrics", "metrics", count, "rows")] if count else []


async def _drop_old_chunks(connection: asyncpg.Connection) -> list[Removed]:
    before = {row["name"]: row["chunks"] for row in await connection.fetch(_SQL["chunks"])}
    await connection.execute(_SQL["drop_old_chunks"])
    after = {row["name"]: row["chunks"] for row in await connection.fetch(_SQL["chunks"])}
    gone = {name: chunks - after.get(name, 0) for name, chunks in before.items()}
    return [Removed("metrics", name, chunks, "chunks") for name, chunks in gone.items() if chunks > 0]


async def _delete_old_samples(connection: asyncpg.Connection, batch_pages: int) -> int:
    before = datetime.now(UTC) - SAMPLES_KEPT
    pages: int = await connection.fetchval(_SQL["pages"])
    deleted = 0
    for page in range(0, pages, batch_pages):
        deleted += await connection.fetchval(_SQL["delete_old_samples"], page, page + batch_pages, before)
    return deleted
