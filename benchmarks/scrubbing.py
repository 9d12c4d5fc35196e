"""What does scrubbing cost a log? CPU microseconds for each stage, on the shared workload in batches of 1000.

Stages add up to what the normalizer pays for messages and attributes: joining a column, searching it (the prefilter), looking
into the records that it points at. The second table is texts made to be slow.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.log_workload import log_records
from benchmarks.measured_instance import hardware
from privacy.policy import DEFAULT_POLICY
from privacy.scrub import Scrubber, join

BATCH = 1000
BUDGET_US = 1.5
START_NS = 1_763_900_000 * 10**9
HOSTILE = {
    "groups of digits": "4111 111 22 " * 20_000,
    "single digits": "4 1 1 1 1 1 " * 20_000,
    "at signs": "a@a.a" * 40_000,
    "one long name before an at sign": "a" * 200_000 + "@",
    "assignments": "password=" * 22_000,
    "escapes of escapes": "\\\\\\\\u0040" * 20_000,
    "percent signs": "%2540" * 40_000,
    "brackets": '"auth":[' * 25_000,
    "country codes": "DE89 " * 40_000,
    "plus signs": "+1 2 3 4 5 6 7 8 " * 11_000,
    "begins of private keys": "-----BEGIN PRIVATE KEY-----" * 7_500,
    "colons of URLs": "://a:" * 40_000,
}


def main() -> None:
    """Run it and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    console = Console(width=110)
    console.print(_stages(options.logs, options.runs))
    console.print(_hostile())


def _stages(logs: int, runs: int) -> Table:
    records = list(log_records(logs, start_ns=START_NS, span_ns=3600 * 10**9))
    columns: dict[str, list[list[Any]]] = {
        "message": [[r["message"] for r in records[i : i + BATCH]] for i in range(0, logs, BATCH)],
        "attributes": [[orjson.dumps(r["attributes"]) for r in records[i : i + BATCH]] for i in range(0, logs, BATCH)],
    }
    scrubber = Scrubber(DEFAULT_POLICY, b"k" * 16)
    works: dict[str, Callable[[Sequence[Any]], object]] = {"message": scrubber.texts, "attributes": scrubber.json_texts}
    table = Table(title=f"CPU us a log, best and median of {runs}; {hardware()}", title_justify="left")
    for name in ("column", "join", "scan", "walk", "all", "median", "records with hits", "values"):
        table.add_column(name, justify="right")
    sums = [0.0] * 5
    for name, batches in columns.items():
        joined, _ = _measure(join, batches, runs)
        found, _ = _measure(
            lambda batch, name=name: scrubber.count_hits(batch, every=name == "attributes"), batches, runs
        )  # type: ignore[misc]  # a loop variable as a default has no type
        whole, median = _measure(works[name], batches, runs)
        scrubber.take_counts()
        for batch in batches:
            works[name](batch)
        hits = sum(scrubber.count_hits(batch) for batch in batches)
        stages = [joined, found - joined, whole - found, whole, median]
        stages = [stage / logs * 1e6 for stage in stages]
        sums = [a + b for a, b in zip(sums, stages, strict=True)]
        table.add_row(name, *(f"{stage:.2f}" for stage in stages), str(hits), str(scrubber.take_counts().total()))
    table.add_row("both", *(f"{stage:.2f}" for stage in sums), f"budget {BUDGET_US}", "")
    return table


def _measure(work: Callable[[Sequence[Any]], object], batches: list[list[Any]], runs: int) -> tuple[float, float]:
    """CPU seconds of the best and of the median run, after one that fills caches."""
    spent = []
    for _ in range(runs + 1):
        begun = time.process_time()
        for batch in batches:
            work(batch)
        spent.append(time.process_time() - begun)
    return min(spent[1:]), sorted(spent[1:])[runs // 2]


def _hostile() -> Table:
    table = Table(title="one text of some 200 KB made to be slow, CPU ms", title_justify="left")
    table.add_column("text")
    for name in ("KB", "as text", "as JSON"):
        table.add_column(name, justify="right")
    scrubber = Scrubber(DEFAULT_POLICY, os.urandom(16))
    for name, text in HOSTILE.items():
        document = orjson.dumps({"a": text})
        spent = []
        for work, column in ((scrubber.texts, [text]), (scrubber.json_texts, [document])):
            begun = time.process_time()
            work(column)  # type: ignore[operator]  # of either kind
            spent.append((time.process_time() - begun) * 1e3)
        table.add_row(name, f"{len(text) / 1000:.0f}", *(f"{ms:.0f}" for ms in spent))
    return table


if __name__ == "__main__":
    main()
