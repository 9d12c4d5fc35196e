"""How long does a PromQL query take, beside Prometheus on the same data? (`python -m benchmarks.promql`)

10,000 series of 15 s over 3 hours, step 60 s: ours from an embedded PostgreSQL through `aegis query`, Prometheus' (Debian's
package `prometheus`; without it only ours) from blocks that promtool makes of the same samples. Both are asked over HTTP on one
connection; cold is a process of ours that remembers nothing (AEGIS_METRICS_CACHE_BYTES=0), with its connections open.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from aegis.embedded.ports import free_port
from aegis.embedded.postgres import PostgresService, postgres_service
from aegis.settings import environment
from aegis.supervision.supervisor import Supervisor
from benchmarks.measured_instance import hardware
from benchmarks.metric_store import SCOPE
from benchmarks.metric_workload import HISTOGRAM, SERIES_A_HOST, STEP_S, metric_series, metric_steps
from query.tokens import Tokens
from storage.metrics import MetricStore, SourceRange
from storage.migrations import migrate
from storage.timescale import Timescale, TimescaleAddress
from topics.metric_columns import MetricBatch, decode_series

HOURS = 3
# Whole hours, the last of which ended an hour ago at least.
START_S = (int(time.time()) // 3600 - HOURS - 1) * 3600
END_S = START_S + HOURS * 3600 - STEP_S
SECRET = "b" * 32
ONE = '{service="checkout",host="checkout-03"}'
QUERIES: dict[str, tuple[str, dict[str, str]]] = {
    "avg by (service)(rate(m[5m]))": ("query_range", {"query": "avg by (service)(rate(http_requests_total[5m]))"}),
    "sum(gauge)": ("query_range", {"query": "sum(queue_depth)"}),
    "histogram_quantile(0.99, ...)": (
        "query_range",
        {"query": f"histogram_quantile(0.99, sum by (le)(rate({HISTOGRAM}_bucket[5m])))"},
    ),
    "instant, one series": ("query", {"query": f"queue_depth{ONE}", "time": str(END_S)}),
}
RANGE = {"start": str(START_S), "end": str(END_S), "step": "60"}

Figures = dict[str, tuple[float, float, int]]
"""Query -> median and least milliseconds, and how many series the answer has."""


async def load(address: TimescaleAddress, hosts: int) -> int:
    """The workload into our store, five steps a block; returns the samples."""
    timescale = await Timescale.open(address, command_timeout_s=600.0)
    store, series = MetricStore(timescale, series_max=100_000), metric_series(hosts)
    index, points, offset = np.arange(len(series), dtype=np.int32), 0, 1
    block: list[MetricBatch] = []
    steps = HOURS * 3600 // STEP_S
    for step, values in enumerate(metric_steps(steps, hosts)):
        ts_us = np.full(len(series), (START_S + step * STEP_S) * 1_000_000)
        block.append(MetricBatch(series, index, ts_us, values.copy()))
        if len(block) == 5 or step == steps - 1:
            source = SourceRange("bench", "metrics", 0, offset, offset + len(block) - 1)
            points += (await store.insert([(SCOPE, batch) for batch in block], source)).points
            offset += len(block)
            block = []
    await timescale.pool.execute("VACUUM ANALYZE metrics")
    await timescale.pool.execute("ANALYZE series")
    await timescale.close()
    return points


def write_openmetrics(path: Path, hosts: int) -> None:
    """The same samples as text, as promtool takes them: those of a metric together."""
    series = [decode_series(text) for text in metric_series(hosts)]
    shown = []
    for each in series:
        labels = ",".join(f'{name}="{text}"' for name, text in each.labels.items())
        shown.append(f"{each.name}{{{labels}}} ")
    steps = np.array(list(metric_steps(HOURS * 3600 // STEP_S, hosts)))
    with path.open("w") as file:
        for first in range(SERIES_A_HOST):
            for place in range(first, len(series), SERIES_A_HOST):
                file.writelines(
                    f"{shown[place]}{value!r} {START_S + step * STEP_S}\n"
                    for step, value in enumerate(steps[:, place].tolist())
                )
        file.write("# EOF\n")


@contextmanager
def ours(service: PostgresService, **env: str) -> Iterator[httpx.Client]:
    """`aegis query` over the loaded store."""
    port, place = free_port(0), service.cluster
    settings = {
        "JWT_SECRET": SECRET,
        "DATABASE_URL": service.url,
        "TIMESCALE_HOST": "127.0.0.1",
        "TIMESCALE_PORT": str(service.port),
        "TIMESCALE_DATABASE": place.database,
        "TIMESCALE_USER": place.user,
        "TIMESCALE_PASSWORD": service.password,
        "CLICKHOUSE_HOST": "127.0.0.1",
        "CLICKHOUSE_PORT": "9",
        "AEGIS_QUERY_PORT": str(port),
        "AEGIS_LOG_LEVEL": "error",
    }
    token = Tokens(SECRET).issue(SCOPE, role="owner", subject="bench", lifetime_s=3600)
    with running(
        [sys.executable, "-m", "aegis.cli", "query"], f"http://127.0.0.1:{port}", "/health", settings | env
    ) as http:
        http.headers["authorization"] = f"Bearer {token}"
        yield http


@contextmanager
def running(argv: list[str], url: str, probe: str, env: dict[str, str]) -> Iterator[httpx.Client]:
    """A server until the block ends, and a client of it."""
    process = subprocess.Popen(argv, env={**environment(), **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=url, timeout=120) as http:
            for _ in range(600):
                try:
                    if http.get(probe).status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                time.sleep(0.1)
            yield http
    finally:
        process.terminate()
        process.wait(30)


def measure(asked: dict[str, httpx.Client], repeats: int) -> dict[str, Figures]:
    """Server -> query -> median and least milliseconds, and series of the answer; the first time does not count.

    Servers take turns, so that what else the machine does falls on all of them.
    """
    found: dict[str, Figures] = {server: {} for server in asked}
    for name, (path, parameters) in QUERIES.items():
        times: dict[str, list[float]] = {server: [] for server in asked}
        for _ in range(repeats + 1):
            for server, http in asked.items():
                begin = time.perf_counter()
                response = http.get(f"/api/v1/{path}", params=parameters | (RANGE if path == "query_range" else {}))
                times[server].append((time.perf_counter() - begin) * 1e3)
                if response.status_code != 200:
                    raise SystemExit(f"{server}: {name}: {response.text[:500]}")
                series = len(response.json()["data"]["result"])
                found[server][name] = (
                    statistics.median(times[server][1:] or [0.0]),
                    min(times[server][1:] or [0.0]),
                    series,
                )
    return found


@contextmanager
def prometheus(folder: Path, hosts: int) -> Iterator[httpx.Client | None]:
    """Debian's, on blocks of the same samples; None where it is not installed."""
    if shutil.which("promtool") is None or shutil.which("prometheus") is None:
        yield None
        return
    text, blocks, port = folder / "samples.txt", folder / "blocks", free_port(0)
    write_openmetrics(text, hosts)
    made = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(blocks)]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
    text.unlink()
    config = folder / "prometheus.yml"
    config.write_text("scrape_configs: []\n")
    argv = [
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={blocks}", "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
    ]  # fmt: skip
    with running(argv, f"http://127.0.0.1:{port}", "/-/ready", {}) as http:
        yield http


