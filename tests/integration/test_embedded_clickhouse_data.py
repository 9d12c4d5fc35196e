"""What the embedded ClickHouse keeps: blocks, deduplication, types, retention, and all of it over SIGKILL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyarrow as pa
import pytest

from aegis.embedded.ports import free_port

LOGS = """
CREATE TABLE logs (
    org_id LowCardinality(String), ts DateTime64(9, 'UTC') CODEC(Delta, ZSTD), body String CODEC(ZSTD),
    attributes String DEFAULT '{}', labels Map(String, String) MATERIALIZED JSONExtract(attributes, 'Map(String, String)')
) ENGINE = MergeTree PARTITION BY toDate(ts) ORDER BY (org_id, ts) SETTINGS non_replicated_deduplication_window = 1000
"""


class Instance:
    """A server on one folder that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port(0)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)
        self.process = self.start()

    def command(self) -> list[str]:
        return [sys.executable, "-m", "aegis.embedded.clickhouse", "--path", str(self.folder), "--port", str(self.port)]

    def start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(self.command(), stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while True:
            try:
                self.http.get("/ping")
                return process
            except httpx.TransportError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def restart(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        self.process.wait(timeout=30)
        self.process = self.start()

    def ask(self, sql: str | bytes, **url: str | int) -> httpx.Response:
        return self.http.post("/", params=url, content=sql)

    def one(self, sql: str) -> str:
        answer = self.ask(sql)
        assert answer.status_code == 200, answer.text
        return answer.text.strip()

    def insert(self, body: bytes, **url: str | int) -> httpx.Response:
        return self.ask(b"INSERT INTO logs (org_id, ts, body) FORMAT ArrowStream\n" + body, max_insert_threads=1, **url)

    def close(self) -> None:
        self.http.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Instance]:
    instance = Instance(tmp_path / "data")
    instance.one(LOGS)
    yield instance
    instance.close()


def arrow(rows: int, batches: int = 1, start: int = 1_700_000_000_000_000_000) -> bytes:
    """A stream of `batches` record batches with lz4 buffers, `rows` rows altogether."""
    schema = pa.schema([("org_id", pa.string()), ("ts", pa.timestamp("ns", "UTC")), ("body", pa.string())])
    sink = pa.BufferOutputStream()
    size = rows // batches
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        for batch in range(batches):
            numbers = range(batch * size, (batch + 1) * size)
            columns = [["a"] * size, [start + n for n in numbers], [f"line {n}\n; 'x'" for n in numbers]]
            writer.write_batch(pa.record_batch([pa.array(column) for column in columns], schema=schema))
    return sink.getvalue().to_pybytes()


def test_several_record_batches_become_one_block(server: Instance) -> None:
    answer = server.insert(arrow(50_000, batches=20))
    assert answer.status_code == 200, answer.text
    assert '"written_rows": "50000"' in answer.headers["X-ClickHouse-Summary"]
    assert server.one("SELECT rows FROM system.parts WHERE table = 'logs' AND level = 0") == "50000"
    assert (
        server.one("SELECT count(), min(body), any(attributes), any(length(labels)) FROM logs")
        == "50000\tline 0\\n; \\'x\\'\t{}\t0"
    )


def test_nanoseconds_are_kept(server: Instance) -> None:
    server.insert(arrow(1, start=1_700_000_000_123_456_789))
    assert (
        server.one("SELECT ts, toUnixTimestamp64Nano(ts) FROM logs")
        == "2023-11-14 22:13:20.123456789\t1700000000123456789"
    )


def test_a_token_is_stored_once_also_after_sigkill_and_sigterm(server: Instance) -> None:
    body = arrow(1000, batches=3)
    assert server.insert(body, insert_deduplication_token="t1").status_code == 200
    assert server.insert(body, insert_deduplication_token="t1").status_code == 200
    assert server.one("SELECT count() FROM logs") == "999"
    server.restart(signal.SIGKILL)
    assert server.insert(body, insert_deduplication_token="t1").status_code == 200
    server.restart(signal.SIGTERM)
    assert server.insert(body, insert_deduplication_token="t1").status_code == 200
    assert server.one("SELECT count() FROM logs") == "999"
    assert server.insert(body, insert_deduplication_token="t2").status_code == 200
    assert server.one("SELECT count() FROM logs") == "1998"


def test_a_token_in_the_sql_counts_like_one_in_the_url(server: Instance) -> None:
    clause = b"SETTINGS insert_deduplication_token = 't1', max_insert_threads = 1"
    sql = b"INSERT INTO logs (org_id, ts, body) " + clause + b" FORMAT CSV\n'a','1970-01-01 00:00:0%d','x'\n"
    for second in (1, 2):
        assert server.ask(sql % second).status_code == 200
    assert server.one("SELECT count() FROM logs") == "1"


def create_view(server: Instance) -> None:
    server.one(
        "CREATE TABLE hourly (org_id String, n UInt64) ENGINE = SummingMergeTree ORDER BY org_id "
        "SETTINGS non_replicated_deduplication_window = 1000"
    )
    server.one(
        "CREATE MATERIALIZED VIEW hourly_view TO hourly AS SELECT org_id, count() AS n FROM logs GROUP BY org_id"
    )


def test_a_repeated_insert_does_not_reach_views_twice(server: Instance) -> None:
    create_view(server)
    for _ in range(3):
        server.insert(arrow(100), insert_deduplication_token="t1", deduplicate_blocks_in_dependent_materialized_views=1)
    assert server.one("SELECT sum(n) FROM hourly") == "100"


@pytest.mark.parametrize("table", ["logs", "hourly"])
def test_a_kill_between_a_token_and_its_part_loses_nothing(server: Instance, table: str) -> None:
    """The engine writes the token first and gives the part its name after that."""
    create_view(server)

    def insert(token: str) -> None:
        options = {"insert_deduplication_token": token, "deduplicate_blocks_in_dependent_materialized_views": 1}
        assert server.insert(arrow(100), **options).status_code == 200

    insert("t1")
    insert("t2")
    folder = Path(
        server.one(f"SELECT data_paths[1] FROM system.tables WHERE name = '{table}' AND database = 'default'")
    )
    server.process.kill()
    server.process.wait()
    newest = max(folder.glob("*_2_2_*"))
    newest.rename(newest.with_name("tmp_insert_" + newest.name))
    server.process = server.start()
    # Another block, which gets the number of the one that is missing, does not stand for it.
    insert("t3")
    for _ in range(2):
        for token in ("t1", "t2", "t3"):
            insert(token)
    server.restart(signal.SIGKILL)
    insert("t2")
    assert server.one("SELECT count() FROM logs") == "300"
    assert server.one("SELECT sum(n) FROM hourly") == "300"


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(lambda body: body[: len(body) - 500], id="cut off"),
        pytest.param(
            lambda body: body[: len(body) // 2] + b"\xff" * 64 + body[len(body) // 2 + 64 :], id="overwritten"
        ),
        pytest.param(lambda _: b"no arrow at all", id="something else"),
    ],
)
def test_bad_data_write_nothing(server: Instance, damaged: object) -> None:
    assert callable(damaged)
    answer = server.insert(damaged(arrow(50_000, batches=10)), insert_deduplication_token="t1")
    assert 400 <= answer.status_code <= 500
    assert answer.headers["X-ClickHouse-Exception-Code"]
    assert "/proc/self" not in answer.text
    assert server.one("SELECT count() FROM logs") == "0"
    # And the token is not used up.
    server.insert(arrow(50_000, batches=10), insert_deduplication_token="t1")
    assert server.one("SELECT count() FROM logs") == "50000"


