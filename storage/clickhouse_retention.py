"""A ClickHouse database in; its expired rows removed now instead of at some merge, and how many they were, out.

ClickHouse removes expired rows when it merges, and looks at a partition again after four hours at the earliest. Only partitions
that hold an expired row are rewritten.
"""

from __future__ import annotations

from collections import Counter

from storage.clickhouse import ClickHouse
from storage.named_queries import load_queries
from storage.retention import Removed

_SQL = load_queries("retention.sql")
_DOING = "apply retention in ClickHouse"


async def apply_clickhouse_retention(clickhouse: ClickHouse) -> list[Removed]:
    """Remove every row whose time has come; gives the tables that had some. Raises `Unavailable`.

    The counts are those of the rewritten partitions before and after, so rows that arrive in one meanwhile are missing from them;
    the rows of an aggregating table are fewer also when merges add them up.
    """
    database = {"database": clickhouse.address.database}
    due = await clickhouse.read(_SQL["clickhouse_partitions_due"], tuple[str, str], database, doing=_DOING)
    removed: Counter[str] = Counter()
    for table, partition in due.rows:
        before = await _rows(clickhouse, table, partition)
        sql = _SQL["clickhouse_apply"].replace("$table", "`" + table.replace("`", "\\`") + "`")
        await clickhouse.command(sql, {"partition": partition}, {"mutations_sync": 2}, doing=_DOING)
        removed[table] += max(0, before - await _rows(clickhouse, table, partition))
    return [Removed("clickhouse", table, count, "rows") for table, count in sorted(removed.items())]


async def _rows(clickhouse: ClickHouse, table: str, partition: str) -> int:
    parameters = {"database": clickhouse.address.database, "table": table, "partition": partition}
    found = await clickhouse.read(_SQL["clickhouse_partition"], tuple[int, int], parameters, doing=_DOING)
    return found.rows[0][0]
