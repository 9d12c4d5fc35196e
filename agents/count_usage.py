"""Counts usage: topic `usage` (what each batch held) -> a table by organization and day -> `usage_daily`, as absolute values.

The table is exact whatever dies, as its rows go out with the commit of the events they come from. What is written to the control
plane may run ahead of a commit that is then lost: the same events come again, give the same totals, and writing those again
changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from agents.delivery import until_available
from storage.scope import OrgScope
from storage.usage import UsageDay
from tables.usage import UsageTotals
from topics.usage_counts import UsageCounts, date_of, day_of, decode

log = logging.getLogger(__name__)

FLUSH_S = 1.0
FLUSH_ROWS_MAX = 1_000
FLUSH_AGAIN_S = 30.0
DAYS_TO_FLUSH_AGAIN = 2
"""A worker that died may not have written all it had counted, so whoever owns its rows writes the newest days again."""

Flush = Callable[[Sequence[tuple[OrgScope, UsageDay]]], Awaitable[Any]]


class CountUsage:
    """The agent and its flushing. `flush` writes absolute counts (storage/usage.py); again is harmless."""

    def __init__(self, totals: UsageTotals, flush: Flush, *, now: Callable[[], float] = time.time) -> None:
        self._totals = totals
        self._flush = flush
        self._now = now
        self._changed: set[bytes] = set()
        self._again_at_s = 0.0

    async def count(self, event: Any) -> None:
        """Add one message to its total. Raises `Refused` for one that is none."""
        self._changed.add(self._totals.add(decode(event.message.value)))

    async def assigned(self, _: set[Any]) -> None:
        """Partitions came or went: write their rows again with the next flush."""
        self._again_at_s = 0.0

    async def keep_flushing(self) -> None:
        """Write what has changed, every second, for ever; waits while the control plane is away."""
        while True:
            await asyncio.sleep(FLUSH_S)
            now = self._now()
            if now >= self._again_at_s:
                self._again_at_s = now + FLUSH_AGAIN_S
                self._changed.update(self._totals.keys_since(day_of(int(now * 1000)) - DAYS_TO_FLUSH_AGAIN + 1))
            while self._changed:
                await self.flush()

    async def flush(self) -> None:
        """Write what has changed, a bounded number of rows."""
        keys = [self._changed.pop() for _ in range(min(len(self._changed), FLUSH_ROWS_MAX))]
        totals = [total for key in keys if (total := self._totals.get(key)) is not None]
        days = [(OrgScope(total.org_id), _usage_day(total)) for total in totals]
        await until_available(lambda: self._flush(days), who="count_usage", what="the control plane")


def _usage_day(total: UsageCounts) -> UsageDay:
    return UsageDay(
        day=date_of(total.day).date(),
        logs_count=total.logs_count,
        logs_bytes=total.logs_bytes,
        metrics_count=total.metrics_count,
        spans_count=total.spans_count,
        rum_events=total.rum_events,
        scrubbed=total.scrubbed,
    )
