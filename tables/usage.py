"""What each organization sent on each day: counts of batches in, totals out, as a Faust table that survives any crash.

One row an organization and day. An organization's rows live on the partition of its key, so one worker at a time writes them.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from topics.faust_app import EmbeddedApp
from topics.usage_counts import UsageCounts, decode, encode

KEPT_DAYS = 62
"""Rows of older days are removed: what arrives is counted by the day of its arrival, and a dead letter may be replayed late."""


def create_usage_table(app: EmbeddedApp, *, partitions: int) -> Any:
    """The table behind `UsageTotals`; call it before the app starts."""
    return app.Table("usage", key_type=bytes, value_type=bytes, default=bytes, partitions=partitions)


class UsageTotals:
    """The totals, by organization and day. Adding works only while an event is handled, as its commit carries the new row."""

    def __init__(self, rows: MutableMapping[bytes, bytes]) -> None:
        self._rows = rows

    def add(self, counts: UsageCounts) -> bytes:
        """Add the counts of one batch; returns the key of the row."""
        key = b"%b/%d" % (counts.org_id.encode(), counts.day)
        known = self._rows.get(key)
        total = decode(known).plus(counts) if known else counts
        self._rows[key] = encode(total)
        if not known:
            old = b"%b/%d" % (counts.org_id.encode(), counts.day - KEPT_DAYS)
            if old in self._rows:  # Not pop(): a Faust table deletes before it looks.
                del self._rows[old]
        return key

    def get(self, key: bytes) -> UsageCounts | None:
        """The total of a row, None when it is not on this worker (any more)."""
        row = self._rows.get(key)
        return decode(row) if row else None

    def keys_since(self, day: int) -> list[bytes]:
        """The rows of this worker of `day` and later."""
        return [key for key in list(self._rows) if int(key.rpartition(b"/")[2]) >= day]