def test_a_bad_line_in_the_middle_writes_nothing(server: Instance) -> None:
    lines = b"".join(b'{"org_id":"a","ts":%d,"body":"x"}\n' % n for n in range(10_000))
    middle = lines.index(b"\n", len(lines) // 2) + 1
    answer = server.ask(
        b"INSERT INTO logs (org_id, ts, body) FORMAT JSONEachRow\n" + lines[:middle] + b"oops" + lines[middle:]
    )
    assert answer.status_code == 400
    assert "at row" in answer.text
    assert server.one("SELECT count() FROM logs") == "0"


@pytest.mark.parametrize(
    "sql",
    [
        b"INSERT INTO logs (org_id, ts, body) FORMAT JSONEachRow\n"
        + b'{"org_id":"a","ts":"1970-01-01 00:00:01","body":"x;\\n"}',
        b"INSERT INTO logs (org_id, ts, body) FORMAT TabSeparated\na\t1970-01-01 00:00:01\tx;\\n\n",
        b"INSERT INTO logs (org_id, ts, body) VALUES ('a', '1970-01-01 00:00:01', 'x;\\n');",
        b"INSERT INTO logs (org_id, ts, body) SELECT 'a', toDateTime(1), 'x;\\n'",
        b"INSERT INTO logs (org_id, ts, body) FORMAT RowBinary\n\x01a" + (10**9).to_bytes(8, "little") + b"\x03x;\n",
    ],
)
def test_every_way_to_insert(server: Instance, sql: bytes) -> None:
    answer = server.ask(sql)
    assert answer.status_code == 200, answer.text
    assert server.one("SELECT org_id, toUnixTimestamp(ts), body FROM logs") == "a\t1\tx;\\n"


def test_what_was_answered_is_there_after_sigkill(server: Instance) -> None:
    for n in range(5):
        assert server.insert(arrow(1000), insert_deduplication_token=f"t{n}").status_code == 200
    server.restart(signal.SIGKILL)
    assert server.one("SELECT count() FROM logs") == "5000"


def test_sigkill_in_the_middle_of_inserts_leaves_whole_blocks(server: Instance) -> None:
    body = arrow(20_000)
    killer = subprocess.Popen(["/bin/sh", "-c", f"sleep 0.4; kill -9 {server.process.pid}"])
    answered = 0
    try:
        while True:
            answered += server.insert(body, insert_deduplication_token=f"t{answered}").status_code == 200
    except httpx.TransportError:
        pass
    killer.wait()
    server.process.wait()
    server.process = server.start()
    stored = int(server.one("SELECT count() FROM logs"))
    assert stored in (answered * 20_000, (answered + 1) * 20_000)
    # The one whose answer was lost is sent again, with its token.
    assert server.insert(body, insert_deduplication_token=f"t{answered}").status_code == 200
    assert int(server.one("SELECT count() FROM logs")) == (answered + 1) * 20_000


def test_retention_and_merges_happen_by_themselves(server: Instance) -> None:
    server.one(
        "CREATE TABLE kept (received DateTime, days UInt16) ENGINE = MergeTree ORDER BY received "
        "TTL received + toIntervalDay(days) SETTINGS merge_with_ttl_timeout = 1"
    )
    for days in (30, 3650):
        server.one(f"INSERT INTO kept VALUES ('2020-01-01 00:00:00', {days}), (now(), {days})")
    deadline = time.monotonic() + 30
    while server.one("SELECT count() FROM kept") != "3":
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_second_process_on_the_folder_is_refused(server: Instance) -> None:
    second = subprocess.run([*server.command()[:-1], "1"], stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert f"cannot open {server.folder} as ClickHouse data: process {server.process.pid} uses it" in second.stderr
    assert server.one("SELECT 1") == "1"


def test_a_taken_port_is_said_and_ends_the_process(server: Instance, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "aegis.embedded.clickhouse",
        "--path",
        str(tmp_path / "b"),
        "--port",
        str(server.port),
    ]
    second = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert second.returncode != 0
    assert "address already in use" in second.stderr.lower()


def test_nothing_is_left_open_after_many_queries(server: Instance) -> None:
    def descriptors() -> int:
        return len(os.listdir(f"/proc/{server.process.pid}/fd"))

    body = arrow(10)
    for _ in range(20):
        server.insert(body)
        server.one("SELECT count() FROM logs")
        server.ask("SELECT * FROM missing")
    before = descriptors()
    for _ in range(60):
        server.insert(body)
        server.one("SELECT count() FROM logs")
        server.ask("SELECT * FROM missing")
    assert descriptors() < before + 20


def test_it_does_nothing_when_nothing_is_asked(server: Instance) -> None:
    def cpu_s() -> float:
        line = next(
            row for row in server.http.get("/metrics").text.splitlines() if row.startswith("process_cpu_seconds_total ")
        )
        return float(line.split()[1])

    server.insert(arrow(1000))
    time.sleep(1)
    before = cpu_s()
    time.sleep(3)
    assert cpu_s() - before < 0.15
