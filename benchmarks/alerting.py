"""How long from a breach to its webhook, with many monitors and other load; and what does watching add to a record?

Starts a fresh instance with `--monitors` monitors on metrics of their own, sends logs in the background, and then breaches one by
one over HTTP: half of them of a maximum, which is decided on arrival, half of an average, which waits for the rest of a scrape.
Prints how long each took from before it was sent until the webhook's request is here, and what CPU it takes to hold a batch
against the monitors. Figures are printed whatever was lost or refused, and that beside them; the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import orjson
import uvloop
from rich.console import Console
from rich.table import Table

from aegis.access import opened_control_plane
from aegis.settings import load_settings
from agents.normalize_logs import normalize_logs
from agents.normalize_metrics import normalize_metrics
from agents.normalize_traces import normalize_traces
from benchmarks.http_load import send_bodies, send_paced
from benchmarks.log_workload import log_bodies
from benchmarks.measured_instance import MeasuredInstance, hardware, measured_instance
from benchmarks.signal_workloads import metric_bodies, span_bodies
from channels.definitions import parse_config, secrets_of, without_secrets
from monitors.definitions import parse_monitor
from monitors.monitor_set import MonitorSet
from monitors.watched import WatchedMonitor
from storage.scope import OrgScope
from topics.names import LOGS, METRICS, TRACES
from topics.raw import RawBatch

BUDGETS_MS: Final = {"max": 500, "avg": 1500}
BREACHES_A_SECOND: Final = 20
BACKGROUND_A_SECOND: Final = 2
"""Requests of 1000 logs."""

LOST_AFTER_S: Final = 20
"""A breach is lost when nothing has arrived for so long, and late until then: an overloaded machine takes its time."""


def main() -> None:
    """Run it and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--monitors", type=int, nargs="*", default=[1_000, 10_000])
    parser.add_argument("--breaches", type=int, default=1_000)
    options = parser.parse_args()
    console = Console(width=110)
    console.print(_cost_table(options.monitors))
    os.environ["AEGIS_CHANNEL_NETWORKS"] = str(ip_network("127.0.0.0/8"))
    table = Table(title=f"Milliseconds from a breach to its webhook; {hardware()}", title_justify="left")
    for column in ("monitors", "decided", "breaches", "lost", "p50", "p90", "p99", "largest", "budget p99"):
        table.add_column(column, justify="right")
    failed = False
    for monitors in options.monitors:
        with measured_instance() as instance:
            run = uvloop.run(_run(instance, monitors, options.breaches))
        for problem in run.problems:
            failed = True
            print(f"{monitors:,} monitors: {problem}", flush=True)
        for aggregation, found in run.latencies.items():
            figures = [f"{1000 * float(np.quantile(found, q)):.0f}" if found else "-" for q in (0.5, 0.9, 0.99, 1)]
            when = "on arrival (max)" if aggregation == "max" else "settled (avg)"
            counts = str(len(found)), str(run.lost[aggregation])
            table.add_row(f"{monitors:,}", when, *counts, *figures, str(BUDGETS_MS[aggregation]))
            print(f"{monitors:,} monitors, {when}: p50 {figures[0]} ms, p99 {figures[2]} ms", flush=True)
    console.print(table)
    if failed:
        raise SystemExit(1)


@dataclass(frozen=True)
class _Run:
    """Seconds from each breach to its webhook and how many had none, by aggregation; and what went wrong, in words."""

    latencies: dict[str, list[float]]
    lost: dict[str, int]
    problems: list[str]


async def _run(instance: MeasuredInstance, monitors: int, breaches: int) -> _Run:
    arrived: dict[str, float] = {}
    another = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                body = orjson.loads(await reader.readexactly(length))
                if body["state"] == "ALERT":
                    arrived.setdefault(f"{body['monitor_name']} {body['group']}", time.perf_counter())
                    another.set()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    await _define(instance, monitors, url)
    problems: list[str] = []
    background = asyncio.create_task(_background(instance, breaches / BREACHES_A_SECOND + 10, problems))
    await asyncio.sleep(5)  # The monitors are read, and the first batches are through.
    sent: dict[str, float] = {}
    sending: set[asyncio.Task[Any]] = set()

    async def breach(name: str, body: bytes) -> None:
        sent[name] = time.perf_counter()
        try:
            statuses = await send_bodies(
                instance.url,
                [(body, 1)],
                org_key=instance.org_key,
                secret=instance.secret,
                connections=1,
                path="/v1/metrics",
            )
        except OSError as exc:
            problems.append(f"breach {name} was not answered: {exc}")
        else:
            if set(statuses) != {202}:
                problems.append(f"breach {name} was not accepted: {dict(statuses)}")

    for i in range(breaches):
        aggregation = ("max", "avg")[i % 2]
        point = {"name": f"breach_{aggregation}", "value": 95, "labels": {"n": str(i)}}
        sending.add(asyncio.create_task(breach(f"{aggregation} n={i}", orjson.dumps({"metrics": [point]}))))
        await asyncio.sleep(1 / BREACHES_A_SECOND)
    await asyncio.gather(*sending)
    with suppress(TimeoutError):
        while len(arrived) < len(sent):
            another.clear()
            await asyncio.wait_for(another.wait(), LOST_AFTER_S)
    background.cancel()
    await asyncio.gather(background, return_exceptions=True)
    server.close()
    lost = [name for name in sent if name not in arrived]
    if lost:
        problems.append(f"{len(lost)} of {len(sent)} breaches had no webhook, such as {lost[:3]}")
    found: dict[str, list[float]] = {"max": [], "avg": []}
    for name, at in sent.items():
        if name in arrived:
            found[name[:3]].append(arrived[name] - at)
    return _Run(found, {each: sum(name.startswith(each) for name in lost) for each in found}, problems)


