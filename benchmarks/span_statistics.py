"""How long do services, operations and the service map take over a million spans? (`python -m benchmarks.span_statistics`)

The workload's spans (traces of eight in five services), made as the normalizer makes them, in a fresh embedded ClickHouse; by the
query process' own stores, from the question to the answer, in ms: the median of five after a first one. CPU is the engine's.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from aegis.embedded.clickhouse.service import USER, clickhouse_service
from aegis.embedded.ports import free_port
from aegis.embedded.postgres import postgres_service
from aegis.settings import environment
from aegis.supervision.supervisor import Supervisor
from agents.normalize_traces import normalize_traces
from benchmarks.measured_instance import family_cpu_s, hardware
from benchmarks.signal_workloads import span_bodies
from query.limits import DEFAULTS
from storage.clickhouse import ClickHouse, ClickHouseAddress
from storage.hourly import HourlyStore
from storage.migrations import migrate
from storage.scope import OrgScope
from storage.span_statistics import SpanStatistics
from storage.spans import SpanStore
from topics.raw import RawBatch
from topics.span_columns import SPAN_MESSAGES

SCOPE = OrgScope("00000000-0000-4000-8000-000000000001")
START_NS = 1_761_912_000 * 10**9
BLOCK_MESSAGES = 100
ROUNDS = 5


async def fill(store: SpanStore, spans: int) -> None:
    """Store the workload in blocks of some 50,000."""
    waiting: list[bytes] = []
    rows = 0

    async def flush() -> None:
        nonlocal rows
        if waiting:
            await store.insert(SPAN_MESSAGES.join(waiting, rows), rows=rows, token=uuid.uuid4().hex)
        waiting.clear()
        rows = 0

    for offset, (body, count) in enumerate(span_bodies(spans, seed=1, start_ns=START_NS)):
        batch = RawBatch(SCOPE.org_id, f"bench-{offset}", START_NS // 10**6 + 3_600_000, 0, body)
        message, _ = normalize_traces(batch, partition=0, offset=offset)
        waiting.append(message)
        rows += count
        if len(waiting) == BLOCK_MESSAGES:
            await flush()
    await flush()


async def measure(folder: Path, spans: int) -> list[tuple[str, float, float, int]]:
    """Question, ms, CPU ms of the engine, rows of the answer."""
    postgres = postgres_service(folder, free_port(0), environment())
    clickhouse = clickhouse_service(folder, free_port(0), environment())
    supervisor = Supervisor(folder, lambda event: None)
    try:
        await supervisor.start([postgres.spec(), clickhouse.spec()])
        pid = supervisor.pids()["clickhouse"]
        address = ClickHouseAddress("127.0.0.1", clickhouse.port, "aegis", USER, clickhouse.password)
        await migrate(control_plane_dsn=postgres.url, clickhouse=address)
        async with ClickHouse(address) as client:
            await fill(SpanStore(client), spans)
            limits = DEFAULTS["viewer"]
            asked: dict[str, Any] = {"start_ns": START_NS, "end_ns": START_NS + spans * 40_000 + 1}
            hour = {"start_ns": START_NS // (3600 * 10**9) * 3600 * 10**9, "end_ns": asked["end_ns"]}
            told, hourly = SpanStatistics(client), HourlyStore(client)

            async def steps(**more: Any) -> list[Any]:
                return (await told.steps(SCOPE, limits, **asked, step_ns=60 * 10**9, **more)).rows

            async def calls() -> list[Any]:
                return (await told.calls(SCOPE, limits, **asked)).rows

            async def peers() -> list[Any]:
                return (await told.peers(SCOPE, limits, **asked)).rows

            questions: dict[str, Callable[[], Awaitable[list[Any]]]] = {
                "services by the hour, hourly statistics": lambda: hourly.spans(SCOPE, limits, **hour),
                "services by the minute": steps,
                "operations by the minute": lambda: steps(by_operation=True),
                "operations of one service": lambda: steps(by_operation=True, service="cart"),
                "calls": calls,
                "calls to who is not instrumented": peers,
            }
            return [(name, *await _timed(question, pid)) for name, question in questions.items()]
    finally:
        await supervisor.stop()


async def _timed(question: Callable[[], Awaitable[list[Any]]], pid: int) -> tuple[float, float, int]:
    rows = await question()
    took = []
    cpu_s = family_cpu_s(pid)
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        await question()
        took.append(time.perf_counter() - begin)
    return statistics.median(took) * 1e3, (family_cpu_s(pid) - cpu_s) / ROUNDS * 1e3, len(rows)


async def _run(folder: Path, spans: int) -> None:
    table = Table(title=f"statistics of {spans:,} spans; {hardware()}", title_justify="left")
    for column in ("question", "ms", "CPU ms", "rows"):
        table.add_column(column, justify="left" if column == "question" else "right")
    for name, ms, cpu_ms, rows in await measure(folder, spans):
        table.add_row(name, f"{ms:.0f}", f"{cpu_ms:.0f}", f"{rows:,}")
    Console(width=100).print(table)


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=1_000_000)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="aegis-bench-"))
    folder.chmod(0o755)
    try:
        uvloop.run(_run(folder, options.spans))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
