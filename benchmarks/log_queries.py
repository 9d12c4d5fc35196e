"""How long do the common questions about logs take in the store, cold and warm, and what do they read and spend?

    python -m benchmarks.log_queries --rows 3000000
    python -m benchmarks.log_queries --rows 10000000 --blocks B --data D     keeps the workload and the loaded store

The shared workload (benchmarks/log_workload.py), one hour of it, goes as Arrow blocks of the store agents through LogStore into
an embedded ClickHouse of its own over HTTP; when merges have ended the questions are asked the same way: the stores' own calls,
one after the other, from the call to the rows in Python.

Cold: the server has just started and the files are not in the page cache (posix_fadvise). Warm: the median of `--repeat` runs
after that. Each run's range ends a nanosecond later than the one's before (a count of whole hours begins an hour earlier), so
that the server's cache of conditions, which remembers where the very same question found nothing, never answers. CPU is of
server and client together, the mean of the warm runs; it, and not the time, is what to compare on a machine that does other work.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template

import uvloop
from rich.console import Console
from rich.table import Table

from aegis.embedded.ports import free_port
from benchmarks.clickhouse_tables import ORG_ID, START_NS, write_blocks
from benchmarks.log_workload import RARE_WORD
from benchmarks.measured_instance import family_cpu_s, hardware
from storage.clickhouse import ClickHouse, ClickHouseAddress
from storage.log_counts import LogCounts
from storage.log_selection import LogSelection
from storage.logs import LOG_COLUMNS, LogRow, LogStore
from storage.migration_files import read_migrations, split_statements
from storage.migrations import REPOSITORY
from storage.named_queries import load_queries
from storage.record_table import RecordTable, selected
from storage.scope import OrgScope

SCOPE = OrgScope(ORG_ID)
HOUR_NS = 3600 * 10**9
END_NS = START_NS + HOUR_NS
BLOCK_ROWS = 30_000
SETTLED_S = 3.0
_SQL = load_queries("logs.sql")


@dataclass(frozen=True, slots=True)
class Asked:
    """What one run gave: rows found, rows read by the server."""

    found: int
    rows_read: int


@dataclass(frozen=True, slots=True)
class Question:
    """`ask` gets the number of the run; `budget_ms` is of a warm run at 3 million logs, 0 where there is none."""

    name: str
    budget_ms: float
    ask: Callable[[int], Awaitable[Asked]]


@dataclass(frozen=True, slots=True)
class Figures:
    """Milliseconds, and rows."""

    name: str
    budget_ms: float
    cold_ms: float
    warm_ms: float
    cpu_ms: float
    asked: Asked


class Server:
    """An embedded ClickHouse process on a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ClickHouse]:
        """A client of it, once it answers; it is stopped afterwards."""
        port = self._start()
        try:
            async with ClickHouse(ClickHouseAddress("127.0.0.1", port, database="default")) as clickhouse:
                await _answering(clickhouse)
                yield clickhouse
        finally:
            self._stop()

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)

    def _start(self) -> int:
        port = free_port(18123)
        argv = [sys.executable, "-m", "aegis.embedded.clickhouse", "--path", str(self._folder), "--port", str(port)]
        self._process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
        return port

    def forget_files(self) -> None:
        """Take its files out of the page cache."""
        os.sync()
        for path in self._folder.rglob("*"):
            if path.is_file():
                descriptor = os.open(path, os.O_RDONLY)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)


