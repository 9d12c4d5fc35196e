"""The span store on ClickHouse's HTTP interface: traces whole and in short, one organization at a time."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from storage.clickhouse import ClickHouse
from storage.scope import OrgScope
from storage.search_limits import SearchLimits
from storage.spans import SPAN_COLUMNS, SpanRow, SpanStore, TraceSummary
from storage.trace_selection import TraceSelection
from topics.errors import Refused, TooExpensive

ACME = OrgScope("11111111-1111-4111-8111-111111111111")
OTHER = OrgScope("22222222-2222-4222-8222-222222222222")
NOON = 1_761_912_000_000_000_000  # 2025-10-31T12:00:00Z
MS = 1_000_000
RECEIVED_MS = 1_795_435_200_000
_TYPES = {
    "ts": pa.timestamp("ns", "UTC"),
    "record_id": pa.uint64(),
    "duration_ns": pa.uint64(),
    "received_at": pa.timestamp("ms", "UTC"),
    "retention_days": pa.uint16(),
}
SCHEMA = pa.schema([(name, _TYPES.get(name, pa.string())) for name in SPAN_COLUMNS])

Keep = Callable[..., Any]


def span(**changes: Any) -> dict[str, Any]:
    """One span with every field, changed as a test needs."""
    return {
        "org_id": ACME.org_id,
        "ts": NOON,
        "record_id": 1,
        "trace_id": "t1",
        "span_id": "s1",
        "parent_span_id": "",
        "service": "api",
        "operation": "GET /",
        "kind": "server",
        "duration_ns": 5 * MS,
        "status": "ok",
        "status_message": "",
        "attributes": "{}",
        "events": "[]",
        "links": "[]",
        "received_at": RECEIVED_MS,
        "retention_days": 0,
        **changes,
    }


@pytest.fixture
def spans(store_clickhouse: ClickHouse) -> SpanStore:
    return SpanStore(store_clickhouse)


@pytest.fixture
def keep(spans: SpanStore, store_block: Keep) -> Keep:
    """Stores rows as one block."""

    async def insert(*rows: dict[str, Any], token: str = "") -> None:
        await spans.insert(store_block(rows, SCHEMA), rows=len(rows), token=token or uuid.uuid4().hex)

    return insert


async def find(spans: SpanStore, scope: OrgScope = ACME, /, **changes: Any) -> list[TraceSummary]:
    selection = TraceSelection(**{"start_ns": NOON - 10**15, "end_ns": NOON + 10**15, **changes})
    return (await spans.search(scope, selection)).rows


async def test_a_trace_comes_back_exactly_and_in_order(spans: SpanStore, keep: Keep) -> None:
    texts = {
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
        "parent_span_id": "b7ad6b7169203330",
        "service": "søk",
        "operation": "SELECT 'x' \\ \x00",
        "kind": "client",
        "status": "error",
        "status_message": "line 1\nline 2",
        "attributes": '{"a": 1.50}',
        "events": '[{"name": "exception", "timestamp": 1}]',
        "links": '[{"trace_id": "x"}]',
    }
    duration = (1 << 64) - 1
    await keep(
        span(ts=NOON + 7, record_id=(1 << 64) - 1, duration_ns=duration, **texts),
        span(ts=NOON + 3, record_id=9, trace_id=texts["trace_id"]),
        span(trace_id="another"),
    )
    trace = await spans.trace(ACME, texts["trace_id"])
    assert [row.ts_ns for row in trace.spans] == [NOON + 3, NOON + 7]
    assert trace.spans[1] == SpanRow(ts_ns=NOON + 7, record_id=(1 << 64) - 1, duration_ns=duration, **texts)
    assert not trace.truncated


async def test_a_long_trace_is_cut_and_says_so(spans: SpanStore, keep: Keep) -> None:
    await keep(*(span(ts=NOON + i, record_id=i) for i in range(20)))
    trace = await spans.trace(ACME, "t1", spans_max=19)
    assert [row.record_id for row in trace.spans] == list(range(19))
    assert trace.truncated
    assert not (await spans.trace(ACME, "t1", spans_max=20)).truncated


async def test_a_summary_is_of_the_whole_trace(spans: SpanStore, keep: Keep) -> None:
    """The span that is found is not the root, and others of its trace lie outside the time range."""
    await keep(
        span(record_id=1, ts=NOON, duration_ns=100 * MS, operation="POST /buy"),
        span(record_id=2, ts=NOON + 10 * MS, parent_span_id="s1", service="db", status="error", duration_ns=150 * MS),
        span(record_id=3, ts=NOON + 20 * MS, parent_span_id="s1", service="auth", operation="check"),
        span(record_id=4, ts=NOON + 20 * MS, trace_id="t2", service="auth", parent_span_id="gone", operation="orphan"),
    )
    (summary,) = await find(spans, service="auth", operation="check", start_ns=NOON + 20 * MS)
    assert summary == TraceSummary("t1", "api", "POST /buy", NOON, 160 * MS, 3, ["api", "auth", "db"], 1)
    (orphan,) = await find(spans, operation="orphan")
    assert (orphan.root_service, orphan.root_operation) == ("auth", "orphan")


async def test_all_conditions_are_met_by_one_span(spans: SpanStore, keep: Keep) -> None:
    await keep(
        span(record_id=1, service="api", status="ok", duration_ns=10),
        span(record_id=2, service="db", status="error", duration_ns=20),
    )
    for found in (
        {"service": "api", "status": "ok"},
        {"service": "db", "status": "error", "operation": "GET /"},
        {"duration_min_ns": 20},
        {"duration_min_ns": 10, "duration_max_ns": 10, "service": "api"},
    ):
        assert len(await find(spans, **found)) == 1, found
    for missed in (
        {"service": "api", "status": "error"},
        {"service": "api", "duration_min_ns": 11},
        {"duration_max_ns": 9},
        {"duration_min_ns": 11, "duration_max_ns": 19},
        {"operation": "get /"},
        {"start_ns": NOON + 1},
        {"end_ns": NOON},
    ):
        assert await find(spans, **missed) == [], missed


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_pages_show_each_trace_once(spans: SpanStore, keep: Keep, order: str) -> None:
    """Traces interleave: each has spans before and behind the cursors of several pages."""
    await keep(*(span(ts=NOON + i // 2, record_id=i, trace_id=f"t{i * 7 % 30:02}") for i in range(300)))
    places: dict[str, int] = {}
    for i in range(300) if order == "newest" else range(299, -1, -1):
        places[f"t{i * 7 % 30:02}"] = i
    seen: list[str] = []
    cursor: str | None = None
    while True:
        selection = TraceSelection(start_ns=NOON, end_ns=NOON + 150, limit=7, order=order, cursor=cursor)  # type: ignore[arg-type]  # a parameter
        page = await spans.search(ACME, selection)
        assert len(page.rows) <= 7
        assert all(row.span_count == 10 for row in page.rows)
        seen += [row.trace_id for row in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == sorted(places, key=lambda trace: places[trace], reverse=order == "newest")


async def test_another_organization_is_never_seen(spans: SpanStore, keep: Keep) -> None:
    """Both use the same trace ids; the other's spans are neither listed, nor counted, nor a root."""
    mine = [span(record_id=i, trace_id=f"t{i}", ts=NOON + i, parent_span_id="p") for i in range(5)]
    foreign = [
        span(record_id=i, trace_id=f"t{i}", ts=NOON + i, org_id=OTHER.org_id, service="secret") for i in range(10)
    ]
    await keep(*mine, *foreign)
    for scope, service, traces in ((ACME, "api", 5), (OTHER, "secret", 10)):
        rows = await find(spans, scope)
        assert len(rows) == traces
        assert all((row.services, row.root_service, row.span_count) == ([service], service, 1) for row in rows)
        trace = await spans.trace(scope, "t1")
        assert [row.service for row in trace.spans] == [service]
    assert (await spans.trace(ACME, "t7")).spans == []
    first = await spans.search(OTHER, TraceSelection(start_ns=NOON, end_ns=NOON + 10, limit=3))
    rows = await find(spans, ACME, cursor=first.next_cursor)
    assert [row.trace_id for row in rows] == ["t4", "t3", "t2", "t1", "t0"]
    assert await find(spans, OrgScope(str(uuid.uuid4()))) == []