async def _run(folder: Path, options: argparse.Namespace) -> None:
    service = postgres_service(folder / "postgres", free_port(0), environment())
    supervisor = Supervisor(folder / "postgres", lambda event: None)
    try:
        await supervisor.start([service.spec()])
        await migrate(control_plane_dsn=service.url, timescale_dsn=service.url)
        place = service.cluster
        address = TimescaleAddress("127.0.0.1", service.port, place.database, place.user, service.password)
        points = await load(address, options.hosts)
        answers = await asyncio.to_thread(_ask_all, service, folder, options)
    finally:
        await supervisor.stop()
    table = Table(
        title=f"PromQL over {options.hosts * SERIES_A_HOST:,} series, {points:,} samples, {HOURS} h, step 60 s,"
        f" median (least) ms; {hardware()}, load {os.getloadavg()[0]:.1f}",
        title_justify="left",
    )
    for column in ("query", *answers):
        table.add_column(column, justify="left" if column == "query" else "right")
    for query in QUERIES:
        table.add_row(query, *(f"{figures[query][0]:.1f} ({figures[query][1]:.1f})" for figures in answers.values()))
    Console(width=120).print(table)


def _ask_all(service: PostgresService, folder: Path, options: argparse.Namespace) -> dict[str, Figures]:
    with (
        ours(service) as warm,
        ours(service, AEGIS_METRICS_CACHE_BYTES="0") as cold,
        prometheus(folder, options.hosts) as other,
    ):
        asked = {"warm": warm, "cold": cold} | ({} if other is None else {"Prometheus": other})
        answers = measure(asked, options.repeats)
    sizes = {name: {query: figures[query][2] for query in QUERIES} for name, figures in answers.items()}
    if any(size != sizes["warm"] for size in sizes.values()):
        raise SystemExit(f"the answers differ: {sizes}")
    return answers


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=200, help="50 series each")
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aegis-bench-promql-") as folder:
        Path(folder).chmod(0o755)
        asyncio.run(_run(Path(folder), options))


if __name__ == "__main__":
    main()
