"""What does a sample cost in the store of metrics, and how many bytes does it take? (`python -m benchmarks.metric_store`)

Points: blocks of 10,000 series into a fresh embedded PostgreSQL; CPU microseconds of this process and of all of PostgreSQL, from
messages as they come off the topic to the commit. Bytes: a day of some hosts in the real TimescaleDB (tests/timescale, needs
Node), compressed by its own compress_chunk.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import uvloop
from rich.console import Console
from rich.table import Table

from aegis.embedded.ports import free_port
from aegis.embedded.postgres import postgres_service
from aegis.settings import environment
from aegis.supervision.supervisor import Supervisor
from benchmarks.measured_instance import family_cpu_s, hardware
from benchmarks.metric_workload import STEP_S, metric_series, metric_steps
from storage.metric_selection import MetricSelection
from storage.metrics import MetricStore, SourceRange
from storage.migrations import migrate
from storage.scope import OrgScope
from storage.timescale import Timescale, TimescaleAddress
from topics.metric_columns import MetricBatch, decode, encode

SCOPE = OrgScope("00000000-0000-4000-8000-000000000001")
MESSAGE_POINTS = 5000
DAY_STEPS = 24 * 3600 // STEP_S
# The beginning of a day, so that a day of samples is one chunk.
START_S = int(time.time()) // 86400 * 86400 - 3 * 86400
TIMESCALE = Path(__file__).resolve().parents[1] / "tests" / "timescale"


@dataclass(frozen=True)
class Cost:
    """CPU microseconds a point."""

    case: str
    points: int
    client_us: float
    server_us: float


def messages(steps: int, hosts: int) -> Iterator[bytes]:
    """The workload as messages of the topic `metrics`, MESSAGE_POINTS each, as requests of that size become."""
    series = metric_series(hosts)
    for step, values in enumerate(metric_steps(steps, hosts)):
        for first in range(0, len(series), MESSAGE_POINTS):
            part = slice(first, first + MESSAGE_POINTS)
            points = len(values[part])
            ts_us = np.full(points, (START_S + step * STEP_S) * 1_000_000)
            yield encode(MetricBatch(series[part], np.arange(points, dtype=np.int32), ts_us, values[part].copy()))


async def store_all(store: MetricStore, sent: list[bytes], block_messages: int, topic: str) -> int:
    """Message bytes -> stored, one block after the other; returns the points."""
    points = 0
    for first in range(0, len(sent), block_messages):
        block = [(SCOPE, decode(message)) for message in sent[first : first + block_messages]]
        source = SourceRange("bench", topic, 0, first + 1, first + len(block))
        points += (await store.insert(block, source)).points
    return points


async def measure_points(folder: Path, steps: int) -> list[Cost]:
    """Blocks of 50,000 and of 5,000 points, the first round into empty tables and with unknown series."""
    service = postgres_service(folder, free_port(0), environment())
    supervisor = Supervisor(folder, lambda event: None)
    try:
        await supervisor.start([service.spec()])
        pid = supervisor.pids()["postgres"]
        await migrate(control_plane_dsn=service.url, timescale_dsn=service.url)
        place = service.cluster
        address = TimescaleAddress("127.0.0.1", service.port, place.database, place.user, service.password)
        timescale = await Timescale.open(address)
        store = MetricStore(timescale, series_max=100_000)
        sent = list(messages(steps, 200))
        found = []
        for case, block_messages in (("50,000 points, series unknown", 10), ("50,000", 10), ("5,000", 1)):
            some = sent[: len(sent) // 10] if "unknown" in case else sent
            client_s, server_s = time.process_time(), family_cpu_s(pid)
            points = await store_all(store, some, block_messages, f"topic {case}")
            # What PostgreSQL's own processes still have to write belongs to it too.
            await timescale.pool.execute("CHECKPOINT")
            client_s, server_s = time.process_time() - client_s, family_cpu_s(pid) - server_s
            found.append(Cost(case, points, client_s / points * 1e6, server_s / points * 1e6))
            if case == "50,000":
                # What a refresh of the rollup computes on TimescaleDB, without what it writes.
                server_s = family_cpu_s(pid)
                await timescale.pool.execute("SELECT count(summary) FROM metrics_1m_summaries")
                server_s = family_cpu_s(pid) - server_s
                found.append(Cost("rollup of 1 minute, computed", points, 0.0, server_s / points * 1e6))
            await timescale.pool.execute("TRUNCATE metrics")
        await timescale.close()
        return found
    finally:
        await supervisor.stop()


async def measure_bytes(folder: Path, hosts: int) -> list[tuple[str, float]]:
    """A day of samples on the real TimescaleDB: bytes a sample of heap, indexes and TOAST, before and after compression."""
    service = postgres_service(folder, free_port(0), environment())
    supervisor = Supervisor(folder, lambda event: None)
    node = await asyncio.create_subprocess_exec(
        "node", "server.mjs", "0", cwd=TIMESCALE, stdout=asyncio.subprocess.PIPE
    )
    try:
        await supervisor.start([service.spec()])
        assert node.stdout is not None
        port = int((await node.stdout.readline()).split()[1])
        address = TimescaleAddress("127.0.0.1", port, "postgres", "postgres")
        await migrate(control_plane_dsn=service.url, timescale_dsn=address.dsn)
        timescale = await Timescale.open(address, command_timeout_s=600.0)
        store = MetricStore(timescale, series_max=100_000)
        # Five samples of a series a block, as when 10,000 series fill 50,000 points.
        points = await store_all(store, list(messages(DAY_STEPS, hosts)), 5, "metrics")
        before = await timescale.pool.fetchval("SELECT hypertable_size('metrics')")
        await timescale.pool.execute("SELECT compress_chunk(chunk) FROM show_chunks('metrics') AS chunk")
        after = await timescale.pool.fetchval(
            "SELECT sum(after_compression_total_bytes)::bigint FROM chunk_compression_stats('metrics')"
        )
        compressed = await timescale.pool.fetchval(
            "SELECT format('%I.%I', c.schema_name, c.table_name) FROM _timescaledb_catalog.chunk c"
            " JOIN _timescaledb_catalog.chunk plain ON plain.compressed_chunk_id = c.id"
        )
        values = await timescale.pool.fetchval(f"SELECT sum(pg_column_size(value))::bigint FROM {compressed}")
        selection = MetricSelection("http_requests_total", START_S * 10**6, (START_S + 86400) * 10**6)
        read = await store.query(SCOPE, selection, step_us=STEP_S * 10**6, aggregation="count")
        if sum(point.value for point in read) != DAY_STEPS * hosts:
            raise SystemExit("what was compressed is not what was stored")
        await timescale.close()
        return [("as written", before / points), ("compressed", after / points), ("the values alone", values / points)]
    finally:
        node.terminate()
        await node.wait()
        await supervisor.stop()


async def _run(folder: Path, options: argparse.Namespace) -> None:
    costs = await measure_points(folder / "points", options.steps)
    table = Table(title=f"storing metrics, CPU us a point; {hardware()}", title_justify="left")
    for column in ("block", "points", "client", "PostgreSQL", "both"):
        table.add_column(column, justify="left" if column == "block" else "right")
    for cost in costs:
        both = cost.client_us + cost.server_us
        table.add_row(cost.case, f"{cost.points:,}", f"{cost.client_us:.2f}", f"{cost.server_us:.2f}", f"{both:.2f}")
    Console(width=100).print(table)
    if shutil.which("node") is None or not (TIMESCALE / "node_modules").exists():
        print(
            "bytes a sample: not measured, because Node or its packages are not installed (`make test` installs them)"
        )
        return
    for what, size in await measure_bytes(folder / "bytes", options.hosts):
        print(f"bytes a sample on TimescaleDB, {what}: {size:.2f}")


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200, help="samples a series in the first part")
    parser.add_argument("--hosts", type=int, default=4, help="hosts of 50 series each in the second part")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="aegis-bench-"))
    folder.chmod(0o755)
    try:
        uvloop.run(_run(folder, options))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
