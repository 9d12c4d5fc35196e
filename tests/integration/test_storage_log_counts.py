"""Counts of logs equal what a search finds, whatever the ends of the range, and read no record of whole hours."""

from __future__ import annotations

import random
import time
import uuid
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest

from storage.clickhouse import ClickHouse
from storage.log_counts import HOUR_NS, LogCounts, whole_hours
from storage.log_selection import LogSelection
from storage.logs import LogRow, LogStore
from storage.scope import OrgScope
from storage.search_limits import SearchLimits
from topics.errors import Refused, TooExpensive
from topics.log_columns import SCHEMA

ACME = OrgScope("11111111-1111-4111-8111-111111111111")
OTHER = OrgScope("22222222-2222-4222-8222-222222222222")
NOON = 1_761_912_000_000_000_000  # 2025-10-31T12:00:00Z
DAY_MS = 86_400_000
NARROWED: tuple[dict[str, Any], ...] = ({}, {"service": "api"}, {"service": "web", "level": "warn"})
# (days since arrival, retention): kept for ever, long kept, gone today or nearly so, long gone.
AGES = ((0, 0), (0, 30), (400, 0), (1, 1), (7, 7), (10, 1))


async def store(clickhouse: ClickHouse, scope: OrgScope, number: int, *, seed: int) -> None:
    """`number` logs over six hours around noon, in blocks that mix ages."""
    pick = random.Random(seed)
    now_ms = int(time.time() * 1000)
    rows: list[dict[str, Any]] = []
    for i in range(number):
        age_days, retention_days = pick.choice(AGES)
        rows.append(
            dict.fromkeys(SCHEMA.names, "")
            | {
                "org_id": scope.org_id,
                "ts": NOON + pick.randrange(-3 * HOUR_NS, 3 * HOUR_NS),
                "record_id": i,
                "service": pick.choice(("api", "web")),
                "level": pick.choice(("info", "warn", "error")),
                "attributes": "{}",
                "received_at": now_ms - age_days * DAY_MS,
                "retention_days": retention_days,
            }
        )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
    await LogStore(clickhouse).insert(sink.getvalue().to_pybytes(), rows=number, token=uuid.uuid4().hex)


async def searched(clickhouse: ClickHouse, scope: OrgScope) -> list[LogRow]:
    selection = LogSelection(start_ns=NOON - 10 * HOUR_NS, end_ns=NOON + 10 * HOUR_NS, limit=1000)
    return (await LogStore(clickhouse).search(scope, selection)).rows


