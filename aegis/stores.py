"""Settings -> what every store holds, and retention applied to all of them: what `aegis stores` and `aegis retention` show."""

from __future__ import annotations

from aegis.access import opened_control_plane
from aegis.settings import Settings
from aegis.wiring import opened_clickhouse, timescale_address
from storage.clickhouse_inventory import clickhouse_inventory
from storage.clickhouse_retention import apply_clickhouse_retention
from storage.inventory import OrganizationFacts, TableFacts
from storage.metrics_retention import apply_metrics_retention
from storage.postgres_inventory import postgres_inventory
from storage.retention import Removed
from topics.errors import Refused


async def look_at_stores(
    settings: Settings, *, by_organization: bool
) -> tuple[list[TableFacts], list[OrganizationFacts]]:
    """Every table of ClickHouse, of the metrics database and of the control plane. Raises `Unavailable` for one that is away.

    Metrics may live in the control plane's database; each table is there once all the same.
    """
    async with opened_clickhouse(settings) as clickhouse:
        tables, organizations = await clickhouse_inventory(clickhouse, by_organization=by_organization)
    found = {(each.store, each.table): each for each in tables}
    # A set, because the two may be one database under two addresses.
    parts = {(each.store, each.table, each.organization_id): each for each in organizations}
    for store, dsn in (
        ("metrics", timescale_address(settings).dsn),
        ("control_plane", settings.database_url.get_secret_value()),
    ):
        its_tables, its_parts = await postgres_inventory(dsn, by_organization=by_organization)
        for table in its_tables:
            if table.store == store or (table.store, table.table) not in found:
                found[table.store, table.table] = table
        parts |= {(each.store, each.table, each.organization_id): each for each in its_parts}
    order = {"clickhouse": 0, "metrics": 1, "control_plane": 2}
    return (
        sorted(found.values(), key=lambda each: (order[each.store], each.table)),
        sorted(parts.values(), key=lambda each: (order[each.store], each.table, each.organization_id)),
    )


async def apply_retention(settings: Settings) -> list[Removed]:
    """Remove what has expired from every store that holds records. Raises `Refused` when deletion is switched off."""
    if settings.retention == "off":
        raise Refused(
            "cannot apply retention: AEGIS_RETENTION is off, so nothing is deleted by age; unset it or set it to `on`",
            code="retention_off",
        )
    async with opened_clickhouse(settings) as clickhouse:
        removed = await apply_clickhouse_retention(clickhouse)
    return removed + await apply_metrics_retention(timescale_address(settings).dsn)


async def organization_names(settings: Settings) -> dict[str, str]:
    """Names of organizations by id."""
    async with opened_control_plane(settings, with_secrets=False) as control_plane:
        return {each.id: each.name for each in await control_plane.organizations.list_all()}
