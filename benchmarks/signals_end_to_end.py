"""How much CPU do a metric point, a span and a RUM event cost, from socket to disk, in each process?

Starts a fresh instance, sends each signal in requests of the largest size, waits until every record is stored and the stores have
settled, and prints CPU microseconds a record by process. Metrics go to the embedded PostgreSQL, without TimescaleDB.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.logs_end_to_end import SETTLE_S, read_counter, send, wait_until_stored
from benchmarks.measured_instance import MeasuredInstance, hardware, measured_instance
from benchmarks.signal_workloads import Bodies, metric_bodies, rum_bodies, span_bodies

BUDGETS_US = {"metrics": 2.5, "traces": 7.0, "rum": 9.0}
_WORKLOADS: dict[str, Callable[..., Bodies]] = {"metrics": metric_bodies, "traces": span_bodies, "rum": rum_bodies}
_WARM = 20_000


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=500_000)
    parser.add_argument("--spans", type=int, default=100_000)
    parser.add_argument("--events", type=int, default=100_000)
    options = parser.parse_args()
    sizes = {"metrics": options.points, "traces": options.spans, "rum": options.events}
    with measured_instance() as instance:
        figures = uvloop.run(_run(instance, sizes))
    table = Table(title=f"CPU us a record by process; {hardware()}", title_justify="left")
    table.add_column("process")
    for signal in figures:
        table.add_column(signal, justify="right")
    for name in next(iter(figures.values())):
        table.add_row(name, *(f"{figures[signal][name]:.2f}" for signal in figures))
    table.add_row("all", *(f"{sum(each.values()):.2f}" for each in figures.values()))
    table.add_row("budget (all)", *(f"{BUDGETS_US[signal]:.2f}" for signal in figures))
    Console(width=100).print(table)


async def _run(instance: MeasuredInstance, sizes: dict[str, int]) -> dict[str, dict[str, float]]:
    figures: dict[str, dict[str, float]] = {}
    total = 0
    for signal, records in sizes.items():
        make, start_ns = _WORKLOADS[signal], time.time_ns() - 7200 * 10**9
        await send(instance, make(_WARM, seed=1, start_ns=start_ns), senders=2, path=f"/v1/{signal}")
        total += _WARM
        await wait_until_stored(instance, total)
        bodies = make(records, seed=2, start_ns=start_ns)
        total += records
        figures[signal] = await _measure(instance, signal, bodies, records, total)
    return figures


async def _measure(
    instance: MeasuredInstance, signal: str, bodies: Bodies, records: int, total: int
) -> dict[str, float]:
    """CPU microseconds a record by process, until all is stored and merges have settled."""
    await asyncio.sleep(SETTLE_S)
    blocks_before = await read_counter(instance, "aegis_store_blocks_total")
    before, begin = instance.cpu_s(), time.perf_counter()
    await send(instance, bodies, senders=4, path=f"/v1/{signal}")
    await wait_until_stored(instance, total)
    took_s = time.perf_counter() - begin
    blocks = await read_counter(instance, "aegis_store_blocks_total") - blocks_before
    size = sum(len(body) for body, _ in bodies) / records
    print(f"{records} {signal}, {size:.0f} bytes each, stored in {took_s:.1f} s, {records / blocks:,.0f} rows a block")
    await asyncio.sleep(SETTLE_S)
    after = instance.cpu_s()
    return {name: (after[name] - before[name]) / records * 1e6 for name in before}


if __name__ == "__main__":
    main()
