"""The ClickHouse client when the server is away, killed, slow, full or talking nonsense; only our own errors come out."""

from __future__ import annotations

import asyncio
import gc
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from storage.clickhouse import ClickHouse, ClickHouseAddress
from storage.logs import LogStore
from storage.migrations import migrate
from topics.errors import TooExpensive, Unavailable
from topics.log_columns import SCHEMA

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _block(rows: int) -> bytes:
    """An Arrow stream of rows whose every value is nothing."""
    columns = [
        pa.array([""] * rows) if kind == pa.string() else pa.array([0] * rows, pa.int64()).cast(kind)
        for kind in SCHEMA.types
    ]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        writer.write_table(pa.Table.from_arrays(columns, schema=SCHEMA))
    return sink.getvalue().to_pybytes()


async def _rows(clickhouse: ClickHouse) -> int:
    answer = await clickhouse.read("SELECT toUInt32(count()) FROM logs", tuple[int], doing="count")
    return answer.rows[0][0]


@asynccontextmanager
async def _served(serve: Serve) -> AsyncIterator[ClickHouseAddress]:
    """A server that treats each connection as `serve` says; connections are closed at the latest when the test ends."""
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await serve(reader, writer)
        except (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield ClickHouseAddress("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections)
        await asyncio.sleep(0)  # a closed transport lets go of its socket one turn later


async def test_a_server_that_comes_goes_and_comes_back(store_clickhouse_kind: Any, store_dsn: str) -> None:
    """Away at creation; then there; then killed in use; then there again with its data and its tokens."""
    server = store_clickhouse_kind(Path(tempfile.mkdtemp(prefix="aegis-test-clickhouse-")))
    address = ClickHouseAddress("127.0.0.1", server.port, database="aegis")
    block = _block(10)
    try:
        async with ClickHouse(address) as clickhouse:
            logs = LogStore(clickhouse)
            for call in (clickhouse.ping(), logs.insert(block, rows=10, token="t/1")):
                with pytest.raises(Unavailable):
                    await call
            server.start()
            with pytest.raises(Unavailable, match="aegis migrate"):
                await logs.insert(block, rows=10, token="t/1")
            await migrate(control_plane_dsn=store_dsn, clickhouse=address)
            await clickhouse.ping()
            await logs.insert(block, rows=10, token="t/1")
            server.kill()
            with pytest.raises(Unavailable):
                await logs.insert(block, rows=10, token="t/1")
            with pytest.raises(Unavailable):
                await clickhouse.ping()
            server.start()
            await logs.insert(block, rows=10, token="t/1")
            assert await _rows(clickhouse) == 10
            await logs.insert(block, rows=10, token="t/2")
            assert await _rows(clickhouse) == 20
    finally:
        server.stop()
        shutil.rmtree(server.folder)


async def test_a_kill_in_an_insert_stores_all_or_nothing(store_clickhouse_kind: Any, store_dsn: str) -> None:
    server = store_clickhouse_kind(Path(tempfile.mkdtemp(prefix="aegis-test-clickhouse-")))
    address = ClickHouseAddress("127.0.0.1", server.port, database="aegis")
    block = _block(50_000)
    try:
        server.start()
        await migrate(control_plane_dsn=store_dsn, clickhouse=address)
        async with ClickHouse(address) as clickhouse:
            logs = LogStore(clickhouse)
            for number, delay_s in enumerate((0.02, 0.06, 0.12), start=1):
                insert = asyncio.create_task(logs.insert(block, rows=50_000, token=f"t/{number}"))
                await asyncio.sleep(delay_s)
                server.kill()
                await asyncio.gather(insert, return_exceptions=True)
                server.start()
                await logs.insert(block, rows=50_000, token=f"t/{number}")
                assert await _rows(clickhouse) == 50_000 * number
    finally:
        server.stop()
        shutil.rmtree(server.folder)


async def test_an_older_schema_says_what_to_run(store_clickhouse_address: ClickHouseAddress) -> None:
    async with ClickHouse(store_clickhouse_address) as clickhouse:
        for call in (clickhouse.ping(), LogStore(clickhouse).insert(_block(1), rows=1, token="t")):
            with pytest.raises(Unavailable, match="aegis migrate"):
                await call


async def test_a_slow_query_is_too_expensive_and_names_its_limit(store_clickhouse: ClickHouse) -> None:
    with pytest.raises(TooExpensive) as caught:
        await store_clickhouse.read(
            "SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 0",
            tuple[int],
            settings={"max_execution_time": 0.3},
            doing="search",
        )
    assert caught.value.limit == "max_execution_time = 0.3"


async def test_a_cancelled_read_leaves_a_client_that_works(store_clickhouse: ClickHouse) -> None:
    slow = "SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 0"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await store_clickhouse.read(slow, tuple[int], settings={"max_execution_time": 1}, doing="search")
    await store_clickhouse.ping()


async def test_many_at_once_share_the_connections(store_clickhouse: ClickHouse) -> None:
    async def one(number: int) -> int:
        answer = await store_clickhouse.read(
            "SELECT {n:UInt64} FROM numbers(3)", tuple[int], {"n": number}, doing="read"
        )
        assert len(answer.rows) == 3
        return answer.rows[0][0]

    assert await asyncio.gather(*(one(number) for number in range(64))) == list(range(64))


async def test_a_closed_client_says_so_and_leaves_nothing_open(store_migrated_address: ClickHouseAddress) -> None:
    clickhouse = ClickHouse(store_migrated_address)
    await clickhouse.ping()
    await clickhouse.close()
    await clickhouse.close()
    with pytest.raises(Unavailable, match="closed"):
        await clickhouse.ping()
    never_used = ClickHouse(store_migrated_address)
    await never_used.close()
    del clickhouse, never_used
    gc.collect()  # a connection left open would warn here, and warnings are errors


async def test_closing_does_not_wait_for_a_stuck_query(store_migrated_address: ClickHouseAddress) -> None:
    clickhouse = ClickHouse(store_migrated_address)
    await clickhouse.ping()
    slow = "SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 0"
    query = asyncio.create_task(clickhouse.read(slow, tuple[int], settings={"max_execution_time": 3}, doing="search"))
    await asyncio.sleep(0.2)
    started = time.monotonic()
    await clickhouse.close(timeout_s=0.3)
    assert time.monotonic() - started < 1.5
    with pytest.raises(Unavailable):
        await query


async def test_closing_ends_an_attempt_to_connect() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with _served(silent) as address:
        clickhouse = ClickHouse(address)
        pings = [asyncio.create_task(clickhouse.ping(timeout_s=60)) for _ in range(5)]
        await asyncio.sleep(0.1)
        await clickhouse.close()
        for ping in pings:
            with pytest.raises(Unavailable, match="closed"):
                await ping


async def test_all_who_wait_share_one_attempt_to_connect() -> None:
    connections = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read()

    async with _served(silent) as address, ClickHouse(address, answer_timeout_s=0.3) as clickhouse:
        results = await asyncio.gather(*(clickhouse.ping() for _ in range(10)), return_exceptions=True)
        assert all(isinstance(result, Unavailable) for result in results)
        assert connections == 1


async def test_a_server_that_never_answers_is_unavailable_in_time() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with _served(silent) as address, ClickHouse(address, answer_timeout_s=0.3) as clickhouse:
        started = time.monotonic()
        with pytest.raises(Unavailable):
            await clickhouse.ping(timeout_s=0.2)
        with pytest.raises(Unavailable):
            await LogStore(clickhouse).insert(_block(1), rows=1, token="t")
        assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"not http\r\n\r\n",
        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy",
        b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 6\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ncut",
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 301 Moved\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
    ],
)
async def test_a_server_that_talks_nonsense_is_unavailable(answer: bytes) -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with _served(nonsense) as address, ClickHouse(address, answer_timeout_s=2) as clickhouse:
        with pytest.raises(Unavailable):
            await clickhouse.ping()
        with pytest.raises(Unavailable):
            await clickhouse.read("SELECT 1", tuple[int], doing="read")
        with pytest.raises(Unavailable):
            await LogStore(clickhouse).insert(_block(1), rows=1, token="t")


async def test_a_stream_gives_rows_as_they_come_and_a_failure_in_their_midst(store_clickhouse: ClickHouse) -> None:
    sql = "SELECT number, repeat('x', 100 + toUInt8(throwIf(number = {bad:UInt64}, 'bad row'))) FROM numbers(400000)"
    settings = {"max_block_size": 10_000, "max_threads": 1}

    async def count(bad: int) -> AsyncIterator[int]:
        async for rows in store_clickhouse.stream(sql, tuple[int, str], {"bad": bad}, settings, doing="count"):
            yield len(rows)

    parts = [rows async for rows in count(10**9)]
    assert (sum(parts), len(parts) > 10) == (400_000, True)
    failing = count(350_000)
    assert await anext(failing) > 0
    with pytest.raises(Unavailable, match=r"cannot count: .*bad row"):
        parts = [rows async for rows in failing]
    # Who goes away before the end leaves no connection behind that others would wait for.
    for _ in range(20):
        async for _ in count(10**9):
            break
    assert (await store_clickhouse.read("SELECT 1", tuple[int], doing="read")).rows == [(1,)]
