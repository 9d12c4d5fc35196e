"""What does a row of `logs` cost ClickHouse to insert, to merge and to keep, under other table settings? (CPU us, bytes)

    python -m benchmarks.clickhouse_tables                           the table as it is migrated
    python -m benchmarks.clickhouse_tables --variants all --rows 500000
    python -m benchmarks.clickhouse_tables --queries --rows 5000000  times the searches, too
    python -m benchmarks.clickhouse_tables --pace 0.4                a block each 0.4 s while merges run, as in life

Each variant runs in a process of its own: an embedded engine on an empty folder, the migrations, the variant's statements, and
the shared workload in Arrow blocks as the store agents make them (4 partitions in turn). Merges are stopped while the blocks go
in, then started and awaited, so that the two are told apart; CPU is that of the whole process, the engine's threads included.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
from rich.console import Console
from rich.table import Table

from aegis.embedded.clickhouse.engine import Engine
from aegis.embedded.clickhouse.requests import read_query
from agents.normalize_logs import normalize_logs
from benchmarks.log_workload import log_records
from benchmarks.measured_instance import hardware
from storage.clickhouse import ONE_BLOCK
from storage.logs import INDEXED_BY_MERGES
from storage.migration_files import read_migrations, split_statements
from storage.migrations import REPOSITORY
from topics.log_columns import LOG_MESSAGES
from topics.raw import RawBatch

ORG_ID = "11111111-1111-4111-8111-111111111111"
START_NS = 1_795_435_200_000_000_000  # 2026-11-23T12:00:00Z
PARTITIONS = 4
REQUEST_ROWS = 1000
SETTLED_S = 3.0


@dataclass(frozen=True)
class Variant:
    """The table after `migrations` of the migrations (all when 0), with replacements in their text, and then some statements."""

    name: str
    statements: tuple[str, ...] = ()
    replace: tuple[tuple[str, str], ...] = ()
    migrations: int = 0


def first(name: str, *statements: str, replace: tuple[tuple[str, str], ...] = ()) -> Variant:
    """A variant of the table as 0001 made it, with the hourly view."""
    return Variant(name, statements, replace, migrations=6)


def settings(name: str, text: str, *, replace: tuple[tuple[str, str], ...] = ()) -> Variant:
    """The same with other settings of the table."""
    return first(name, f"ALTER TABLE logs MODIFY SETTING {text}", replace=replace)


def without(name: str, *indexes: str) -> Variant:
    """The same without some of its indexes."""
    return first(name, *(f"ALTER TABLE logs DROP INDEX {index}" for index in indexes))


_MAP_WHEN_READ = (
    (
        "MATERIALIZED JSONExtract(attributes, 'Map(LowCardinality(String), String)') CODEC(ZSTD(1))",
        "ALIAS JSONExtract(attributes, 'Map(LowCardinality(String), String)')",
    ),
)
_NO_CODECS = (("CODEC(Delta, ZSTD(1))", "CODEC(NONE)"), ("ZSTD(1)", "NONE"))
_ZSTD_3 = (
    ("message        String CODEC(ZSTD(1))", "message String CODEC(ZSTD(3))"),
    ("attributes     String CODEC(ZSTD(1))", "attributes String CODEC(ZSTD(3))"),
)
_BLOCKS_1M = "min_compress_block_size = 1048576, max_compress_block_size = 1048576"
VARIANTS = [
    Variant("as migrated"),
    Variant("no attribute index", ("ALTER TABLE logs DROP INDEX attributes_values",)),
    Variant(
        "no attribute index, no ngrams",
        ("ALTER TABLE logs DROP INDEX attributes_values", "ALTER TABLE logs DROP INDEX message_ngrams"),
    ),
    Variant("as migrated, 1M", (f"ALTER TABLE logs MODIFY SETTING {_BLOCKS_1M}",)),
    first("as 0001"),
    first("no view", "DROP TABLE logs_hourly_view"),
    first("no map", "ALTER TABLE logs DROP COLUMN attributes_map"),
    without("no ngrams", "message_ngrams"),
    without("no indexes", "trace_id_bloom", "message_ngrams", "service_bloom", "level_bloom"),
    first("lz4", replace=(("ZSTD(1)", "LZ4"),)),
    first("no compression", replace=_NO_CODECS),
    first("sorted by nothing", replace=(("ORDER BY (org_id, ts, record_id)", "ORDER BY tuple()"),)),
    first("zstd 3", replace=_ZSTD_3),
    first("map computed when read", replace=_MAP_WHEN_READ),
    settings("compact parts", "min_bytes_for_wide_part = 1000000000"),
    settings("wide from 40M", "min_bytes_for_wide_part = 40000000"),
    settings("horizontal merges", "enable_vertical_merge_algorithm = 0"),
    settings("ngrams not merged", "exclude_materialize_skip_indexes_on_merge = 'message_ngrams'"),
    settings("compress blocks 1M", _BLOCKS_1M),
    settings("sparse off", "ratio_of_defaults_for_sparse_serialization = 1"),
    settings("no dedup", "non_replicated_deduplication_window = 0"),
    settings("merge in larger blocks", "merge_max_block_size = 65536, merge_max_block_size_bytes = 67108864"),
    settings("10 parts a merge", "min_parts_to_merge_at_once = 10"),
    settings("base 10", "merge_selector_base = 10"),
]


def write_blocks(folder: Path, rows: int, block_rows: int) -> None:
    """The workload as Arrow blocks, one file each, in the order in which they are inserted."""
    waiting: list[list[tuple[bytes, int]]] = [[] for _ in range(PARTITIONS)]
    number = 0
    records = log_records(rows, start_ns=START_NS, span_ns=3600 * 10**9)
    for offset, request in enumerate(_requests(records)):
        partition = offset % PARTITIONS
        batch = RawBatch(
            org_id=ORG_ID,
            request_id=f"bench-{offset}",
            received_at_ms=START_NS // 10**6 + 3_600_000,  # Behind the last record: a time in the future is not kept.
            retention_days=30,
            format="native",
            encoding="identity",
            body=orjson.dumps({"logs": request}),
        )
        message, _ = normalize_logs(batch, partition=partition, offset=offset)
        waiting[partition].append((message, len(request)))
        if sum(size for _, size in waiting[partition]) >= block_rows:
            number += _write_block(folder, number, waiting[partition])
    for rest in waiting:
        if rest:
            number += _write_block(folder, number, rest)


def _requests(records: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    request: list[dict[str, Any]] = []
    for record in records:
        request.append(record)
        if len(request) == REQUEST_ROWS:
            yield request
            request = []
    if request:
        yield request


def _write_block(folder: Path, number: int, messages: list[tuple[bytes, int]]) -> int:
    rows = sum(size for _, size in messages)
    (folder / f"{number:06}.arrow").write_bytes(LOG_MESSAGES.join([message for message, _ in messages], rows))
    messages.clear()
    return 1


class Bench:
    """One variant on an engine of its own."""

    def __init__(self, folder: Path, variant: Variant) -> None:
        self.engine = Engine(folder, memory_bytes_max=6 << 30)
        migrations = read_migrations("clickhouse", REPOSITORY / "clickhouse/migrations")
        for migration in migrations[: variant.migrations or None]:
            for statement in split_statements(migration):
                for old, new in variant.replace:
                    statement = statement.replace(old, new)
                self.run(statement)
        for statement in variant.statements:
            self.run(statement)

    def run(self, sql: str, data: bytes = b"", **options: str) -> bytes:
        """Run one statement as the HTTP facade does."""
        query = read_query("POST", urlencode({"query": sql, **options}).encode(), {}, data, 1 << 30)
        return self.engine.execute(query).body

    def rows(self, sql: str) -> list[Any]:
        """The rows of a SELECT."""
        # Without the cache that remembers which granules a condition found empty: it would make every repetition look cheap.
        body = self.run(f"{sql} FORMAT JSONCompactEachRow", use_query_condition_cache="0")
        return [json.loads(line) for line in body.splitlines()]

    def insert(self, block: bytes) -> None:
        """One block under a token of its own, with the settings of the log store."""
        options = {name: str(value) for name, value in ONE_BLOCK.items()}
        options["insert_deduplication_token"] = uuid.uuid4().hex
        options["exclude_materialize_skip_indexes_on_insert"] = INDEXED_BY_MERGES
        columns = ", ".join(LOG_MESSAGES.schema.names)
        self.run(f"INSERT INTO logs ({columns}) FORMAT ArrowStream", block, **options)

    def settle(self) -> None:
        """Wait until no merge has run for some seconds."""
        quiet_since = time.monotonic()
        while time.monotonic() < quiet_since + SETTLED_S:
            time.sleep(0.1)
            if self.rows("SELECT 1 FROM system.merges LIMIT 1"):
                quiet_since = time.monotonic()


def measure(folder: Path, blocks: list[Path], variant: Variant, *, queries: bool, pace_s: float) -> dict[str, Any]:
    """Run one variant; the result is JSON."""
    bench = Bench(folder, variant)
    time.sleep(1.0)
    begin = time.process_time()
    time.sleep(2.0)
    idle = (time.process_time() - begin) / 2.0
    if pace_s:
        return _paced(bench, blocks, idle, pace_s, queries)
    bench.run("SYSTEM STOP MERGES")
    total = 0.0
    for path in blocks:
        block = path.read_bytes()
        begin = time.process_time()
        bench.insert(block)
        total += time.process_time() - begin
    rows = int(bench.rows("SELECT toUInt32(count()) FROM logs")[0][0])
    begin, started = time.process_time(), time.monotonic()
    bench.run("SYSTEM START MERGES")
    bench.settle()
    merging = time.process_time() - begin - idle * (time.monotonic() - started)
    return _found(bench, idle, total / rows * 1e6, merging / rows * 1e6, queries)


def _paced(bench: Bench, blocks: list[Path], idle: float, pace_s: float, queries: bool) -> dict[str, Any]:
    """Blocks at a steady pace while merges run, as in life: what insert and merges cost together is put under merges."""
    begin, started = time.process_time(), time.monotonic()
    for number, path in enumerate(blocks):
        time.sleep(max(0.0, started + number * pace_s - time.monotonic()))
        bench.insert(path.read_bytes())
    bench.settle()
    spent = time.process_time() - begin - idle * (time.monotonic() - started)
    rows = int(bench.rows("SELECT toUInt32(count()) FROM logs")[0][0])
    return _found(bench, idle, 0.0, spent / rows * 1e6, queries)


def _found(bench: Bench, idle: float, insert_us: float, merge_us: float, queries: bool) -> dict[str, Any]:
    rows = int(bench.rows("SELECT toUInt32(count()) FROM logs")[0][0])
    parts = bench.rows(
        "SELECT toUInt32(count()), toUInt32(max(level)) FROM system.parts WHERE active AND table = 'logs'"
    )
    settled = _columns(bench)
    found = {
        "rows": rows,
        "idle_us_a_second": idle * 1e6,
        "insert_us": insert_us,
        "merge_us": merge_us,
        "parts": parts[0],
        "bytes": bench.rows("SELECT toUInt64(sum(bytes_on_disk)) FROM system.parts WHERE active AND table = 'logs'")[0][
            0
        ]
        / rows,
        "columns": {name: size / rows for name, size in settled},
    }
    if queries:
        bench.run("OPTIMIZE TABLE logs FINAL")
        found["final_bytes"] = (
            bench.rows("SELECT toUInt64(sum(bytes_on_disk)) FROM system.parts WHERE active AND table = 'logs'")[0][0]
            / rows
        )
        found["queries_cpu_ms"] = {name: _time(bench, sql) for name, sql in QUERIES.items()}
    bench.engine.close()
    return found


def _columns(bench: Bench) -> list[tuple[str, int]]:
    """Compressed bytes of each column, and of each index, of the settled table; the largest first."""
    columns = bench.rows(
        "SELECT column, toUInt64(sum(column_data_compressed_bytes)) AS size FROM system.parts_columns "
        "WHERE active AND table = 'logs' GROUP BY column ORDER BY size DESC"
    )
    indexes = bench.rows(
        "SELECT name, toUInt64(data_compressed_bytes) FROM system.data_skipping_indices WHERE table = 'logs'"
    )
    return [(name, size) for name, size in [*columns, *indexes]]


_WHERE = f"org_id = '{ORG_ID}' AND ts >= toDateTime64('2026-11-23 12:00:00', 9, 'UTC')"
_ROW = "toUnixTimestamp64Nano(ts), record_id, service, level, message, trace_id, attributes"
_NEWEST = "ORDER BY ts DESC, record_id DESC LIMIT 101"
QUERIES = {
    "rare word": f"SELECT {_ROW} FROM logs WHERE {_WHERE} AND lower(message) LIKE '%zyzzyva%' {_NEWEST}",
    "rare substring": f"SELECT {_ROW} FROM logs WHERE {_WHERE} AND lower(message) LIKE '%yzzyv%' {_NEWEST}",
    "service + level, newest 100": f"SELECT {_ROW} FROM logs WHERE {_WHERE} AND service = 'webhooks' AND level = 'error' "
    f"{_NEWEST}",
    "trace id": f"SELECT {_ROW} FROM logs WHERE {_WHERE} AND trace_id = (SELECT any(trace_id) FROM logs) {_NEWEST}",
    "count by level": f"SELECT level, count() FROM logs WHERE {_WHERE} GROUP BY level",
    "count by level, hourly": f"SELECT level, sum(count) FROM logs_hourly WHERE org_id = '{ORG_ID}' GROUP BY level",
    "count by attribute": f"SELECT attributes_map['host'] AS host, count() FROM logs WHERE {_WHERE} GROUP BY host",
    "count by attribute of the text": "SELECT JSONExtractString(attributes, 'host') AS host, count() FROM logs "
    f"WHERE {_WHERE} GROUP BY host",
    "attribute, newest 100": f"SELECT {_ROW} FROM logs WHERE {_WHERE} AND attributes_map['host'] = 'webhooks-03' {_NEWEST}",
    "rare attribute": f"SELECT {_ROW} FROM logs WHERE {_WHERE} AND attributes_map['client_ip'] = '10.20.30.40' {_NEWEST}",
    "rare attribute, text looked at first": f"SELECT {_ROW} FROM logs PREWHERE attributes LIKE '%10.20.30.40%' "
    f"WHERE {_WHERE} AND attributes_map['client_ip'] = '10.20.30.40' {_NEWEST}",
}


def _time(bench: Bench, sql: str) -> float:
    """CPU ms, the smallest of 5 warm runs: on a shared machine the clock on the wall says little."""
    bench.rows(sql)
    times = []
    for _ in range(5):
        begin = time.process_time()
        bench.rows(sql)
        times.append((time.process_time() - begin) * 1000)
    return min(times)


def main() -> None:
    """Run the variants, each in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--block-rows", type=int, default=30_000)
    parser.add_argument("--variants", default="as migrated", help="names separated by commas, or all")
    parser.add_argument("--queries", action="store_true")
    parser.add_argument("--blocks", type=Path, help="a folder that keeps the blocks for another run")
    parser.add_argument(
        "--pace", type=float, default=0.0, help="seconds from block to block while merges run; 0 stops merges"
    )
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    named = {variant.name: variant for variant in VARIANTS}
    with tempfile.TemporaryDirectory(prefix="aegis-bench-") as scratch:
        if options.child:
            blocks = sorted(options.blocks.glob("*.arrow"))
            result = measure(
                Path(scratch) / "data", blocks, named[options.child], queries=options.queries, pace_s=options.pace
            )
            print(json.dumps(result))
            return
        blocks_folder = options.blocks or Path(scratch)
        if not any(blocks_folder.glob("*.arrow")):
            blocks_folder.mkdir(parents=True, exist_ok=True)
            write_blocks(blocks_folder, options.rows, options.block_rows)
        names = list(named) if options.variants == "all" else options.variants.split(",")
        found = {name: _child(name, blocks_folder, options.queries, options.pace) for name in names}
    _print(found)


