"""The hourly statistics equal the tables exactly, through repeats and days; and scoped queries show one organization only."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from storage import scoped_queries
from storage.clickhouse import ClickHouse
from storage.histograms import quantile
from storage.hourly import HourlyStore, LogsHour, RumHour, SpansHour
from storage.logs import LOG_COLUMNS
from storage.record_table import RecordTable
from storage.rum import RUM_COLUMNS
from storage.scope import OrgScope
from storage.scoped_queries import TENANT_TABLES, ScopedQueries, ScopedQuery, checked
from storage.search_limits import SearchLimits
from storage.spans import SPAN_COLUMNS
from topics.errors import Refused, TooExpensive, Unavailable

ACME = OrgScope("11111111-1111-4111-8111-111111111111")
OTHER = OrgScope("22222222-2222-4222-8222-222222222222")
HOUR_NS = 3600 * 10**9
NOON = 1_761_912_000_000_000_000  # 2025-10-31T12:00:00Z
NOON_S = NOON // 10**9
MIDNIGHT_MS = 1_795_478_400_000  # 2026-11-24T00:00:00Z, when the records arrive
ALWAYS = {"start_ns": -(1 << 62), "end_ns": 1 << 62}
_TYPES = {
    "ts": pa.timestamp("ns", "UTC"),
    "record_id": pa.uint64(),
    "duration_ns": pa.uint64(),
    "value": pa.float64(),
    "latitude": pa.float64(),
    "longitude": pa.float64(),
    "is_bot": pa.uint8(),
    "received_at": pa.timestamp("ms", "UTC"),
    "retention_days": pa.uint16(),
}
_COLUMNS = {"logs": LOG_COLUMNS, "spans": SPAN_COLUMNS, "rum_events": RUM_COLUMNS}

Keep = Callable[..., Any]


def record(columns: tuple[str, ...], number: int, **changes: Any) -> dict[str, Any]:
    """A record of any signal; numbers spread over services, levels, hours and two days of arrival."""
    row: dict[str, Any] = {name: None if name in ("latitude", "longitude") else "" for name in columns}
    row |= {
        "org_id": ACME.org_id,
        "ts": NOON + number * HOUR_NS // 100,
        "record_id": number,
        "service": f"s{number % 3}",
        "level": f"l{number % 2}",
        "operation": f"o{number % 2}",
        "status": "error" if number % 7 == 0 else "ok",
        "duration_ns": number * 1000,
        "value": None if number % 5 == 0 else number / 4,
        "type": "vital",
        "error_type": "E" if number % 7 == 0 else "",
        "is_bot": 0,
        "attributes": "{}",
        "message": "x" * (number % 10),
        "received_at": MIDNIGHT_MS + (number % 2 - 1) * 1000,
        "retention_days": 30,
        **changes,
    }
    return {name: row[name] for name in columns}


@pytest.fixture
def keep(store_clickhouse: ClickHouse, store_block: Keep) -> Keep:
    """Stores records of a signal as one block; `keep("logs", numbers, token=..., **changes)`."""

    async def insert(name: str, numbers: range, *, token: str = "", **changes: Any) -> None:
        columns = _COLUMNS[name]
        schema = pa.schema([(column, _TYPES.get(column, pa.string())) for column in columns])
        rows = [record(columns, number, **changes) for number in numbers]
        table = RecordTable(store_clickhouse, None, name=name, what=name, columns=columns)
        await table.insert(store_block(rows, schema), rows=len(rows), token=token or uuid.uuid4().hex)

    return insert


@pytest.fixture
def hourly(store_clickhouse: ClickHouse) -> HourlyStore:
    return HourlyStore(store_clickhouse)


async def rows_of(clickhouse: ClickHouse, sql: str) -> list[Any]:
    return (await clickhouse.read(sql, list[Any], doing="look")).rows


# What each view must say, computed from the table itself in another way than the view does.
_FROM_TABLE = {
    "logs": "SELECT org_id, service, level, toUnixTimestamp64Nano(ts) DIV 3600000000000 AS h, count(), "
    "sum(length(message) + length(attributes)) FROM logs GROUP BY ALL ORDER BY ALL",
    "spans": "SELECT org_id, service, operation, kind, toUnixTimestamp64Nano(ts) DIV 3600000000000 AS h, count(), "
    "sum(status = 'error'), sum(duration_ns), min(duration_ns), max(duration_ns) FROM spans GROUP BY ALL ORDER BY ALL",
    "rum_events": "SELECT org_id, type, page_path, name, toUnixTimestamp64Nano(ts) DIV 3600000000000 AS h, count(), "
    "sum(error_type != ''), count(value), sum(ifNull(value, 0)) FROM rum_events GROUP BY ALL ORDER BY ALL",
}
_FROM_VIEW = {
    "logs": "SELECT org_id, service, level, toUnixTimestamp64Second(hour) DIV 3600 AS h, sum(count), sum(bytes) "
    "FROM logs_hourly GROUP BY ALL ORDER BY ALL",
    "spans": "SELECT org_id, service, operation, kind, toUnixTimestamp64Second(hour) DIV 3600 AS h, sum(count), sum(errors), "
    "sum(duration_ns_sum), min(duration_ns_min), max(duration_ns_max) FROM spans_hourly GROUP BY ALL ORDER BY ALL",
    "rum_events": "SELECT org_id, type, page_path, name, toUnixTimestamp64Second(hour) DIV 3600 AS h, sum(count), "
    "sum(errors), sum(value_count), sum(value_sum) FROM rum_hourly GROUP BY ALL ORDER BY ALL",
}
_HOURLY = {"logs": "logs_hourly", "spans": "spans_hourly", "rum_events": "rum_hourly"}


@pytest.mark.parametrize("name", sorted(_COLUMNS))
async def test_statistics_equal_the_table_through_repeats(store_clickhouse: ClickHouse, keep: Keep, name: str) -> None:
    """Blocks of two days of arrival, repeated at once and later, and identical rows under other tokens."""
    for token in ("a", "b", "a", "c", "b", "a"):
        await keep(name, range(1000), token=token)
    await keep(name, range(500, 2000), token="d")
    await keep(name, range(1), token="e", org_id=OTHER.org_id)
    total = "SELECT toUInt32(count()), toUInt32(uniqExact(toDate(received_at))) FROM " + name
    assert await rows_of(store_clickhouse, total) == [[4501, 2]]
    expected = await rows_of(store_clickhouse, _FROM_TABLE[name])
    assert await rows_of(store_clickhouse, _FROM_VIEW[name]) == expected
    await store_clickhouse.command(f"OPTIMIZE TABLE {_HOURLY[name]} FINAL")
    assert await rows_of(store_clickhouse, _FROM_VIEW[name]) == expected


@pytest.mark.parametrize("name", sorted(_COLUMNS))
async def test_a_crash_between_the_table_and_its_statistics_is_mended_by_the_repeat(
    store_clickhouse: ClickHouse, keep: Keep, name: str
) -> None:
    """The view is away while the table takes the block: what a crash between the two parts leaves behind."""
    view = f"{_HOURLY[name]}_view"
    await store_clickhouse.command(f"DETACH TABLE {view}")
    await keep(name, range(1000), token="a")
    assert await rows_of(store_clickhouse, _FROM_VIEW[name]) == []
    await store_clickhouse.command(f"ATTACH TABLE {view}")
    await keep(name, range(1000), token="a")
    assert await rows_of(store_clickhouse, _FROM_VIEW[name]) == await rows_of(store_clickhouse, _FROM_TABLE[name])


@pytest.mark.parametrize("name", sorted(_COLUMNS))
async def test_times_far_away_have_their_hour_too(store_clickhouse: ClickHouse, keep: Keep, name: str) -> None:
    """Before 1970 and after 2106, where DateTime wraps."""
    times = [-1, 0, -HOUR_NS, 9_200_000_000_000_000_000, -9_000_000_000_000_000_000]
    for number, ts in enumerate(times):
        await keep(name, range(number, number + 1), ts=ts)
    found = await rows_of(store_clickhouse, f"SELECT toUnixTimestamp64Second(hour), count FROM {_HOURLY[name]}")
    assert sum(count for _, count in found) == 5
    assert {hour for hour, _ in found} == {ts // HOUR_NS * 3600 for ts in times}


@pytest.mark.parametrize("name", sorted(_COLUMNS))
async def test_statistics_live_as_long_as_their_records(store_clickhouse: ClickHouse, keep: Keep, name: str) -> None:
    """Of a day long past, what is kept for ever stays; what has just arrived stays, whatever its retention."""
    now_ms = time.time_ns() // 10**6
    for received_at, days in (
        (1_600_000_000_000, 30),
        (1_600_000_000_000, 0),
        (now_ms, 1),
        (now_ms - 5 * 86_400_000, 3),
    ):
        await keep(name, range(10), received_at=received_at, retention_days=days)
    for table in (name, _HOURLY[name]):
        await store_clickhouse.command(f"OPTIMIZE TABLE {table} FINAL")
        kept = await rows_of(store_clickhouse, f"SELECT DISTINCT retention_days FROM {table} ORDER BY retention_days")
        assert kept == [[0], [1]], table


async def test_logs_by_hour(hourly: HourlyStore, keep: Keep) -> None:
    await keep("logs", range(200))
    await keep("logs", range(200), org_id=OTHER.org_id)
    rows = await hourly.logs(ACME, start_ns=NOON, end_ns=NOON + 2 * HOUR_NS, service="s0")
    assert [(row.hour_s - NOON_S, row.level) for row in rows] == [(0, "l0"), (0, "l1"), (3600, "l0"), (3600, "l1")]
    assert sum(row.count for row in rows) == 67
    one = await hourly.logs(ACME, start_ns=NOON, end_ns=NOON + 1, service="s1", level="l1")
    assert one == [LogsHour(NOON_S, "s1", "l1", 17, sum(2 + n % 10 for n in range(1, 100, 6)))]


async def test_spans_by_hour_with_quantiles(hourly: HourlyStore, keep: Keep) -> None:
    for _ in range(3):
        await keep("spans", range(100))
    rows = await hourly.spans(ACME, **ALWAYS, service="s0", operation="o0", kind="")
    numbers = range(0, 100, 6)
    (row,) = rows
    expected = SpansHour(NOON_S, "s0", "o0", "", 51, 9, 3000 * sum(numbers), 0, 96_000, row.histogram)
    assert row == expected
    assert sum(row.histogram.values()) == 51
    assert quantile(row.histogram, 1) == pytest.approx(96_000, rel=0.022)
    assert quantile(row.histogram, 0.5) == pytest.approx(48_000, rel=0.022)
    assert quantile(row.histogram, 0) == 0


async def test_rum_by_hour_with_quantiles(hourly: HourlyStore, keep: Keep) -> None:
    await keep("rum_events", range(100))
    (row,) = await hourly.rum(ACME, **ALWAYS, type="vital", page_path="", name="")
    values = sorted(n / 4 for n in range(100) if n % 5)
    assert row == RumHour(NOON_S, "vital", "", "", 100, 15, 80, sum(values), row.histogram)
    assert quantile(row.histogram, 0.9) == pytest.approx(values[71], rel=0.022)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), -3.0, 0.0, 5e-324, 1.7e308])
async def test_no_value_fails_an_insert(hourly: HourlyStore, keep: Keep, value: float) -> None:
    await keep("rum_events", range(3), value=value)
    (row,) = await hourly.rum(ACME, **ALWAYS)
    assert sum(row.histogram.values()) == row.count == 3


async def test_another_organization_is_never_seen_in_statistics(hourly: HourlyStore, keep: Keep) -> None:
    for name in _COLUMNS:
        await keep(name, range(10), org_id=OTHER.org_id)
    for scope, count in ((ACME, 0), (OTHER, 10)):
        for read in (hourly.logs, hourly.spans, hourly.rum):
            assert sum(row.count for row in await read(scope, **ALWAYS)) == count
    for text in ("' OR 1=1 --", "{org_id:String}", "\\"):
        assert await hourly.logs(ACME, **ALWAYS, service=text) == []


async def test_bad_hours_name_the_field(hourly: HourlyStore) -> None:
    with pytest.raises(Refused) as caught:
        await hourly.logs(ACME, start_ns=2, end_ns=1)
    assert caught.value.path == "end"
    with pytest.raises(Refused) as caught:
        await hourly.spans(ACME, **ALWAYS, operation="x" * 1001)
    assert caught.value.path == "operation"


# Scoped queries


def unchecked(sql: str) -> ScopedQuery:
    """A query that slipped past the first wall, to see the second one alone."""
    return ScopedQuery("q", sql, scoped_queries._MADE_HERE)


async def test_a_scoped_query_binds_its_parameters(store_clickhouse: ClickHouse, keep: Keep) -> None:
    await keep("logs", range(10))
    query = checked(
        "q",
        "SELECT service, toUInt32(count()) FROM logs WHERE org_id = {org_id:String} AND service IN {names:Array(String)} "
        "GROUP BY service ORDER BY service",
        "test.sql",
    )
    queries = ScopedQueries(store_clickhouse)
    names = ["s0", "s1", "' OR 1=1 --"]
    answer = await queries.read(ACME, query, tuple[str, int], {"names": names}, doing="count")
    assert answer.rows == [("s0", 4), ("s1", 3)]
    # A caller cannot bind another organization than the scope's.
    found = await queries.read(OTHER, query, tuple[str, int], {"names": names, "org_id": ACME.org_id}, doing="count")
    assert found.rows == []


LEAKS = [
    "SELECT toUInt32(count()) FROM {table}",
    "SELECT toUInt32(count()) FROM (SELECT * FROM {table})",
    "WITH t AS (SELECT * FROM {table}) SELECT toUInt32(count()) FROM t",
    "SELECT toUInt32(count()) FROM numbers(1) WHERE 1 IN (SELECT 1 FROM {table})",
    "SELECT toUInt32((SELECT count() FROM {table}))",
    "SELECT toUInt32(count()) FROM numbers(1) AS n CROSS JOIN {table} AS t",
    "SELECT toUInt32(count()) FROM {table} WHERE org_id != {{org_id:String}} OR 1",
    "SELECT toUInt32(count()) FROM test_shared.{table}",
    "SELECT toUInt32(sum(c)) FROM (SELECT 0 AS c UNION ALL SELECT count() AS c FROM {table})",
]


@pytest.mark.parametrize("table", TENANT_TABLES)
async def test_the_server_filters_even_a_query_that_forgot(
    store_clickhouse: ClickHouse, keep: Keep, table: str
) -> None:
    for name in _COLUMNS:
        await keep(name, range(10), org_id=OTHER.org_id)
    queries = ScopedQueries(store_clickhouse)
    for leak in LEAKS:
        sql = unchecked(leak.format(table=table))
        assert (await queries.read(ACME, sql, tuple[int], doing="leak")).rows == [(0,)], sql.sql
        assert (await queries.read(OTHER, sql, tuple[int], doing="leak")).rows != [(0,)], sql.sql


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT toUInt32(count()) FROM logs SETTINGS additional_table_filters = {}",
        "SELECT toUInt32(count()) FROM logs SETTINGS readonly = 0",
        "SET readonly = 0",
        "TRUNCATE TABLE logs",
        "INSERT INTO logs (org_id) SELECT 'x'",
    ],
)
async def test_a_scoped_query_changes_nothing(store_clickhouse: ClickHouse, keep: Keep, sql: str) -> None:
    await keep("logs", range(10), org_id=OTHER.org_id)
    with pytest.raises(Unavailable):
        await ScopedQueries(store_clickhouse).read(ACME, unchecked(sql), tuple[int], doing="change")
    assert await rows_of(store_clickhouse, "SELECT toUInt32(count()) FROM logs") == [[10]]


async def test_a_scoped_query_past_a_limit_names_it(store_clickhouse: ClickHouse, keep: Keep) -> None:
    await keep("logs", range(1000))
    queries = ScopedQueries(store_clickhouse, SearchLimits(rows_to_read_max=10))
    with pytest.raises(TooExpensive) as caught:
        await queries.read(ACME, unchecked("SELECT message FROM logs"), tuple[str], doing="read")
    assert caught.value.limit == "max_rows_to_read = 10"
