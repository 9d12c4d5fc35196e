"""What does PromQL's evaluator cost? CPU ms a query over blocks in memory: 10,000 series, 15 s samples, 3 h, 1 min steps.

2,000 counters in 20 services, 2,000 gauges, 500 histograms of 12 buckets. Once with the times of one clock, once with those
of scrapes, which are spread over the interval and off by some milliseconds. The first evaluation of a block finds what is kept
of it (groups, whether counters fell), so it stands beside the best of those after it. Reading is not part of it.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.measured_instance import hardware
from query.promql.engine import evaluate, parse, selections
from query.promql.labels import Labels, LabelTable
from query.promql.source import Floats, Selection, SeriesBlock
from query.promql.steps import Limits, Steps

START_MS, RANGE_MS, SCRAPE_MS, STEP_MS = 1_763_900_000_000, 3 * 3_600_000, 15_000, 60_000
BOUNDS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf")
PROMETHEUS_MS = {
    "avg by (service)(rate(m_total[5m]))": 19,
    "sum(gauge)": 12,
    "histogram_quantile(0.99, sum by (le)(rate(b_bucket[5m])))": 157,
}
"""What Prometheus took for these on data of this size, warm, on the machine of the first measurement."""
OTHERS = (
    "rate(m_total[5m])",
    "sum by (service)(m_total) / sum by (service)(gauge)",
    "gauge / on (service, instance) m_total",
    "topk(5, rate(m_total[5m]))",
    "max_over_time(gauge[10m])",
    "avg_over_time(gauge[5m])",
    "quantile_over_time(0.9, gauge[5m])",
    "quantile by (service)(0.9, gauge)",
    "deriv(gauge[5m])",
    "histogram_quantile(0.9, rate(b_bucket[5m]))",
    "max_over_time(sum by (service)(rate(m_total[5m]))[30m:1m])",
)


def _labels() -> dict[str, list[Labels]]:
    each = [{"service": f"service-{k % 20}", "instance": f"10.0.{k // 250}.{k % 250}"} for k in range(2000)]
    return {
        "m_total": [{"__name__": "m_total", **labels} for labels in each],
        "gauge": [{"__name__": "gauge", **labels} for labels in each],
        "b_bucket": [{"__name__": "b_bucket", **labels, "le": le} for labels in each[:500] for le in BOUNDS],
    }


def _values(name: str, rows: int, samples: int, random: np.random.Generator) -> Floats:
    if name == "gauge":
        return random.normal(100, 20, (rows, samples)).round(3)
    rises = random.integers(0, 20, (rows, samples)).astype(np.float64)
    if name == "b_bucket":
        rises = rises.reshape(-1, len(BOUNDS), samples).cumsum(axis=1).reshape(rows, samples)
    return rises.cumsum(axis=1)


def blocks_of(jitter: bool) -> dict[str, SeriesBlock]:
    """The metrics' blocks, from five minutes before the first step on."""
    random = np.random.default_rng(1)
    begin = START_MS - 300_000
    samples = (RANGE_MS + 300_000) // SCRAPE_MS + 1
    blocks = {}
    for name, rows in _labels().items():
        times = np.tile(begin + np.arange(samples, dtype=np.int64) * SCRAPE_MS, (len(rows), 1))
        if jitter:
            times += random.integers(0, SCRAPE_MS, (len(rows), 1)) + random.integers(-20, 20, times.shape)
        offsets = np.arange(len(rows) + 1, dtype=np.int64) * samples
        values = _values(name, len(rows), samples, random)
        blocks[name] = SeriesBlock(LabelTable(rows), offsets, times.ravel(), values.ravel())
    return blocks


def _block(blocks: dict[str, SeriesBlock], selection: Selection) -> SeriesBlock:
    return blocks[next(matcher.value for matcher in selection.matchers if matcher.label == "__name__")]


def _timed(query: str, blocks: dict[str, SeriesBlock], runs: int) -> tuple[float, float]:
    """The first evaluation and the best of those after it, in ms of CPU; one thread does all of it."""
    steps = Steps(START_MS, START_MS + RANGE_MS, STEP_MS)
    taken = []
    for _ in range(runs + 1):
        began = time.process_time()
        expression = parse(query)
        found = evaluate(expression, [_block(blocks, each) for each in selections(expression, steps)], steps, Limits())
        taken.append((time.process_time() - began) * 1000)
        assert found.present.any(), query
    return taken[0], min(taken[1:])


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    table = Table(title=f"PromQL evaluator, CPU ms a query ({hardware()})")
    for column in ("query", "one clock", "first", "scrapes", "first", "Prometheus"):
        table.add_column(column, justify="left" if column == "query" else "right")
    for query in (*PROMETHEUS_MS, *OTHERS):
        row = [query]
        for jitter in (False, True):
            blocks = blocks_of(jitter)
            first, best = _timed(query, blocks, options.runs)
            row += [f"{best:.1f}", f"{first:.1f}"]
        table.add_row(*row, str(PROMETHEUS_MS.get(query, "")))
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
