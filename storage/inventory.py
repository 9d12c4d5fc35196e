"""What a store holds, table by table: the values that storage/clickhouse_inventory.py and storage/postgres_inventory.py give."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class TableFacts:
    """One table. `bytes` are on disk, indexes included; `uncompressed_bytes` and what they became, where the store compresses.

    `oldest` and `newest` are times of arrival in ClickHouse and of the sample or row in PostgreSQL.
    """

    store: str
    table: str
    rows: int
    bytes: int
    rows_are_estimated: bool = False
    uncompressed_bytes: int | None = None
    compressed_bytes: int | None = None
    oldest: datetime | None = None
    newest: datetime | None = None

    @property
    def compression_ratio(self) -> float | None:
        """How many bytes became one; None where nothing is compressed."""
        if not self.uncompressed_bytes or not self.compressed_bytes:
            return None
        return self.uncompressed_bytes / self.compressed_bytes


@dataclass(frozen=True, slots=True)
class OrganizationFacts:
    """One organization's part of a table. `bytes_estimate` is its share of the rows: stores do not count bytes by tenant."""

    store: str
    table: str
    organization_id: str
    rows: int
    bytes_estimate: int
    oldest: datetime | None = None
    newest: datetime | None = None


def share(table_bytes: int, rows: int, all_rows: int) -> int:
    """The bytes of a table that fall to some of its rows."""
    return round(table_bytes * rows / all_rows) if all_rows else 0
