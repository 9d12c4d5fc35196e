"""What does one request cost the gateway and Redis, and how long does it take? For each signal, of one record and of the most.

Starts a fresh instance and stops its worker, so that Redis works for the gateway alone. CPU microseconds a request come from
sending as fast as the gateway answers; the latencies from half that rate, counted from when a request was due. One process.
"""

from __future__ import annotations

import argparse
import os
import signal as signals
import time
from collections.abc import Callable
from dataclasses import dataclass

import orjson
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.http_load import send_bodies, send_paced
from benchmarks.log_workload import log_bodies
from benchmarks.measured_instance import MeasuredInstance, hardware, measured_instance
from benchmarks.signal_workloads import Bodies, metric_bodies, rum_bodies, span_bodies

CONNECTIONS = 16
_MOST = {"logs": 1000, "metrics": 5000, "traces": 500, "rum": 1000}
_FIELDS = {"logs": "logs", "metrics": "metrics", "traces": "spans", "rum": "events"}
_BUDGETS_US = {("logs", 1): "80", ("logs", 1000): "2000"}


@dataclass(frozen=True)
class Figures:
    """Of one kind of request: CPU microseconds each, requests a second, and latencies at half of that in milliseconds."""

    gateway_us: float
    redis_us: float
    per_second: float
    p50_ms: float
    p99_ms: float


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=6_000, help="requests of one record")
    parser.add_argument("--large", type=int, default=80, help="requests of the most records")
    options = parser.parse_args()
    table = Table(title=f"a request; {hardware()}; appendfsync always", title_justify="left")
    for column in ("", "records", "gateway us", "redis us", "both", "budget", "a second", "p50 ms", "p99 ms"):
        table.add_column(column, justify="left" if not column else "right")
    with measured_instance() as instance:
        os.kill(instance.pids["worker"], signals.SIGSTOP)
        try:
            for signal in _MOST:
                for records, requests in ((1, options.small), (_MOST[signal], options.large)):
                    each = uvloop.run(_measure(instance, signal, records, requests))
                    both = each.gateway_us + each.redis_us
                    table.add_row(
                        signal,
                        str(records),
                        *(f"{figure:.0f}" for figure in (each.gateway_us, each.redis_us, both)),
                        _BUDGETS_US.get((signal, records), ""),
                        f"{each.per_second:,.0f}",
                        f"{each.p50_ms:.2f}",
                        f"{each.p99_ms:.2f}",
                    )
        finally:
            os.kill(instance.pids["worker"], signals.SIGCONT)
    Console(width=110).print(table)


async def _measure(instance: MeasuredInstance, signal: str, records: int, requests: int) -> Figures:
    path, key = f"/v1/{signal}", {"org_key": instance.org_key, "secret": instance.secret}
    # Every body differs: the same bytes at the same millisecond are one request, and would be answered from memory.
    counts = (requests // 4, requests, requests)
    warm, fast, paced = (_bodies(signal, records, count, seed) for seed, count in enumerate(counts))
    await send_bodies(instance.url, warm, connections=CONNECTIONS, path=path, **key)
    before, began = instance.cpu_s(), time.perf_counter()
    statuses = await send_bodies(instance.url, fast, connections=CONNECTIONS, path=path, **key)
    took_s, after = time.perf_counter() - began, instance.cpu_s()
    if set(statuses) != {202}:
        raise SystemExit(f"not every request was accepted: {dict(statuses)}")
    spent = {name: (after[name] - before[name]) / len(fast) * 1e6 for name in before}
    per_second = len(fast) / took_s
    latencies = sorted(
        await send_paced(instance.url, paced, per_second=per_second / 2, connections=CONNECTIONS, path=path, **key)
    )
    p50, p99 = (latencies[min(len(latencies) - 1, int(len(latencies) * share))] * 1000 for share in (0.5, 0.99))
    return Figures(spent["gateway"], spent["redis"], per_second, p50, p99)


def _bodies(signal: str, records: int, requests: int, seed: int) -> Bodies:
    """Request bodies of so many records each."""
    start_ns = time.time_ns() - 3600 * 10**9
    if signal == "logs":
        return log_bodies(requests * records, batch=records, seed=seed, start_ns=start_ns)
    make: Callable[..., Bodies] = {"metrics": metric_bodies, "traces": span_bodies, "rum": rum_bodies}[signal]
    if records > 1:
        return make(requests * records, seed=seed, start_ns=start_ns)
    field = _FIELDS[signal]
    return [
        (orjson.dumps({field: [record]}), 1)
        for body, _ in make(requests, seed=seed, start_ns=start_ns)
        for record in orjson.loads(body)[field]
    ]


if __name__ == "__main__":
    main()
