"""Counts of batches -> totals by organization and day, and what is written of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from agents.count_usage import CountUsage
from storage.scope import OrgScope
from storage.usage import UsageDay
from tables.usage import KEPT_DAYS, UsageTotals
from topics.errors import Refused, Unavailable
from topics.usage_counts import UsageCounts, date_of, day_of, decode, encode

A, B = "0c6f1a3e-6b0e-4a52-9f0a-6a3f6f1f2b11", "1c6f1a3e-6b0e-4a52-9f0a-6a3f6f1f2b22"
DAY = day_of(1_761_912_000_000)


def event(counts: UsageCounts) -> Any:
    return SimpleNamespace(message=SimpleNamespace(value=encode(counts)))


class Written:
    """A control plane that keeps what it is given, or is away."""

    def __init__(self) -> None:
        self.rows: list[tuple[OrgScope, UsageDay]] = []
        self.tries_away = 0

    async def flush(self, rows: Sequence[tuple[OrgScope, UsageDay]]) -> int:
        if self.tries_away:
            self.tries_away -= 1
            raise Unavailable("away")
        self.rows += rows
        return len(rows)


def test_a_day_begins_at_midnight_utc() -> None:
    assert date_of(DAY).isoformat() == "2025-10-31T00:00:00+00:00"
    assert day_of(1_761_868_800_000) == DAY == day_of(1_761_868_799_999) + 1


def test_what_is_no_usage_message_is_refused() -> None:
    with pytest.raises(Refused):
        decode(b"\xc1")


def test_totals_are_by_organization_and_day() -> None:
    totals = UsageTotals({})
    key = totals.add(UsageCounts(A, DAY, logs_count=3, logs_bytes=100, scrubbed={"email": 1}))
    assert totals.add(UsageCounts(A, DAY, metrics_count=5, scrubbed={"email": 2, "card": 1})) == key
    other = totals.add(UsageCounts(B, DAY, spans_count=7))
    later = totals.add(UsageCounts(A, DAY + 1, rum_events=9))
    assert len({key, other, later}) == 3
    assert totals.get(key) == UsageCounts(
        A, DAY, logs_count=3, logs_bytes=100, metrics_count=5, scrubbed={"email": 3, "card": 1}
    )
    assert set(totals.keys_since(DAY + 1)) == {later}
    assert totals.get(b"nobody/1") is None


def test_rows_of_long_ago_are_removed() -> None:
    rows: dict[bytes, bytes] = {}
    totals = UsageTotals(rows)
    for day in range(3 * KEPT_DAYS):
        totals.add(UsageCounts(A, day, logs_count=1))
    assert len(rows) == KEPT_DAYS


async def test_what_has_changed_is_written_as_absolute_counts_once_the_control_plane_is_there() -> None:
    written = Written()
    usage = CountUsage(UsageTotals({}), written.flush)
    for _ in range(3):
        await usage.count(event(UsageCounts(A, DAY, logs_count=2, scrubbed={"jwt": 1})))
    written.tries_away = 3
    await usage.flush()
    assert written.rows == [(OrgScope(A), UsageDay(date_of(DAY).date(), logs_count=6, scrubbed={"jwt": 3}))]
    await usage.flush()
    assert len(written.rows) == 1


async def test_rows_that_somebody_else_counted_are_written_again_after_a_takeover() -> None:
    written = Written()
    rows = {b"%b/%d" % (A.encode(), DAY): encode(UsageCounts(A, DAY, logs_count=4))}
    usage = CountUsage(UsageTotals(rows), written.flush, now=lambda: DAY * 86_400.0 + 60)
    flushing = asyncio.create_task(usage.keep_flushing())
    try:
        for _ in range(300):
            if written.rows:
                break
            await asyncio.sleep(0.02)
    finally:
        flushing.cancel()
    assert written.rows == [(OrgScope(A), UsageDay(date_of(DAY).date(), logs_count=4))]
