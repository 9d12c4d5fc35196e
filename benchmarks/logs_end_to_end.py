"""How much CPU does a log cost, from socket to disk, in each process? (`make bench`)

Starts a fresh instance, sends the shared workload in requests of 1000 records and then of one, waits until every record can be
queried and the store has settled, and prints CPU microseconds by process.
"""

from __future__ import annotations

import argparse
import asyncio
import time

import httpx
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.http_load import send_bodies
from benchmarks.log_workload import log_bodies
from benchmarks.measured_instance import MeasuredInstance, hardware, measured_instance

BUDGET_US_A_LOG = 12.0
BUDGET_US_ONE_RECORD_GATEWAY = 80.0
SETTLE_S = 3.0


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=int, default=300_000, help="records sent in requests of 1000")
    parser.add_argument("--requests", type=int, default=10_000, help="requests of one record")
    options = parser.parse_args()
    with measured_instance() as instance:
        rows = uvloop.run(_run(instance, options.logs, options.requests))
    table = Table(title=f"CPU us by process; {hardware()}", title_justify="left")
    for column in ("process", "a log, 1000 a request", "a request of one log"):
        table.add_column(column, justify="right" if column != "process" else "left")
    for name, *figures in rows:
        table.add_row(name, *(f"{figure:.2f}" for figure in figures))
    Console(width=100).print(table)


async def _run(instance: MeasuredInstance, logs: int, requests: int) -> list[tuple[str, float, float]]:
    now_ns = time.time_ns()
    warm = log_bodies(20_000, batch=1000, seed=1, start_ns=now_ns - 7200 * 10**9)
    await send(instance, warm, senders=2)
    await wait_until_stored(instance, 20_000)
    big = log_bodies(logs, batch=1000, start_ns=now_ns - 3600 * 10**9)
    big_us = await _measure(instance, big, 20_000 + logs, senders=4, units=logs)
    small = log_bodies(requests, batch=1, seed=2, start_ns=now_ns - 3600 * 10**9)
    small_us = await _measure(instance, small, 20_000 + logs + requests, senders=16, units=requests)
    rows = [(name, big_us[name], small_us[name]) for name in big_us]
    rows.append(("all", sum(big_us.values()), sum(small_us.values())))
    rows.append(("budget (all; gateway + redis)", BUDGET_US_A_LOG, BUDGET_US_ONE_RECORD_GATEWAY))
    return rows


async def _measure(
    instance: MeasuredInstance, bodies: list[tuple[bytes, int]], total: int, *, senders: int, units: int
) -> dict[str, float]:
    """CPU microseconds a unit by process, until all is stored and merges have settled."""
    blocks_before = await read_counter(instance, "aegis_store_blocks_total")
    before = instance.cpu_s()
    begin = time.perf_counter()
    await send(instance, bodies, senders=senders)
    sent = time.perf_counter()
    await wait_until_stored(instance, total)
    stored = time.perf_counter()
    blocks = await read_counter(instance, "aegis_store_blocks_total") - blocks_before
    print(
        f"{units} records sent in {sent - begin:.1f} s, all stored {stored - sent:.2f} s later, "
        f"{units / max(blocks, 1):,.0f} rows a block"
    )
    await asyncio.sleep(SETTLE_S)
    after = instance.cpu_s()
    return {name: (after[name] - before[name]) / units * 1e6 for name in before}


async def send(
    instance: MeasuredInstance, bodies: list[tuple[bytes, int]], *, senders: int, path: str = "/v1/logs"
) -> None:
    """Send bodies over `senders` connections; every one must be accepted."""
    statuses = await send_bodies(
        instance.url, bodies, org_key=instance.org_key, secret=instance.secret, connections=senders, path=path
    )
    if statuses != {202: len(bodies)}:
        raise SystemExit(f"not every request was accepted: {dict(statuses)}")


async def wait_until_stored(instance: MeasuredInstance, total: int) -> None:
    """Return when the store holds `total` records; asks the worker, whose counter costs the store nothing."""
    deadline = time.monotonic() + 120
    while await read_counter(instance, "aegis_store_rows_total") < total:
        if time.monotonic() > deadline:
            raise SystemExit(f"only a part of {total} records was stored within 120 s")
        await asyncio.sleep(0.05)


async def read_counter(instance: MeasuredInstance, name: str) -> float:
    """The sum of one of the worker's counters."""
    async with httpx.AsyncClient() as http:
        lines = (await http.get(f"{instance.worker_url}/metrics")).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))


if __name__ == "__main__":
    main()
