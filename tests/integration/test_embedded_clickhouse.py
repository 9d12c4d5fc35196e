"""ClickHouse's HTTP interface over chDB, spoken to by clickhouse-connect and by plain HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clickhouse_connect
import httpx
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from aegis.embedded.clickhouse.service import clickhouse_service
from aegis.embedded.ports import free_port
from aegis.supervision.supervisor import Supervisor

PASSWORD = "correct horse"
# Runs for minutes unless it is killed.
ENDLESS = "SELECT count() FROM numbers_mt(1000000000000) WHERE sipHash64(number) = 1"


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    port: int
    http: httpx.Client

    def ask(self, sql: str | bytes, **url: str) -> httpx.Response:
        return self.http.post("/", params=url, content=sql)

    def rows(self, sql: str, **url: str) -> list[str]:
        answer = self.ask(sql, **url)
        assert answer.status_code == 200, answer.text
        return answer.text.splitlines()

    def metric(self, line: str) -> float:
        found = [row for row in self.http.get("/metrics").text.splitlines() if row.startswith(line + " ")]
        return float(found[0].rsplit(" ", 1)[1]) if found else 0.0


def start_server(folder: Path, *options: str) -> Server:
    (folder / "password").write_text(PASSWORD + "\n")
    port = free_port(0)
    command = [sys.executable, "-m", "aegis.embedded.clickhouse", "--path", str(folder / "data"), "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--password-file", str(folder / "password"), *options], stderr=subprocess.DEVNULL
    )
    http = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"X-ClickHouse-Key": PASSWORD}, timeout=60)
    deadline = time.monotonic() + 20
    while True:
        try:
            http.get("/ping")
            return Server(process, port, http)
        except httpx.TransportError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)


def stop_server(server: Server) -> int:
    server.http.close()
    server.process.terminate()
    return server.process.wait(timeout=30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = start_server(tmp_path_factory.mktemp("clickhouse"))
    yield running
    assert stop_server(running) == 0


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Any]:
    made = await clickhouse_connect.get_async_client(host="127.0.0.1", port=server.port, password=PASSWORD)
    yield made
    await made.close()


# --- clickhouse-connect ---


async def test_the_async_client_inserts_and_reads_back(client: Any) -> None:
    await client.command("CREATE TABLE people (id UInt32, name String) ENGINE = MergeTree ORDER BY id")
    summary = await client.insert("people", [[1, "Ann"], [2, "O'Neil\t\n"]], column_names=["id", "name"])
    assert summary.written_rows == 2
    result = await client.query("SELECT id, name FROM people ORDER BY id")
    assert result.result_rows == [(1, "Ann"), (2, "O'Neil\t\n")]
    assert await client.command("SELECT count() FROM people") == 2
    assert (await client.query("SELECT * FROM people LIMIT 0")).column_names == ("id", "name")
    assert (await client.query_arrow("SELECT id FROM people")).num_rows == 2


def test_the_sync_client_works_and_names_a_database(server: Server) -> None:
    server.rows("CREATE DATABASE IF NOT EXISTS other")
    made = clickhouse_connect.get_client(host="127.0.0.1", port=server.port, password=PASSWORD, database="other")
    try:
        assert made.command("SELECT currentDatabase()") == "other"
        assert made.query("SELECT number FROM numbers(3)").result_rows == [(0,), (1,), (2,)]
    finally:
        made.close()


@pytest.mark.parametrize("compression", ["gzip", "zstd", "lz4"])
async def test_compressed_both_ways(server: Server, compression: str) -> None:
    made = await clickhouse_connect.get_async_client(
        host="127.0.0.1", port=server.port, password=PASSWORD, compress=compression
    )
    try:
        table = f"compressed_{compression}"
        await made.command(f"CREATE TABLE {table} (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
        await made.insert(table, [[n, str(n) * 5] for n in range(50_000)], column_names=["n", "s"])
        await made.raw_insert(table, ["n", "s"], b"50000\tx\n", fmt="TabSeparated")
        rows = (await made.query(f"SELECT n, s FROM {table} ORDER BY n")).result_rows
        assert len(rows) == 50_001
        assert rows[49_999] == (49_999, "49999" * 5)
    finally:
        await made.close()


def test_the_answer_is_compressed_only_when_asked(server: Server) -> None:
    def encoding(**url: str) -> str | None:
        with server.http.stream(
            "POST", "/", params=url, content="SELECT range(1000)", headers={"Accept-Encoding": "gzip"}
        ) as answer:
            return answer.headers.get("content-encoding")

    assert encoding() is None
    assert encoding(enable_http_compression="1") == "gzip"


async def test_parameters_are_bound_and_never_pasted(client: Any) -> None:
    nasty = "'; DROP TABLE people; -- \\ \t\n \N{SNOWMAN}"
    result = await client.query(
        "SELECT {x:String}, {a:Array(String)}, {n:Nullable(String)}", {"x": nasty, "a": [nasty, "b"], "n": None}
    )
    assert result.result_rows == [(nasty, [nasty, "b"], None)]
    with pytest.raises(DatabaseError) as caught:
        await client.query("SELECT {x:UInt8}", {"x": "1 OR 1"})
    assert caught.value.code == 457
    long = "x" * 100_000
    assert (await client.query("SELECT {x:String}", {"x": long})).result_rows == [(long,)]


async def test_rows_are_streamed_in_many_blocks(client: Any) -> None:
    blocks = 0
    total = 0
    async with await client.query_row_block_stream("SELECT number, toString(number) FROM numbers(2000000)") as stream:
        async for block in stream:
            blocks += 1
            total += sum(row[0] for row in block)
    assert total == 2_000_000 * 1_999_999 // 2
    assert blocks > 10


async def test_an_error_in_the_middle_of_a_stream_reaches_the_reader(client: Any) -> None:
    rows = 0

    async def read() -> None:
        nonlocal rows
        sql = "SELECT throwIf(number = 1900000) FROM numbers(2000000)"
        async with await client.query_row_block_stream(sql) as stream:
            async for block in stream:
                rows += len(block)

    with pytest.raises(StreamFailureError, match="FUNCTION_THROW_IF") as caught:
        await read()
    assert caught.value.code == 395
    assert 0 < rows < 1_900_001


async def test_several_queries_at_once(client: Any) -> None:
    started = time.monotonic()
    await asyncio.gather(*(client.query("SELECT sleep(0.5)") for _ in range(8)))
    assert time.monotonic() - started < 3


async def test_an_insert_does_not_wait_for_slow_reads(server: Server, client: Any) -> None:
    await client.command("CREATE TABLE busy (n UInt64) ENGINE = MergeTree ORDER BY n")
    slow = [asyncio.create_task(client.query("SELECT sleep(1)")) for _ in range(12)]
    await asyncio.sleep(0.2)
    started = time.monotonic()
    await client.raw_insert("busy", ["n"], b"1\n", fmt="TabSeparated")
    assert time.monotonic() - started < 0.8
    await asyncio.gather(*slow)


# --- the protocol itself ---


def test_ping_health_metrics_and_unknown_paths(server: Server) -> None:
    assert server.http.get("/ping").text == "Ok.\n"
    assert server.http.get("/health").json()["status"] == "ok"
    assert "process_cpu_seconds_total" in server.http.get("/metrics").text
    assert server.http.get("/nope").status_code == 404
    assert server.http.put("/", content="SELECT 1").status_code == 501


def test_headers_of_an_answer(server: Server) -> None:
    answer = server.ask("SELECT number FROM numbers(3)", query_id="my-id", default_format="CSV")
    assert answer.text == "0\n1\n2\n"
    assert answer.headers["X-ClickHouse-Query-Id"] == "my-id"
    assert answer.headers["X-ClickHouse-Format"] == "CSV"
    assert answer.headers["X-ClickHouse-Timezone"]
    summary = json.loads(answer.headers["X-ClickHouse-Summary"])
    assert summary["result_rows"] == "3"
    assert int(summary["elapsed_ns"]) > 0
    assert "X-ClickHouse-Format" not in server.ask("CREATE DATABASE IF NOT EXISTS other").headers


@pytest.mark.parametrize(
    "named", ["JSON", "TabSeparatedWithNames", "CSVWithNames", "JSONCompactEachRowWithNamesAndTypes", "Pretty"]
)
def test_formats_with_a_head_are_whole_documents(server: Server, named: str) -> None:
    # Many blocks inside the engine must not become many documents.
    sql = f"SELECT number AS n FROM numbers(200000) SETTINGS output_format_pretty_max_rows=10 FORMAT {named}"
    answer = server.ask(sql)
    if named == "JSON":
        assert answer.json()["rows"] == 200_000
    elif named == "Pretty":
        assert answer.text.count("n") < 10
    else:
        assert sum(1 for line in answer.text.splitlines() if line.strip('[]"') == "n") == 1


def test_an_empty_result(server: Server) -> None:
    answer = server.ask("SELECT 1 WHERE 0 FORMAT TabSeparatedWithNames")
    assert answer.text == "1\n"
    assert server.ask("SELECT 1 WHERE 0").text == ""


@pytest.mark.parametrize(
    ("sql", "code", "status"),
    [
        ("SELEC 1", 62, 400),
        ("SELECT 1; SELECT 2", 62, 400),
        ("SELECT * FROM missing", 60, 404),
        ("SELECT * FROM missing.missing", 81, 404),
        ("SELECT missing", 47, 404),
        ("SELECT missing(1)", 46, 404),
        ("INSERT INTO missing FORMAT CSV\n1", 60, 404),
        ("SELECT 1 SETTINGS missing = 1", 115, 404),
        ("SELECT throwIf(1)", 395, 500),
        ("SELECT {x:String}", 456, 400),
    ],
)
def test_errors_have_clickhouses_code_text_and_status(server: Server, sql: str, code: int, status: int) -> None:
    answer = server.ask(sql)
    assert answer.headers["X-ClickHouse-Exception-Code"] == str(code)
    assert answer.status_code == status
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")


def test_a_missing_database_and_an_unknown_setting_in_the_url(server: Server) -> None:
    assert server.ask("SELECT 1", database="missing").headers["X-ClickHouse-Exception-Code"] == "81"
    assert server.ask("SELECT 1", no_such_setting="1").headers["X-ClickHouse-Exception-Code"] == "115"


def test_settings_of_one_query_are_gone_with_it(server: Server) -> None:
    show = "SELECT getSetting('max_threads'), getSetting('readonly'), currentDatabase()"
    before = server.rows(show)
    server.rows("CREATE DATABASE IF NOT EXISTS other")
    assert server.rows(show, max_threads="7", database="other") == ["7\t0\tother"]
    assert server.rows("SELECT 1", readonly="1") == ["1"]
    server.rows("SET max_threads = 9")
    server.rows("USE other")
    # More of them than there are threads, so that each thread that was used before is used again.
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _: server.rows(show)[0], range(40))) == set(before)
    server.rows("CREATE TABLE IF NOT EXISTS writable (a Int8) ENGINE = Memory")


def test_parameters_of_one_query_are_gone_with_it(server: Server) -> None:
    assert server.rows("SELECT {x:String}", param_x="1") == ["1"]
    assert server.ask("SELECT {x:String}").headers["X-ClickHouse-Exception-Code"] == "456"


def test_a_get_and_a_readonly_query_cannot_write(server: Server) -> None:
    sql = "CREATE TABLE forbidden (a Int8) ENGINE = Memory"
    assert server.http.get("/", params={"query": sql}).headers["X-ClickHouse-Exception-Code"] == "164"
    assert server.ask(sql, readonly="1").headers["X-ClickHouse-Exception-Code"] == "164"
    assert server.http.get("/", params={"query": "SELECT 1"}).text == "1\n"
    assert server.rows("EXISTS TABLE forbidden") == ["0"]


def test_the_password_is_needed(server: Server) -> None:
    for headers in ({}, {"X-ClickHouse-Key": "wrong"}, {"Authorization": "Basic !"}):
        answer = httpx.post(f"http://127.0.0.1:{server.port}/", content="SELECT 1", headers=headers)
        assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (403, "516")
    assert httpx.post(f"http://default:{PASSWORD}@127.0.0.1:{server.port}/", content="SELECT 1").text == "1\n"
    assert httpx.get(f"http://127.0.0.1:{server.port}/ping").status_code == 200


def test_files_of_the_server_are_not_read_or_written(server: Server, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert server.ask(f"SELECT 1 INTO OUTFILE '{out}'").status_code == 501
    assert server.ask("INSERT INTO t FROM INFILE '/etc/hostname' FORMAT LineAsString").status_code == 501
    assert not out.exists()


def test_a_query_past_the_memory_bound_fails_and_the_server_lives(tmp_path: Path) -> None:
    small = start_server(tmp_path, "--memory-bytes", str(400 << 20))
    try:
        answer = small.ask("SELECT length(groupArray(number)) FROM numbers(200000000)")
        assert answer.headers["X-ClickHouse-Exception-Code"] == "241"
        assert small.rows("SELECT 1") == ["1"]
    finally:
        assert stop_server(small) == 0


async def test_as_a_supervised_service(tmp_path: Path) -> None:
    data_dir = tmp_path / "a folder, 100% \N{SNOWMAN}"
    service = clickhouse_service(data_dir, free_port(0), {"PATH": "/usr/bin:/bin"})
    supervisor = Supervisor(data_dir, lambda _: None)
    try:
        await supervisor.start([service.spec()])
        made = await clickhouse_connect.get_async_client(host="127.0.0.1", port=service.port, password=service.password)
        await made.command("CREATE TABLE t (n Int32) ENGINE = MergeTree ORDER BY n")
        await made.close()
        pid = supervisor.pids()["clickhouse"]
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while supervisor.pids().get("clickhouse", pid) == pid or supervisor.statuses()[0].state != "ready":
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        made = await clickhouse_connect.get_async_client(host="127.0.0.1", port=service.port, password=service.password)
        assert await made.command("EXISTS TABLE t") == 1
        await made.close()
        # Another server on the port does not know the password.
        stranger = clickhouse_service(tmp_path / "other", service.port, {})
        assert not await stranger.is_ready()
    finally:
        await supervisor.stop()
    assert supervisor.statuses()[0].last_exit == 0


# --- stopping what runs ---


def _wait_until(server: Server, condition: str, count: int) -> None:
    deadline = time.monotonic() + 10
    while server.rows(
        f"SELECT count() FROM system.processes WHERE query NOT LIKE '%system.processes%' AND {condition}"
    ) != [str(count)]:
        assert time.monotonic() < deadline, server.rows("SELECT query FROM system.processes")
        time.sleep(0.02)


def test_kill_query_by_its_id(server: Server) -> None:
    query_id = str(uuid.uuid4())
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(server.ask, ENDLESS, query_id=query_id)
        _wait_until(server, "query LIKE '%numbers_mt%'", 1)
        assert server.ask("SELECT 1", query_id=query_id).headers["X-ClickHouse-Exception-Code"] == "216"
        assert query_id not in server.rows("KILL QUERY WHERE query_id = 'another' SYNC")
        killed = server.rows(f"KILL QUERY WHERE query_id = '{query_id}' SYNC")
        assert len(killed) == 1
        assert running.result(timeout=1).headers["X-ClickHouse-Exception-Code"] == "394"


@pytest.mark.parametrize("sql", [ENDLESS, "SELECT number FROM numbers(100000000000) FORMAT RowBinary"])
def test_a_client_that_hangs_up_takes_its_query_along(server: Server, sql: str) -> None:
    before = server.metric('aegis_clickhouse_queries_total{kind="read",result="cancelled"}')
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = f"POST / HTTP/1.1\r\nHost: x\r\nX-ClickHouse-Key: {PASSWORD}\r\nContent-Length: {len(sql)}\r\n\r\n{sql}"
        connection.sendall(head.encode())
        _wait_until(server, "query LIKE '%numbers%'", 1)
    _wait_until(server, "query LIKE '%numbers%'", 0)
    assert server.metric('aegis_clickhouse_queries_total{kind="read",result="cancelled"}') == before + 1
    assert server.http.get("/health").json()["running"] == 0


def test_too_many_queries_and_too_large_bodies_are_refused(tmp_path: Path) -> None:
    small = start_server(tmp_path, "--reads", "1", "--waiting", "1", "--body-bytes", "100000")
    try:
        with ThreadPoolExecutor(3) as pool:
            answers = [pool.submit(small.ask, "SELECT sleep(1)") for _ in range(3)]
            statuses = sorted(answer.result().status_code for answer in answers)
        assert statuses == [200, 200, 503]
        refused = next(answer.result() for answer in answers if answer.result().status_code == 503)
        assert refused.headers["X-ClickHouse-Exception-Code"] == "202"
        assert refused.headers["Retry-After"] == "1"
        large = small.ask("SELECT 1 /*" + "x" * 100_000 + "*/")
        assert (large.status_code, large.headers["X-ClickHouse-Exception-Code"]) == (413, "307")

        def chunks() -> Iterator[bytes]:
            for _ in range(200):
                yield b"x" * 1000

        assert small.http.post("/", content=chunks()).status_code == 413
        assert small.rows("SELECT 1") == ["1"]
    finally:
        assert stop_server(small) == 0


def test_sigterm_lets_a_short_query_finish_and_kills_a_long_one(tmp_path: Path) -> None:
    server = start_server(tmp_path, "--stop-timeout", "2")
    with ThreadPoolExecutor(2) as pool:
        short = pool.submit(server.ask, "SELECT sleep(1)")
        endless = pool.submit(server.ask, ENDLESS)
        _wait_until(server, "1", 2)
        started = time.monotonic()
        server.process.terminate()
        assert server.process.wait(timeout=20) == 0
        assert time.monotonic() - started < 8
        assert short.result().status_code == 200
        with pytest.raises((httpx.TransportError, AssertionError)):
            assert endless.result().status_code == 200
    server.http.close()
