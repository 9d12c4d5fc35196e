"""How long from a breach to its webhook, with many monitors and other load; and what does watching add to a record?

Starts a fresh instance with `--monitors` monitors on metrics of their own, sends logs in the background, and then breaches one by
one over HTTP: half of them of a maximum, which is decided on arrival, half of an average, which waits for the rest of a scrape.
Prints how long each took from before it was sent until the webhook's request is here, and what CPU it takes to hold a batch
against the monitors.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
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
    for column in ("monitors", "decided", "breaches", "p50", "p90", "p99", "largest", "budget p99"):
        table.add_column(column, justify="right")
    for monitors in options.monitors:
        with measured_instance() as instance:
            latencies = uvloop.run(_run(instance, monitors, options.breaches))
        for aggregation, found in latencies.items():
            figures = [f"{1000 * float(np.quantile(found, q)):.0f}" for q in (0.5, 0.9, 0.99, 1)]
            when = "on arrival (max)" if aggregation == "max" else "settled (avg)"
            table.add_row(f"{monitors:,}", when, str(len(found)), *figures, str(BUDGETS_MS[aggregation]))
            print(f"{monitors:,} monitors, {when}: p50 {figures[0]} ms, p99 {figures[2]} ms", flush=True)
    console.print(table)


async def _run(instance: MeasuredInstance, monitors: int, breaches: int) -> dict[str, list[float]]:
    """Seconds from each breach to its webhook, by aggregation."""
    arrived: dict[str, float] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                body = orjson.loads(await reader.readexactly(length))
                if body["state"] == "ALERT":
                    arrived.setdefault(f"{body['monitor_name']} {body['group']}", time.perf_counter())
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    await _define(instance, monitors, url)
    background = asyncio.create_task(_background(instance, breaches / BREACHES_A_SECOND + 10))
    await asyncio.sleep(5)  # The monitors are read, and the first batches are through.
    sent: dict[str, float] = {}
    sending: set[asyncio.Task[Any]] = set()
    for i in range(breaches):
        aggregation = ("max", "avg")[i % 2]
        point = {"name": f"breach_{aggregation}", "value": 95, "labels": {"n": str(i)}}
        body = orjson.dumps({"metrics": [point]})
        sent[f"{aggregation} n={i}"] = time.perf_counter()
        each = send_bodies(
            instance.url,
            [(body, 1)],
            org_key=instance.org_key,
            secret=instance.secret,
            connections=1,
            path="/v1/metrics",
        )
        sending.add(asyncio.create_task(each))
        await asyncio.sleep(1 / BREACHES_A_SECOND)
    await asyncio.gather(*sending)
    for _ in range(LOST_AFTER_S * 10):
        if len(arrived) < len(sent):
            await asyncio.sleep(0.1)
    background.cancel()
    server.close()
    if lost := [name for name in sent if name not in arrived]:
        raise SystemExit(
            f"{len(lost)} of {len(sent)} breaches had no webhook within {LOST_AFTER_S} s, such as {lost[:3]}"
        )
    found: dict[str, list[float]] = {"max": [], "avg": []}
    for name, at in sent.items():
        found[name[:3]].append(arrived[name] - at)
    return found


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


async def _background(instance: MeasuredInstance, seconds: float) -> None:
    bodies = log_bodies(int(seconds * BACKGROUND_A_SECOND) * 1000, batch=1000, start_ns=time.time_ns() - 3600 * 10**9)
    await send_paced(
        instance.url,
        bodies,
        org_key=instance.org_key,
        secret=instance.secret,
        per_second=BACKGROUND_A_SECOND,
        connections=4,
        path="/v1/logs",
    )


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