async def test_the_same_token_stores_once(spans: SpanStore, keep: Keep) -> None:
    for _ in range(2):
        await keep(span(), token="t/1")
    assert len((await spans.trace(ACME, "t1")).spans) == 1


async def test_texts_are_never_sql(spans: SpanStore, keep: Keep) -> None:
    await keep(span(org_id=OTHER.org_id))
    for text in ("' OR 1=1 --", "{org_id:String}", "$conditions", "') UNION ALL SELECT 1 --", "\\"):
        for field in ("service", "operation", "status"):
            assert await find(spans, **{field: text}) == []
        assert (await spans.trace(ACME, text)).spans == []


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"duration_min_ns": -1}, "min_duration"),
        ({"duration_max_ns": 1 << 64}, "max_duration"),
        ({"end_ns": NOON - 1}, "end"),
        ({"limit": 0}, "limit"),
        ({"service": "x" * 1001}, "service"),
        ({"cursor": "x"}, "cursor"),
    ],
)
def test_a_bad_selection_names_the_field(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(Refused) as caught:
        TraceSelection(**{"start_ns": NOON, "end_ns": NOON, **changes})
    assert caught.value.path == path
    assert "cannot search traces" in caught.value.reason


async def test_limits_are_named(store_clickhouse: ClickHouse, keep: Keep) -> None:
    await keep(*(span(record_id=i) for i in range(100)))
    with pytest.raises(TooExpensive):
        await SpanStore(store_clickhouse, SearchLimits(rows_to_read_max=10)).trace(ACME, "t1")


async def test_a_page_reads_little_of_a_large_table(spans: SpanStore, keep: Keep, store_clickhouse: ClickHouse) -> None:
    rows = [span(ts=NOON + i * 1000, record_id=i, trace_id=f"{i // 10:032x}") for i in range(80_000)]
    rows[70_000] |= {"duration_ns": 10**12, "service": "rare", "operation": "rare", "status": "error"}
    await keep(*rows)
    await store_clickhouse.command("OPTIMIZE TABLE spans FINAL")
    rare = {"duration_min_ns": 10**11}, {"service": "rare"}, {"operation": "rare"}, {"status": "error"}
    for changes in ({"limit": 10}, {"limit": 10, "order": "oldest"}, *rare):
        selection = TraceSelection(**{"start_ns": NOON, "end_ns": NOON + 10**9, **changes})
        page = await spans.search(ACME, selection)
        assert page.rows
        assert page.stats.rows_read <= 8 * 8192, changes
    assert (await spans.trace(ACME, rows[70_000]["trace_id"])).stats.rows_read <= 2 * 8192
