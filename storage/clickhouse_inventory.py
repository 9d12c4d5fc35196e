"""A ClickHouse database in; what each of its tables holds, and each organization in it, out.

An operator's view: it crosses organizations, and gives counts and times only.
"""

from __future__ import annotations

from datetime import UTC, datetime

from storage.clickhouse import ClickHouse
from storage.inventory import OrganizationFacts, TableFacts, share
from storage.named_queries import load_queries

STORE = "clickhouse"
_SQL = load_queries("inventory.sql")


async def clickhouse_inventory(
    clickhouse: ClickHouse, *, by_organization: bool = False
) -> tuple[list[TableFacts], list[OrganizationFacts]]:
    """All tables with data of their own, by name; with `by_organization` also who has what, which reads a column of each.

    Raises `Unavailable`.
    """
    doing = "look at the tables of ClickHouse"
    listed = await clickhouse.read(
        _SQL["clickhouse_tables"],
        tuple[str, int, int, int, int, int, str],
        {"database": clickhouse.address.database},
        doing=doing,
    )
    tables: list[TableFacts] = []
    organizations: list[OrganizationFacts] = []
    for name, rows, on_disk, compressed, uncompressed, has_organization, column in listed.rows:
        oldest = newest = None
        if column and rows:
            sql = _filled("clickhouse_times", name, column)
            [(first_ms, last_ms)] = (await clickhouse.read(sql, tuple[int, int], doing=doing)).rows
            oldest, newest = _moment(first_ms), _moment(last_ms)
        tables.append(
            TableFacts(
                STORE,
                name,
                rows,
                on_disk,
                uncompressed_bytes=uncompressed,
                compressed_bytes=compressed,
                oldest=oldest,
                newest=newest,
            )
        )
        if by_organization and has_organization and column:
            sql = _filled("clickhouse_organizations", name, column)
            found = await clickhouse.read(sql, tuple[str, int, int, int], doing=doing)
            organizations += [
                OrganizationFacts(
                    STORE, name, org_id, own, share(on_disk, own, rows), _moment(first_ms), _moment(last_ms)
                )
                for org_id, own, first_ms, last_ms in found.rows
            ]
    return tables, organizations


def _filled(query: str, table: str, column: str) -> str:
    return _SQL[query].replace("$table", _quoted(table)).replace("$column", _quoted(column))


def _quoted(identifier: str) -> str:
    return "`" + identifier.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _moment(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)