def _child(name: str, blocks: Path, queries: bool, pace_s: float) -> dict[str, Any]:
    argv = [sys.executable, "-m", "benchmarks.clickhouse_tables", "--child", name, "--blocks", str(blocks)]
    argv += ["--pace", str(pace_s)]
    done = subprocess.run(argv + ["--queries"] * queries, check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{name}: {found}", file=sys.stderr, flush=True)
    return found


def _print(found: dict[str, dict[str, Any]]) -> None:
    table = Table(title=f"CPU us and bytes a row; {hardware()}", title_justify="left")
    for column in (
        "variant",
        "insert",
        "merge",
        "sum",
        "parts, level",
        "B a row",
        "idle us/s",
        "largest columns, B a row",
    ):
        table.add_column(column, justify="left" if column in ("variant", "largest columns, B a row") else "right")
    for name, figures in found.items():
        largest = ", ".join(f"{column} {size:.1f}" for column, size in list(figures["columns"].items())[:7])
        cost = figures["insert_us"], figures["merge_us"], figures["insert_us"] + figures["merge_us"]
        parts = "{}, {}".format(*figures["parts"])
        table.add_row(
            name,
            *(f"{us:.2f}" for us in cost),
            parts,
            f"{figures['bytes']:.1f}",
            f"{figures['idle_us_a_second']:.0f}",
            largest,
        )
    Console(width=180).print(table)
    for name, figures in found.items():
        if "queries_cpu_ms" in figures:
            times = ", ".join(f"{query} {ms:.1f}" for query, ms in figures["queries_cpu_ms"].items())
            print(f"{name}: {figures['rows']:,} rows, one part, {figures['final_bytes']:.1f} B a row; CPU ms: {times}")


if __name__ == "__main__":
    main()
