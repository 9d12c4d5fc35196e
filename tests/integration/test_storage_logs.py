"""The log store on ClickHouse's HTTP interface: written once as one block, read back exactly, one organization at a time."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from string import Template
from typing import Any

import pyarrow as pa
import pytest

from storage.clickhouse import Answer, ClickHouse
from storage.log_selection import LogSelection
from storage.logs import LOG_COLUMNS, LogRow, LogStore
from storage.named_queries import load_queries
from storage.record_selection import RecordCursor
from storage.scope import OrgScope
from storage.search_limits import SearchLimits
from topics.errors import Refused, TooExpensive
from topics.log_columns import SCHEMA

ACME = OrgScope("11111111-1111-4111-8111-111111111111")
OTHER = OrgScope("22222222-2222-4222-8222-222222222222")
NOON = 1_761_912_000_000_000_000  # 2025-10-31T12:00:00Z
RECEIVED_MS = 1_795_435_200_000  # 2026-11-23T12:00:00Z
DAY_MS = 86_400_000


def log(**changes: Any) -> dict[str, Any]:
    """One log with every field, changed as a test needs."""
    return {
        "org_id": ACME.org_id,
        "ts": NOON,
        "record_id": 1,
        "service": "api",
        "level": "error",
        "message": "Database connection failed",
        "trace_id": "",
        "span_id": "",
        "host": "",
        "environment": "",
        "version": "",
        "attributes": "{}",
        "received_at": RECEIVED_MS,
        "retention_days": 0,
        **changes,
    }


def stream(rows: Sequence[dict[str, Any]], *, rows_a_batch: int = 1 << 30, schema: pa.Schema = SCHEMA) -> bytes:
    """An Arrow IPC stream of the rows, in record batches of `rows_a_batch`."""
    table = pa.Table.from_pylist(list(rows), schema=schema)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(table, max_chunksize=rows_a_batch)
    return sink.getvalue().to_pybytes()


@pytest.fixture
def logs(store_clickhouse: ClickHouse) -> LogStore:
    return LogStore(store_clickhouse)


async def store(logs: LogStore, *rows: dict[str, Any], token: str = "") -> None:
    await logs.insert(stream(rows), rows=len(rows), token=token or uuid.uuid4().hex)


async def find(logs: LogStore, scope: OrgScope = ACME, /, **changes: Any) -> list[LogRow]:
    selection = LogSelection(**{"start_ns": NOON - 10**15, "end_ns": NOON + 10**15, **changes})
    return (await logs.search(scope, selection)).rows


async def count(clickhouse: ClickHouse, sql: str) -> int:
    answer = await clickhouse.read(sql, tuple[int], doing="count")
    return answer.rows[0][0]


async def parts(clickhouse: ClickHouse) -> int:
    """Parts as they were inserted: level 0, whether merged since or not."""
    return await count(
        clickhouse,
        "SELECT toUInt32(count()) FROM system.parts WHERE database = currentDatabase() AND table = 'logs' AND level = 0",
    )


# Writing


def test_the_arrow_schema_of_the_agents_has_the_columns_of_the_store() -> None:
    assert tuple(SCHEMA.names) == LOG_COLUMNS


async def test_a_log_comes_back_exactly(logs: LogStore) -> None:
    ts = NOON + 123_456_789
    texts = {
        "service": "søk",
        "level": "warn",
        "message": "line 1\nline 2\ttab \x00 nul \x1b \\ \" ' ` 😀 \u2028 {x:String} %s $1",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
        "host": "h-1",
        "environment": "prod",
        "version": "1.2.3",
        "attributes": '{"a": 1.50, "b": {"c": [true, null]}, "dup": 1, "dup": 2}',
    }
    await store(logs, log(ts=ts, record_id=(1 << 64) - 1, retention_days=30, **texts))
    (row,) = await find(logs)
    assert row == LogRow(ts_ns=ts, record_id=(1 << 64) - 1, received_at_ms=RECEIVED_MS, **texts)


@pytest.mark.parametrize("ts", [0, 1, -1, -1_000_000_001, 253_402_300_799, 9_200_000_000_000_000_000])
async def test_any_nanosecond_is_found_at_itself_and_nowhere_else(logs: LogStore, ts: int) -> None:
    await store(logs, log(ts=ts))
    assert [row.ts_ns for row in await find(logs, start_ns=ts, end_ns=ts + 1)] == [ts]
    assert await find(logs, start_ns=ts - 1, end_ns=ts) == []
    assert await find(logs, start_ns=ts + 1, end_ns=ts + 2) == []


async def test_many_record_batches_are_one_part(logs: LogStore, store_clickhouse: ClickHouse) -> None:
    rows = [log(record_id=i) for i in range(60_000)]
    block = stream(rows, rows_a_batch=500)
    await logs.insert(block, rows=len(rows), token="one")
    assert await parts(store_clickhouse) == 1
    await logs.insert(block, rows=len(rows), token="one")
    assert await parts(store_clickhouse) == 1
    assert await count(store_clickhouse, "SELECT toUInt32(count()) FROM logs") == 60_000


async def test_a_token_stores_once_and_another_stores_again(logs: LogStore) -> None:
    for _ in range(3):
        await store(logs, log(), token="t/1")
    assert len(await find(logs)) == 1
    await store(logs, log(), token="t/2")
    assert len(await find(logs)) == 2


async def test_a_token_is_about_itself_and_not_about_the_rows(logs: LogStore) -> None:
    await store(logs, log(message="first"), token="t")
    await store(logs, log(message="second"), token="t")
    assert [row.message for row in await find(logs)] == ["first"]


async def test_a_block_over_midnight_is_stored_once(logs: LogStore, store_clickhouse: ClickHouse) -> None:
    rows = [log(record_id=i, received_at=RECEIVED_MS + (i % 2) * DAY_MS) for i in range(1000)]
    block = stream(rows, rows_a_batch=7)
    for _ in range(3):
        await logs.insert(block, rows=1000, token="midnight")
    assert await parts(store_clickhouse) == 2
    assert len(await find(logs, limit=1000)) == 1000
    assert await count(store_clickhouse, "SELECT toUInt32(count()) FROM logs") == 1000


async def test_half_a_block_over_midnight_is_completed(logs: LogStore) -> None:
    """A crash between the two days' parts: the repeat adds what is missing and nothing else."""
    rows = [log(record_id=i, received_at=RECEIVED_MS + (i % 2) * DAY_MS) for i in range(100)]
    await logs.insert(stream(rows[::2]), rows=50, token="midnight")
    for _ in range(2):
        await logs.insert(stream(rows), rows=100, token="midnight")
    assert sorted(row.record_id for row in await find(logs, limit=1000)) == list(range(100))