async def _answering(clickhouse: ClickHouse, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return await clickhouse.ping()
        except Exception:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


async def load(server: Server, blocks: list[Path]) -> str:
    """Migrate, insert, and wait for the merges; what that took, in words."""
    async with server.running() as clickhouse:
        for migration in read_migrations("clickhouse", REPOSITORY / "clickhouse/migrations"):
            for statement in split_statements(migration):
                await clickhouse.command(statement)
        await clickhouse.command("SYSTEM STOP MERGES")
        logs = LogStore(clickhouse)
        before = family_cpu_s(server.pid)
        for path in blocks:
            await logs.insert(path.read_bytes(), rows=BLOCK_ROWS, token=uuid.uuid4().hex)
        inserting = family_cpu_s(server.pid) - before
        rows = await _number(clickhouse, "SELECT count() FROM logs")
        before = family_cpu_s(server.pid)
        await clickhouse.command("SYSTEM START MERGES")
        await _settle(clickhouse)
        merging = family_cpu_s(server.pid) - before
        parts_left, bytes_left = [
            await _number(clickhouse, f"SELECT {what} FROM system.parts WHERE active AND table = 'logs'")
            for what in ("count()", "sum(bytes_on_disk)")
        ]
        return (
            f"{rows:,} logs: insert {inserting / rows * 1e6:.2f} us and merges {merging / rows * 1e6:.2f} us of CPU a log, "
            f"{bytes_left / rows:.1f} bytes a log in {parts_left} parts"
        )


async def _number(clickhouse: ClickHouse, sql: str) -> int:
    answer = await clickhouse.read(sql, tuple[int], doing="count")
    return answer.rows[0][0]


async def _settle(clickhouse: ClickHouse) -> None:
    quiet_since = time.monotonic()
    while time.monotonic() < quiet_since + SETTLED_S:
        await asyncio.sleep(0.2)
        if await _number(clickhouse, "SELECT count() FROM system.merges"):
            quiet_since = time.monotonic()


def questions(clickhouse: ClickHouse, traces: list[str], address: str) -> list[Question]:
    """Those of the budgets first."""
    logs, counts = LogStore(clickhouse), LogCounts(clickhouse)
    table = RecordTable(clickhouse, None, name="logs", what="logs", columns=LOG_COLUMNS)

    def search(**changes: str) -> Callable[[int], Awaitable[Asked]]:
        async def ask(run: int) -> Asked:
            page = await logs.search(SCOPE, LogSelection(start_ns=START_NS, end_ns=END_NS + run, **changes))  # type: ignore[arg-type]  # texts
            return Asked(len(page.rows), page.stats.rows_read)

        return ask

    async def other_trace(run: int) -> Asked:
        return await search(trace_id=traces[run % len(traces)])(run)

    async def attribute(run: int) -> Asked:
        selection = LogSelection(start_ns=START_NS, end_ns=END_NS + run)
        conditions = selected(SCOPE, selection)
        condition = Template(_SQL["where_attribute_equal"]).substitute(key="key", value="value")
        conditions.add(condition, key="client_ip", value=address)
        page = await table.page(_SQL["select_logs"], LogRow, selection, conditions)
        return Asked(len(page.rows), page.stats.rows_read)

    async def count_whole(run: int) -> Asked:
        answer = await counts.count(SCOPE, start_ns=START_NS - run * HOUR_NS, end_ns=END_NS)
        return Asked(sum(row.count for row in answer.rows), answer.stats.rows_read)

    async def count_ragged(run: int) -> Asked:
        answer = await counts.count(SCOPE, start_ns=START_NS - HOUR_NS, end_ns=END_NS - 600 * 10**9 + run)
        return Asked(sum(row.count for row in answer.rows), answer.stats.rows_read)

    return [
        Question("count by level", 5, count_whole),
        Question("rare word", 60, search(search=RARE_WORD)),
        Question("rare substring", 300, search(search=RARE_WORD[1:6])),
        Question("service + level, newest 100", 10, search(service="webhooks", level="error")),
        Question("trace id", 10, search(trace_id=traces[0])),
        Question("another trace id each time", 0, other_trace),
        Question("newest 100", 0, search()),
        Question("attribute, rare value", 0, attribute),
        Question("count by level, 10 minutes short of the hour", 0, count_ragged),
        Question("a word that is nowhere", 0, search(search="quetzalcoatlus")),
    ]


async def ask_all(server: Server, repeat: int) -> list[Figures]:
    """Each question on a server that has just started, and then again and again."""
    async with server.running() as clickhouse:
        middle = await LogStore(clickhouse).search(
            SCOPE, LogSelection(start_ns=START_NS, end_ns=START_NS + HOUR_NS // 3, limit=1000)
        )
        traces = sorted({row.trace_id for row in middle.rows})
        answer = await clickhouse.read(
            "SELECT attributes_map['client_ip'] FROM logs LIMIT 1", tuple[str], doing="find an address"
        )
        address = answer.rows[0][0]
        names = [question.name for question in questions(clickhouse, traces, address)]
    figures: list[Figures] = []
    for place, name in enumerate(names):
        server.forget_files()
        async with server.running() as clickhouse:
            question = questions(clickhouse, traces, address)[place]
            cold_ms, asked = await _timed(question, 0)
            cpu_before = family_cpu_s(server.pid) + time.process_time()
            warm = [await _timed(question, run) for run in range(1, repeat + 1)]
            cpu_ms = (family_cpu_s(server.pid) + time.process_time() - cpu_before) * 1000 / repeat
            warm_ms = statistics.median(ms for ms, _ in warm)
            figures.append(Figures(name, question.budget_ms, cold_ms, warm_ms, cpu_ms, asked))
            print(figures[-1], file=sys.stderr, flush=True)
    return figures


async def _timed(question: Question, run: int) -> tuple[float, Asked]:
    begin = time.perf_counter()
    asked = await question.ask(run)
    return (time.perf_counter() - begin) * 1000, asked


def show(figures: list[Figures], loaded: str, repeat: int) -> None:
    """The table, in Markdown, so that it can be kept as it is."""
    print(f"{hardware()}; load {' '.join(f'{load:.1f}' for load in os.getloadavg())}; {repeat} warm runs")
    print(loaded)
    table = Table(*("question", "budget", "warm ms", "cold ms", "CPU ms", "rows read", "found"), title="milliseconds")
    lines = ["| question | budget | warm ms | cold ms | CPU ms | rows read | found |", "|---|---|---|---|---|---|---|"]
    for each in figures:
        budget = f"{each.budget_ms:g}" if each.budget_ms else ""
        numbers = f"{each.warm_ms:.1f}", f"{each.cold_ms:.0f}", f"{each.cpu_ms:.1f}"
        cells = (each.name, budget, *numbers, f"{each.asked.rows_read:,}", f"{each.asked.found:,}")
        table.add_row(*cells)
        lines.append(f"| {' | '.join(cells)} |")
    Console(width=140).print(table)
    print("\n".join(lines))


async def bench(server: Server, blocks: list[Path], repeat: int) -> None:
    """Load the blocks, if there are any, ask, and show."""
    loaded = await load(server, blocks) if blocks else "as it was loaded before"
    print(loaded, file=sys.stderr, flush=True)
    show(await ask_all(server, repeat), loaded, repeat)


def ready_blocks(folder: Path, rows: int) -> list[Path]:
    """The workload's blocks in a folder, made if there are none."""
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.glob("*.arrow")):
        write_blocks(folder, rows, BLOCK_ROWS)
    return sorted(folder.glob("*.arrow"))


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--blocks", type=Path, help="a folder that keeps the blocks, or has them")
    parser.add_argument("--data", type=Path, help="a folder that keeps the loaded store, or has it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aegis-bench-") as scratch:
        data = options.data or Path(scratch, "data")
        blocks = [] if data.exists() else ready_blocks(options.blocks or Path(scratch, "blocks"), options.rows)
        uvloop.run(bench(Server(data), blocks, options.repeat))


if __name__ == "__main__":
    main()
