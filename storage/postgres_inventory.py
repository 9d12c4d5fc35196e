"""A PostgreSQL database in; what each of its tables holds, and each organization in it, out. TimescaleDB is recognized.

An operator's view: it crosses organizations, and gives counts and times only.
"""

from __future__ import annotations

import asyncpg

from storage.inventory import OrganizationFacts, TableFacts, share
from storage.named_queries import load_queries
from storage.postgres import connected

COUNTED_BYTES_MAX = 1 << 30
"""Rows of a table up to this size are counted; of a larger one the planner's estimate is given, as counting takes seconds."""

CONTROL_PLANE = frozenset(
    {
        "organizations",
        "api_keys",
        "users",
        "memberships",
        "monitors",
        "alerts",
        "slos",
        "usage_daily",
        "audit_log",
        "sessions",
        "gone_sessions",
        "api_tokens",
        "channels",
        "channel_queues",
        "downtimes",
        "notifications",
        "schema_migrations",
    }
)
_SQL = load_queries("inventory.sql")


async def postgres_inventory(
    dsn: str, *, by_organization: bool = False
) -> tuple[list[TableFacts], list[OrganizationFacts]]:
    """All tables, by name; with `by_organization` also who has what, which reads every table that belongs to organizations.

    The store is "control_plane" for its tables and "metrics" for the rest, whether they share a database or not. Raises
    `Unavailable`.
    """
    async with connected(dsn, "look at the tables of PostgreSQL", command_timeout_s=600.0) as connection:
        tables, organizations = [], []
        large = await _hypertables(connection)
        for row in await connection.fetch(_SQL["tables"]):
            facts = large.pop(row["name"], None) or await _facts(connection, row)
            tables.append(facts)
            if by_organization and row["organization_column"] and row["time_column"]:
                organizations += await _organizations(connection, row, facts)
        return tables + list(large.values()), organizations


async def _facts(connection: asyncpg.Connection, row: asyncpg.Record) -> TableFacts:
    store = _store(row["name"])
    if row["bytes"] > COUNTED_BYTES_MAX:
        return TableFacts(store, row["name"], row["rows_estimate"], row["bytes"], rows_are_estimated=True)
    counted = await connection.fetchrow(_filled("rows_and_times" if row["time_column"] else "rows", row))
    assert counted is not None  # An aggregate without GROUP BY gives one row.
    oldest, newest = (counted["oldest"], counted["newest"]) if row["time_column"] else (None, None)
    return TableFacts(store, row["name"], counted["rows"], row["bytes"], oldest=oldest, newest=newest)


async def _hypertables(connection: asyncpg.Connection) -> dict[str, TableFacts]:
    if not await connection.fetchval(_SQL["has_timescaledb"]):
        return {}
    return {
        row["name"]: TableFacts(
            _store(row["name"]),
            row["name"],
            row["rows_estimate"],
            row["bytes"],
            rows_are_estimated=True,
            uncompressed_bytes=row["before_bytes"],
            compressed_bytes=row["after_bytes"],
            oldest=row["oldest"],
            newest=row["newest"],
        )
        for row in await connection.fetch(_SQL["hypertables"])
    }


async def _organizations(
    connection: asyncpg.Connection, row: asyncpg.Record, facts: TableFacts
) -> list[OrganizationFacts]:
    query = "organizations_by_series" if row["organization_column"] == "series_id" else "organizations"
    found = await connection.fetch(_filled(query, row))
    rows = sum(each["rows"] for each in found)
    return [
        OrganizationFacts(
            facts.store,
            facts.table,
            each["organization"],
            each["rows"],
            share(facts.bytes, each["rows"], rows),
            each["oldest"],
            each["newest"],
        )
        for each in found
    ]


def _filled(query: str, row: asyncpg.Record) -> str:
    text = _SQL[query].replace("$table", row["quoted"])
    return text.replace("$column", row["time_column"] or "").replace("$organization", row["organization_column"] or "")


def _store(table: str) -> str:
    return "control_plane" if table in CONTROL_PLANE else "metrics"
