"""What does normalizing cost a record, stage by stage, for each signal? CPU microseconds in one process, 1000-record batches.

Read: decode and check the body. Plain: columns and the message. Then with enrichment, and with enrichment and scrubbing by the
default policy, as a worker does it. The budgets are those of the normalization issue.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rich.console import Console
from rich.table import Table

from aegis.settings import Settings
from agents.normalize_logs import normalize_logs
from agents.normalize_metrics import normalize_metrics
from agents.normalize_rum import normalize_rum
from agents.normalize_traces import normalize_traces
from benchmarks.log_workload import log_bodies
from benchmarks.measured_instance import hardware
from benchmarks.signal_workloads import metric_bodies, rum_bodies, span_bodies
from enrichment.attributes import Enrichment
from enrichment.locations import Locations
from enrichment.user_agents import UserAgents
from privacy.policy import DEFAULT_POLICY
from privacy.scrub import Scrubber
from topics.log_records import read_logs
from topics.metric_records import read_metrics
from topics.raw import RawBatch
from topics.rum_records import read_rum_events
from topics.span_records import read_spans

NOW_NS = 1_761_912_000_000_000_000
BUDGETS_US = {"logs": (5.5, 4.5), "metrics": (1.0, 0.8), "traces": (4.0, 3.0), "rum": (5.0, 4.0)}
"""Signal -> budget and stretch, a record in all."""


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    scrubber = Scrubber(DEFAULT_POLICY, bytes(16))
    enrichment = _enrichment()
    table = Table(title=f"normalize, best of {options.runs} runs, CPU us a record; {hardware()}", title_justify="left")
    for column in ("", "read", "plain", "+ enrichment", "+ scrubbing: all", "budget", "stretch"):
        table.add_column(column, justify="left" if not column else "right")
    for signal, (read, normalize, bodies) in _signals().items():
        batches = [_batch(body) for body, _ in bodies]
        records = sum(count for _, count in bodies)
        work = partial(normalize, partition=0, offset=1)
        ways: list[Callable[[RawBatch], Any]] = [
            lambda batch, read=read: read(batch.body),
            work,
            partial(work, enrichment=enrichment),
            partial(work, enrichment=enrichment, scrub=scrubber),
        ]
        figures = [_best_us(way, batches, records, options.runs) for way in ways]
        table.add_row(signal, *(f"{each:.2f}" for each in figures), *map(str, BUDGETS_US[signal]))
    Console(width=110).print(table)


def _signals() -> dict[str, tuple[Callable[[bytes], Any], Callable[..., Any], Sequence[tuple[bytes, int]]]]:
    return {
        "logs": (read_logs, normalize_logs, list(log_bodies(10_000, batch=1000, seed=1, start_ns=NOW_NS))),
        "metrics": (read_metrics, normalize_metrics, list(metric_bodies(20_000, seed=1, start_ns=NOW_NS))),
        "traces": (read_spans, normalize_traces, list(span_bodies(10_000, seed=1, start_ns=NOW_NS))),
        "rum": (read_rum_events, normalize_rum, list(rum_bodies(10_000, seed=1, start_ns=NOW_NS))),
    }


def _batch(body: bytes) -> RawBatch:
    return RawBatch("0c6f1a3e-6b0e-4a52-9f0a-6a3f6f1f2b11", "r", NOW_NS // 10**6 + 3_600_000, 30, body)


def _enrichment() -> Enrichment:
    """As a worker without a city database has it; benchmarks/enrichment.py looks at databases."""
    settings = Settings()
    return Enrichment(
        Locations(settings.geoip_path),
        UserAgents(),
        address_names=settings.geoip_attributes.split(","),
        user_agent_names=settings.user_agent_attributes.split(","),
    )


def _best_us(work: Callable[[RawBatch], Any], batches: Sequence[RawBatch], records: int, runs: int) -> float:
    best = float("inf")
    for _ in range(runs):
        began = time.process_time()
        for batch in batches:
            work(batch)
        best = min(best, time.process_time() - began)
    return best / records * 1e6


if __name__ == "__main__":
    main()