async def _define(instance: MeasuredInstance, monitors: int, url: str) -> None:
    """Monitors that nothing matches, and the two that breaches are of."""
    scope = OrgScope(instance.org_id)
    async with opened_control_plane(load_settings(Path(instance.data_dir)), with_secrets=True) as control_plane:
        config = parse_config("webhook", {"url": url, "per_minute": 60_000})
        channel = await control_plane.channels.create(
            scope, name="hook", kind="webhook", config=without_secrets(config), secrets=secrets_of(config)
        )
        for aggregation in ("max", "avg"):
            definition = {
                "metric": f"breach_{aggregation}", "aggregation": aggregation, "critical": 90, "group_by": ["n"],
                "groups_max": 5_000, "new_group_delay_s": 0, "channels": [channel.id],
            }  # fmt: skip
            await control_plane.monitors.create(scope, name=aggregation, kind="metric", definition=definition)
        for i in range(monitors - 2):
            definition = {"metric": f"metric_{i}", "critical": 90, "group_by": ["host"]}
            await control_plane.monitors.create(scope, name=f"m{i}", kind="metric", definition=definition)


async def _background(instance: MeasuredInstance, seconds: float, problems: list[str]) -> None:
    """Logs at a steady rate. What goes wrong is noted: a task that ends with `SystemExit` would end the whole run."""
    bodies = log_bodies(int(seconds * BACKGROUND_A_SECOND) * 1000, batch=1000, start_ns=time.time_ns() - 3600 * 10**9)
    try:
        await send_paced(
            instance.url,
            bodies,
            org_key=instance.org_key,
            secret=instance.secret,
            per_second=BACKGROUND_A_SECOND,
            connections=4,
            path="/v1/logs",
        )
    except (SystemExit, OSError) as exc:
        problems.append(f"the logs beside it: {exc}")


def _cost_table(counts: list[int]) -> Table:
    """What holding batches against monitors costs, in CPU microseconds a record."""
    table = Table(title=f"CPU us a record added by watching; {hardware()}", title_justify="left")
    for column in ("signal", "monitors", "of which match", "us a record", "parts a batch"):
        table.add_column(column, justify="right")
    start_ns = time.time_ns()
    now_ms = start_ns // 1_000_000
    signals: list[tuple[str, Any, Any, list[dict[str, Any]], dict[str, Any]]] = [
        (METRICS, normalize_metrics, metric_bodies(5_000, seed=1, start_ns=start_ns), [
            {"kind": "metric", "metric": "http_requests_total", "aggregation": "rate", "group_by": ["service"]},
            {"kind": "metric", "metric": "http_requests_total", "aggregation": "max", "labels": {"status": "500"}},
        ], {"kind": "metric", "metric": "none_{}"}),
        (LOGS, normalize_logs, log_bodies(1_000, batch=1000, start_ns=start_ns), [
            {"kind": "log", "query": '{service="checkout", level="error"}'},
            {"kind": "log", "query": '{level="error"} |= "deadlock"', "group_by": ["service"]},
        ], {"kind": "log", "query": '{{service="none-{}"}} |= "timeout"'}),
        (TRACES, normalize_traces, span_bodies(500, seed=1, start_ns=start_ns), [
            {"kind": "trace", "aggregation": "error_rate", "group_by": ["service"]},
            {"kind": "trace", "aggregation": "p99", "group_by": ["service", "operation"]},
        ], {"kind": "trace", "aggregation": "p99", "service": "none-{}"}),
    ]  # fmt: skip
    for topic, normalize, bodies, matching, other in signals:
        kept: list[Any] = []
        normalize(RawBatch("o", "r", now_ms, 30, bodies[0][0]), partition=0, offset=1, keep=kept.append)
        rows = bodies[0][1]
        for count in counts:
            others = [
                {name: value.format(i) if isinstance(value, str) else value for name, value in other.items()}
                for i in range(count)
            ]
            for matches in (0, 1, 2):
                watched = MonitorSet(_watched([*matching[:matches], *others]))
                us, parts = _measure(watched, topic, kept[0], now_ms)
                table.add_row(topic, f"{count:,}", str(matches), f"{us / rows:.3f}", str(parts))
    return table


def _watched(definitions: list[dict[str, Any]]) -> list[WatchedMonitor]:
    return [
        WatchedMonitor(f"{i:036}", "o", 1, parse_monitor({"name": f"m{i}", "critical": 1.0} | definition))
        for i, definition in enumerate(definitions)
    ]


def _measure(watched: MonitorSet, topic: str, batch: Any, now_ms: int) -> tuple[float, int]:
    """CPU microseconds a batch, messages encoded; and how many parts it makes. The best of some rounds."""
    best, parts = float("inf"), 0
    for _ in range(5):
        begin = time.process_time()
        for _ in range(20):
            found = watched.parts_of(topic, batch, now_ms)
            assert found is not None
            parts = sum(map(len, found.of_monitors.values()))
            msgspec.msgpack.encode(list(found.of_monitors.values()))
        best = min(best, (time.process_time() - begin) / 20 * 1e6)
    return best, parts


if __name__ == "__main__":
    main()
