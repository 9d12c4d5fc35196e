"""TimescaleDB's address in; a bounded pool, and what this server can do, out. Plain PostgreSQL serves too, with less.

Pooled connections may go through pgbouncer in transaction mode when the statement cache is off.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import quote

import asyncpg

from storage.named_queries import load_queries
from storage.postgres import close_pool, open_pool, postgres_errors

_SQL = load_queries("metrics.sql")
# From 2.24 on a compressed COPY also tells the continuous aggregates what changed; before, hypertables with some are left out.
_COMPRESSED_COPY_FROM = (2, 24)

# What a pool lends.
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


@dataclass(frozen=True, slots=True)
class TimescaleAddress:
    """Where metrics are stored."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(default="", repr=False)

    @property
    def dsn(self) -> str:
        """For asyncpg, password included."""
        login = quote(self.user, safe="") + (f":{quote(self.password, safe='')}" if self.password else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"postgresql://{login}@{host}:{self.port}/{quote(self.database, safe='')}"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What differs between servers. `version` is TimescaleDB's, empty on plain PostgreSQL.

    `rollups_are_kept`: the continuous aggregates are materialized, so that reading them costs less than reading samples.
    `compresses_copies`: COPY may write compressed chunks.
    """

    version: str
    rollups_are_kept: bool
    compresses_copies: bool


class Timescale:
    """The pool, which connects when it is first used, and the server's capabilities, asked once."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self._capabilities: Capabilities | None = None

    @classmethod
    async def open(
        cls,
        address: TimescaleAddress,
        *,
        pool_size_max: int = 4,
        connect_timeout_s: float = 5.0,
        command_timeout_s: float = 30.0,
        statement_cache_size: int = 100,
    ) -> Timescale:
        """Make the pool; the server may be away. `statement_cache_size=0` is for pgbouncer in transaction mode."""
        with postgres_errors("open TimescaleDB"):
            pool = await open_pool(
                address.dsn,
                size_max=pool_size_max,
                connect_timeout_s=connect_timeout_s,
                command_timeout_s=command_timeout_s,
                statement_cache_size=statement_cache_size,
            )
        return cls(pool)

    async def close(self) -> None:
        """Close every connection, within seconds."""
        await close_pool(self.pool)

    async def capabilities(self) -> Capabilities:
        """Raises `Unavailable` while the server is away, or its migrations have not run."""
        if self._capabilities is None:
            with postgres_errors("reach TimescaleDB"):
                row = (await self.pool.fetch(_SQL["get_capabilities"]))[0]
            version = row["version"] or ""
            self._capabilities = Capabilities(
                version=version,
                rollups_are_kept=row["rollups_are_kept"],
                compresses_copies=row["compresses_copies"] and _numbers(version) >= _COMPRESSED_COPY_FROM,
            )
        return self._capabilities


def _numbers(version: str) -> tuple[int, ...]:
    """ "2.24.0-dev" -> (2, 24)."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