async def test_a_backdated_batch_is_one_part(logs: LogStore, store_clickhouse: ClickHouse) -> None:
    await store(logs, *(log(ts=NOON - day * 86_400 * 10**9, record_id=day) for day in range(300)))
    assert await parts(store_clickhouse) == 1


async def test_no_rows_are_nothing(logs: LogStore, store_clickhouse: ClickHouse) -> None:
    await logs.insert(stream([]), rows=0, token="t")
    assert await parts(store_clickhouse) == 0


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"not arrow at all",
        stream([log()])[:-40],
        stream([{"org_id": "x"}], schema=pa.schema([("org_id", pa.string())])),
        stream([log(ts="yesterday")], schema=SCHEMA.set(1, pa.field("ts", pa.string()))),
        stream([log(retention_days="x")], schema=SCHEMA.set(13, pa.field("retention_days", pa.string()))),
    ],
    ids=["empty", "garbage", "cut", "columns missing", "text for time", "text for number"],
)
async def test_bytes_that_can_never_be_stored_are_refused(
    logs: LogStore, store_clickhouse: ClickHouse, block: bytes
) -> None:
    with pytest.raises(Refused) as caught:
        await logs.insert(block, rows=1, token="bad")
    assert caught.value.code == "bad_block"
    assert await parts(store_clickhouse) == 0


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ('{"s":"x\\"y","n":1,"f":1.5,"b":true,"z":null}', {"s": 'x"y', "n": "1", "f": "1.5", "b": "true", "z": ""}),
        ('{"o":{"k":[1,"z"]},"l":[1,{"q":"w"}]}', {"o": '{"k":[1,"z"]}', "l": '[1,{"q":"w"}]'}),
        ('{"":"empty","a.b":"dots","\\u00e9":"\\ud83d\\ude00"}', {"": "empty", "a.b": "dots", "é": "😀"}),
        ("{}", {}),
        # What simdjson does not read keeps its text and has no map; no insert fails for it.
        ('{"big":123456789012345678901234567890}', {}),
        ('{"huge":1e400}', {}),
        ('{"lone":"\\ud800"}', {}),
        ("", {}),
        ("[1]", {}),
        ("nonsense", {}),
        ('{"deep":' * 600 + "1" + "}" * 600, None),
    ],
)
async def test_any_attributes_are_stored_and_become_a_map(
    logs: LogStore, store_clickhouse: ClickHouse, attributes: str, expected: dict[str, str] | None
) -> None:
    await store(logs, log(attributes=attributes))
    (row,) = await find(logs)
    assert row.attributes == attributes
    answer = await store_clickhouse.read("SELECT toJSONString(attributes_map) FROM logs", tuple[str], doing="read")
    if expected is not None:
        assert json.loads(answer.rows[0][0]) == expected


