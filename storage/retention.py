"""What applying retention removed: the value that storage/clickhouse_retention.py and storage/metrics_retention.py give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Removed:
    """What went from one table. TimescaleDB drops whole chunks and does not count their rows."""

    store: str
    table: str
    count: int
    unit: Literal["rows", "chunks"]
