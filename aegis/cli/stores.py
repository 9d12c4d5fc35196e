"""aegis stores, retention: what the stores hold, and what has had its time."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer

from aegis.cli.console import DataDir, Json, print_json, print_table, say, settings_of, shown_time
from storage.inventory import OrganizationFacts, TableFacts

retention = typer.Typer(help="Deletion by age.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.command()(stores)
    app.add_typer(retention, name="retention")


def stores(
    by_organization: Annotated[
        bool, typer.Option("--by-organization", help="also who has how much, which reads every table")
    ] = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Show every table: rows, bytes on disk, compression, oldest and newest."""
    from aegis.stores import look_at_stores, organization_names  # Imported here, so that other commands start quickly.

    settings = settings_of(data_dir)

    async def work() -> tuple[list[TableFacts], list[OrganizationFacts], dict[str, str]]:
        tables, organizations = await look_at_stores(settings, by_organization=by_organization)
        return tables, organizations, await organization_names(settings) if by_organization else {}

    tables, organizations, names = asyncio.run(work())
    if json:
        shown: dict[str, Any] = {"tables": [_table(each) for each in tables]}
        if by_organization:
            shown["organizations"] = [_organization(each, names) for each in organizations]
        print_json(shown)
        return
    print_table(
        "stores",
        ("store", "table", "rows", "KiB on disk", "bytes/row", "compression", "oldest", "newest"),
        [_table_row(each) for each in tables],
    )
    if by_organization:
        print_table(
            "by organization (bytes are its share of the rows)",
            ("store", "table", "organization", "rows", "KiB", "oldest", "newest"),
            [_organization_row(each, names) for each in organizations],
        )


@retention.command("apply")
def apply(data_dir: DataDir = None, json: Json = False) -> None:
    """Remove now what has had its time, instead of when the stores come to it."""
    from aegis.stores import apply_retention  # As above.

    removed = asyncio.run(apply_retention(settings_of(data_dir)))
    if json:
        print_json(
            {
                "removed": [
                    {"store": each.store, "table": each.table, "count": each.count, "unit": each.unit}
                    for each in removed
                ]
            }
        )
    elif removed:
        print_table(
            "removed",
            ("store", "table", "count", "unit"),
            [(each.store, each.table, each.count, each.unit) for each in removed],
        )
    else:
        say("nothing has expired")


def _table(facts: TableFacts) -> dict[str, Any]:
    ratio = facts.compression_ratio
    return {
        "store": facts.store,
        "table": facts.table,
        "rows": facts.rows,
        "rows_are_estimated": facts.rows_are_estimated,
        "bytes": facts.bytes,
        "uncompressed_bytes": facts.uncompressed_bytes,
        "compression_ratio": None if ratio is None else round(ratio, 2),
        "oldest": shown_time(facts.oldest),
        "newest": shown_time(facts.newest),
    }


def _table_row(facts: TableFacts) -> tuple[Any, ...]:
    ratio = facts.compression_ratio
    return (
        facts.store,
        facts.table,
        f"about {facts.rows}" if facts.rows_are_estimated else facts.rows,
        f"{facts.bytes / 1024:.1f}",
        f"{facts.bytes / facts.rows:.1f}" if facts.rows else None,
        None if ratio is None else f"{ratio:.1f}x",
        shown_time(facts.oldest),
        shown_time(facts.newest),
    )


def _organization(facts: OrganizationFacts, names: dict[str, str]) -> dict[str, Any]:
    return {
        "store": facts.store,
        "table": facts.table,
        "org_id": facts.organization_id,
        "name": names.get(facts.organization_id),
        "rows": facts.rows,
        "bytes_estimate": facts.bytes_estimate,
        "oldest": shown_time(facts.oldest),
        "newest": shown_time(facts.newest),
    }


def _organization_row(facts: OrganizationFacts, names: dict[str, str]) -> tuple[Any, ...]:
    return (
        facts.store,
        facts.table,
        names.get(facts.organization_id, facts.organization_id),
        facts.rows,
        f"{facts.bytes_estimate / 1024:.1f}",
        shown_time(facts.oldest),
        shown_time(facts.newest),
    )