async def test_a_row_goes_when_its_retention_is_over(logs: LogStore, store_clickhouse: ClickHouse) -> None:
    """Counted from arrival: an old event that has just arrived stays."""
    now_ms = await count(store_clickhouse, "SELECT toUnixTimestamp64Milli(now64(3))")
    for age_days, retention_days in ((40, 30), (40, 90), (40, 0), (0, 30)):
        arrived = now_ms - age_days * DAY_MS
        await store(
            logs, log(message=f"{age_days}/{retention_days}", received_at=arrived, retention_days=retention_days)
        )
    await store_clickhouse.command("OPTIMIZE TABLE logs FINAL")
    assert {row.message for row in await find(logs)} == {"40/90", "40/0", "0/30"}


# Reading


async def test_every_condition_narrows(logs: LogStore) -> None:
    await store(
        logs,
        log(record_id=1, service="api", level="error", message="Disk FULL on /dev/sda", trace_id="t1"),
        log(record_id=2, service="api", level="info", message="disk ok", trace_id="t2"),
        log(record_id=3, service="web", level="error", message="timeout", trace_id="t1"),
    )

    async def ids(**changes: Any) -> set[int]:
        return {row.record_id for row in await find(logs, **changes)}

    assert await ids() == {1, 2, 3}
    assert await ids(service="api") == {1, 2}
    assert await ids(level="error") == {1, 3}
    assert await ids(trace_id="t1") == {1, 3}
    assert await ids(search="disk") == {1, 2}
    assert await ids(search="") == {1, 2, 3}
    assert await ids(search="SK fu") == {1}
    assert await ids(service="api", level="error", trace_id="t1", search="full") == {1}
    assert await ids(service="API") == set()
    assert await ids(service="") == set()


async def test_start_is_inclusive_and_end_exclusive(logs: LogStore) -> None:
    await store(logs, *(log(ts=NOON + i, record_id=i) for i in range(4)))
    assert {row.ts_ns - NOON for row in await find(logs, start_ns=NOON + 1, end_ns=NOON + 3)} == {1, 2}
    assert await find(logs, start_ns=NOON, end_ns=NOON) == []


@pytest.mark.parametrize(
    ("message", "found", "missed"),
    [
        ("progress 100% done", ["100%", "% DONE"], ["1%0", "%%"]),
        ("snake_case", ["snake_case", "E_C"], ["snak_case", "______"]),
        (r"C:\temp\new", [r"C:\temp", "\\", r"\new"], [r"C:\\temp", "C:\temp"]),
        ('it\'s `quoted` "twice"', ["it's `q", '"twice"'], ["''"]),
        ("tab\there\nnext", ["tab\there", "here\nnext", "\n"], [r"\t", r"\n"]),
        ("nul\x00byte", ["nul\x00byte", "\x00"], ["nul", "nul0byte"][1:]),
        ("cr\rlf", ["cr\rlf"], ["crlf"]),
        ("ΑΘΗΝΑ Größe ЖАР", ["αθηνα", "GRÖSSE"[:3], "жар"], ["groesse"]),
        ("😀 emoji", ["😀", "😀 EMOJI"], ["😁"]),
        ("{x:String} ?", ["{x:string}", "{x:String} ?"], ["{y:String}"]),
        ("a&b=c+d%20e#f", ["a&b=c+d%20e#f"], ["a b"]),
        ("x", ["x", "X"], ["xx"]),
    ],
)
async def test_search_text_is_taken_literally(
    logs: LogStore, message: str, found: list[str], missed: list[str]
) -> None:
    await store(logs, log(message=message))
    for text in found:
        assert len(await find(logs, search=text)) == 1, text
    for text in missed:
        assert await find(logs, search=text) == [], text


async def test_long_search_texts_work(logs: LogStore) -> None:
    """Beyond 4 KB of URL, clickhouse-connect sends parameters as form data."""
    for text in ("long " * 200, "😀" * 1000):
        await store(logs, log(message=f"<{text}>"))
        assert len(await find(logs, search=text)) == 1