def counted(rows: list[LogRow], start_ns: int, end_ns: int, step_ns: int | None, **exact: str) -> list[tuple[Any, ...]]:
    """The same from the records themselves."""
    found: Counter[tuple[int, str, str]] = Counter()
    for row in rows:
        if start_ns <= row.ts_ns < end_ns and all(getattr(row, name) == value for name, value in exact.items()):
            found[(row.ts_ns - start_ns) // step_ns if step_ns else 0, row.service, row.level] += 1
    return [(*key, number) for key, number in sorted(found.items())]


async def test_counts_are_those_of_the_records(store_clickhouse: ClickHouse) -> None:
    """Also where records expire today, before and after merges took the expired ones away."""
    await store_clickhouse.command("SYSTEM STOP MERGES logs")
    await store(store_clickhouse, ACME, 900, seed=1)
    await store(store_clickhouse, OTHER, 100, seed=2)
    counts = LogCounts(store_clickhouse)
    pick = random.Random(3)
    for merged in (False, True):
        if merged:
            await store_clickhouse.command("SYSTEM START MERGES logs")
            await store_clickhouse.command("OPTIMIZE TABLE logs FINAL")
        rows = await searched(store_clickhouse, ACME)
        assert (len(rows) < 900) == merged
        ranges = [
            (NOON, NOON + HOUR_NS, None),
            (NOON - 3 * HOUR_NS, NOON + 3 * HOUR_NS, HOUR_NS),
            (NOON - 3 * HOUR_NS, NOON + 3 * HOUR_NS, 2 * HOUR_NS),
            (NOON + 1, NOON + 3 * HOUR_NS, HOUR_NS),
            (NOON - 2 * HOUR_NS, NOON, 7 * HOUR_NS // 60),
            (NOON + 5, NOON + 6, None),
            (NOON, NOON, None),
            (-(1 << 63) + 1, (1 << 63) - 1, None),
        ]
        for _ in range(6):
            start, end = sorted(NOON + pick.randrange(-3 * HOUR_NS, 3 * HOUR_NS) for _ in range(2))
            ranges.append((start, end, None))
        for start, end, step in ranges:
            for exact in NARROWED:
                answer = await counts.count(ACME, start_ns=start, end_ns=end, step_ns=step, **exact)
                got = [(row.bucket, row.service, row.level, row.count) for row in answer.rows]
                assert got == counted(rows, start, end, step, **exact), (start - NOON, end - NOON, step, exact, merged)


async def test_whole_hours_are_not_read_again(store_clickhouse: ClickHouse) -> None:
    rows = 20_000
    await store_clickhouse.command(
        "INSERT INTO logs (org_id, ts, record_id, service, level, received_at, retention_days) SELECT {org:String}, "
        "fromUnixTimestamp64Nano({noon:Int64} + number * 360000000, 'UTC'), number, 'api', 'info', now64(3), 30 "
        "FROM numbers({rows:UInt64})",
        {"org": ACME.org_id, "noon": NOON, "rows": rows},
    )
    counts = LogCounts(store_clickhouse)
    answer = await counts.count(ACME, start_ns=NOON, end_ns=NOON + 2 * HOUR_NS)
    assert [row.count for row in answer.rows] == [rows]
    assert answer.stats.rows_read < 100
    assert await counts.count(OTHER, start_ns=NOON, end_ns=NOON + 2 * HOUR_NS) != answer
    ragged = await counts.count(ACME, start_ns=NOON, end_ns=NOON + 2 * HOUR_NS - 1)
    assert [row.count for row in ragged.rows] == [rows]
    assert ragged.stats.rows_read >= rows // 2


async def test_what_cannot_be_counted_is_refused(store_clickhouse: ClickHouse) -> None:
    counts = LogCounts(store_clickhouse, SearchLimits(range_s_max=60))
    for changes, path in (
        ({"end_ns": NOON - 1}, "end"),
        ({"step_ns": 0}, "step"),
        ({"service": "\ud800"}, "service"),
        ({"level": "x" * 1001}, "level"),
    ):
        with pytest.raises(Refused) as caught:
            await counts.count(ACME, **{"start_ns": NOON, "end_ns": NOON + 1, **changes})  # type: ignore[arg-type]  # on purpose
        assert caught.value.path == path
    with pytest.raises(TooExpensive):
        await counts.count(ACME, start_ns=NOON, end_ns=NOON + 61 * 10**9)


@pytest.mark.parametrize(
    ("start", "end", "step", "expected"),
    [
        (0, HOUR_NS, None, (0, HOUR_NS)),
        (1, 2 * HOUR_NS, None, (HOUR_NS, 2 * HOUR_NS)),
        (1, 2 * HOUR_NS - 1, None, None),
        (-HOUR_NS - 1, 1, None, (-HOUR_NS, 0)),
        (0, 3 * HOUR_NS + 5, 2 * HOUR_NS, (0, 3 * HOUR_NS)),
        (1, 3 * HOUR_NS, HOUR_NS, None),
        (0, 3 * HOUR_NS, HOUR_NS + 1, None),
    ],
)
def test_whole_hours(start: int, end: int, step: int | None, expected: tuple[int, int] | None) -> None:
    assert whole_hours(start, end, step) == (expected or (end, end))