INJECTIONS = [
    "' OR '1'='1",
    "' OR 1=1 --",
    "\\' OR 1=1 --",
    "'; DROP TABLE logs; --",
    "') OR (org_id != '",
    "{org_id:String}",
    "%' OR '%'='",
    "$conditions",
    "\x00' OR 1=1",
    "') UNION ALL SELECT * FROM logs --",
    "\\N",
    "\t",
]


@pytest.mark.parametrize("text", INJECTIONS)
async def test_no_text_is_ever_sql(logs: LogStore, text: str) -> None:
    await store(logs, log(record_id=1), log(record_id=2, org_id=OTHER.org_id, message="secret of another"))
    for field in ("service", "level", "trace_id", "search"):
        assert await find(logs, **{field: text}) == [], field
    await store(logs, log(record_id=3, service=text, level=text, trace_id=text, message=f"a{text}b"))
    for field in ("service", "level", "trace_id", "search"):
        assert [row.record_id for row in await find(logs, **{field: text})] == [3], field


async def test_another_organization_is_never_seen(logs: LogStore) -> None:
    await store(logs, *(log(record_id=i, org_id=(ACME, OTHER)[i % 2].org_id, ts=NOON + i) for i in range(50)))
    for scope, rest in ((ACME, 0), (OTHER, 1)):
        rows = await find(logs, scope, limit=1000)
        assert len(rows) == 25
        assert {row.record_id % 2 for row in rows} == {rest}
    assert await find(logs, OrgScope(str(uuid.uuid4()))) == []


async def test_a_cursor_of_another_organization_shows_only_ones_own(logs: LogStore) -> None:
    await store(logs, *(log(record_id=i, org_id=(ACME, OTHER)[i % 2].org_id, ts=NOON + i) for i in range(50)))
    selection = LogSelection(start_ns=NOON, end_ns=NOON + 50, limit=5)
    cursor = (await logs.search(OTHER, selection)).next_cursor
    rows = await find(logs, ACME, cursor=cursor, limit=1000)
    assert [row.record_id for row in rows] == list(range(40, -1, -2))


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_pages_cover_everything_once_while_logs_arrive(logs: LogStore, order: str) -> None:
    """Many records share a nanosecond, and between the pages more of them arrive on both sides of the cursor."""
    await store(logs, *(log(ts=NOON + i // 20, record_id=i * 10) for i in range(200)))
    seen: list[tuple[int, int]] = []
    cursor: str | None = None
    for page_number in range(100):
        page = await logs.search(
            ACME,
            LogSelection(start_ns=NOON, end_ns=NOON + 10, order=order, limit=33, cursor=cursor),  # type: ignore[arg-type]  # a parameter
        )
        seen += [(row.ts_ns, row.record_id) for row in page.rows if row.record_id % 10 == 0]
        cursor = page.next_cursor
        if cursor is None:
            break
        await store(logs, *(log(ts=NOON + i, record_id=1001 + page_number * 10) for i in range(10)))
    expected = [(NOON + i // 20, i * 10) for i in range(200)]
    assert seen == (expected[::-1] if order == "newest" else expected)


async def test_the_last_page_has_no_cursor(logs: LogStore) -> None:
    await store(logs, *(log(ts=NOON + i, record_id=i) for i in range(10)))

    async def page(limit: int, cursor: str | None = None) -> tuple[int, str | None]:
        selection = LogSelection(start_ns=NOON, end_ns=NOON + 10, limit=limit, cursor=cursor)
        found = await logs.search(ACME, selection)
        return len(found.rows), found.next_cursor

    assert await page(11) == (10, None)
    assert await page(10) == (10, None)
    rows, cursor = await page(9)
    assert (rows, await page(9, cursor)) == (9, (1, None))
    assert await page(5, RecordCursor(NOON, 0).encode()) == (0, None)


async def test_record_ids_beyond_63_bits_keep_their_order(logs: LogStore) -> None:
    ids = [0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
    await store(logs, *(log(record_id=i) for i in ids))
    seen: list[int] = []
    cursor: str | None = None
    while True:
        page = await logs.search(ACME, LogSelection(start_ns=NOON, end_ns=NOON + 1, limit=1, cursor=cursor))
        seen += [row.record_id for row in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == ids[::-1]


async def test_a_search_reads_little_of_a_large_table(logs: LogStore, store_clickhouse: ClickHouse) -> None:
    """The order key serves a page, and the indexes a trace, a rare text, a rare service; else every row would be read."""
    rows = [
        log(
            ts=NOON + i * 1000,
            record_id=i,
            message=f"request {i * 7919 % 100_003} served",
            trace_id=f"{i * 104_729 % 1_000_003:032x}",
            service="rare" if i == 70_000 else "api",
            level="fatal" if i == 70_000 else "info",
        )
        for i in range(80_000)
    ]
    rows[70_000]["message"] += " with ZYZZYVA_100%"
    await store(logs, *rows)
    await store_clickhouse.command("OPTIMIZE TABLE logs FINAL")
    for changes in (
        {"limit": 10},
        {"limit": 10, "order": "oldest"},
        {"trace_id": rows[70_000]["trace_id"]},
        {"search": "zyzzyva_100%"},
        {"service": "rare"},
        {"level": "fatal"},
    ):
        page = await logs.search(ACME, LogSelection(**{"start_ns": NOON, "end_ns": NOON + 10**9, **changes}))
        assert page.rows
        assert 0 < page.stats.rows_read <= 4 * 8192, changes
        assert page.stats.bytes_read > 0
        assert page.stats.elapsed_ms > 0


async def test_an_attribute_is_found_by_an_index(logs: LogStore, store_clickhouse: ClickHouse) -> None:
    """The condition of the .sql file skips the granules that lack the value, and loses no spelling of it."""
    values = [
        '"needle"',
        "4711",
        '"\\u006eeedle"',
        '"4711"',
        "4.711e3",
        "[1]",
        "true",
        "null",
        '""',
        '"a b"',
        '{"deep":' * 600,
    ]
    for i, value in enumerate(values):
        rows = [
            log(ts=NOON + j, record_id=i * 100_000 + j, attributes=f'{{"id": "{uuid.uuid4()}"}}') for j in range(9000)
        ]
        rows[0]["attributes"] = f'{{"k": {value}, "x": "{i}"}}'
        await store(logs, *rows)
    await store_clickhouse.command("OPTIMIZE TABLE logs FINAL")
    condition = Template(load_queries("logs.sql")["where_attribute_equal"]).substitute(key="key", value="value")

    async def found(value: str, **settings: int) -> Answer[tuple[int]]:
        return await store_clickhouse.read(
            f"SELECT record_id FROM logs WHERE {condition} ORDER BY record_id",
            tuple[int],
            {"key": "k", "value": value},
            settings,
            doing="search",
        )

    for value, ids in (("needle", [0, 2]), ("4711", [1, 3, 4]), ("[1]", [5]), ("true", [6]), ("a b", [9]), ("1", [])):
        answer = await found(value)
        assert [row[0] // 100_000 for row in answer.rows] == ids
        assert answer.rows == (await found(value, use_skip_indexes=0)).rows
        assert answer.stats.rows_read < 9000 * len(values) / 2
    # Also what has no such attribute at all: all but the eight that have a value.
    assert len((await found("")).rows) == 9000 * len(values) - 8

    explained = await store_clickhouse.read(
        f"EXPLAIN indexes = 1 SELECT record_id FROM logs WHERE {condition}",
        tuple[str],
        {"key": "k", "value": "needle"},
        doing="explain",
    )
    assert any("attributes_values" in line for (line,) in explained.rows)


async def test_a_page_finds_what_an_earlier_one_decompressed(logs: LogStore, store_clickhouse: ClickHouse) -> None:
    async def hits() -> int:
        return await count(
            store_clickhouse, "SELECT sum(value) FROM system.events WHERE event = 'UncompressedCacheHits'"
        )

    await store(logs, *(log(ts=NOON + i, record_id=i, message=f"request {i} served") for i in range(10_000)))
    before = await hits()
    first = await find(logs, search="served", limit=10)
    kept = await hits()
    assert await find(logs, search="served", limit=10) == first
    assert await hits() > kept >= before


async def test_a_search_past_a_limit_names_it(store_clickhouse: ClickHouse) -> None:
    await store(LogStore(store_clickhouse), *(log(record_id=i, message="x" * 1000) for i in range(1000)))
    for limits, name in (
        (SearchLimits(bytes_to_read_max=10), "max_bytes_to_read = 10"),
        (SearchLimits(result_bytes_max=1000), "max_result_bytes = 1000"),
        (SearchLimits(memory_bytes_max=1000), "max_memory_usage = 1000"),
    ):
        with pytest.raises(TooExpensive) as caught:
            await find(LogStore(store_clickhouse, limits), limit=1000)
        assert caught.value.limit == name
