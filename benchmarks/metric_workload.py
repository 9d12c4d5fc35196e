"""A seed -> the metric workload: what 20 services on 10 hosts each report every 15 seconds, 10,000 series in all.

Of one host: 19 gauges that wander, of three decimals; 19 counters; and a histogram of 10 buckets with its sum and count. The same
arguments give the same samples.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from benchmarks.log_workload import REGIONS, SERVICES
from topics.metric_columns import Series, encode_series

STEP_S = 15
HOSTS = 10
SERIES_A_HOST = 50
GAUGES = (
    "memory_used_bytes", "queue_depth", "open_connections", "cpu_utilization_ratio", "heap_used_bytes", "threads",
    "load1", "load5", "disk_used_bytes", "disk_free_bytes", "cache_entries", "cache_hit_ratio", "pool_idle", "pool_busy",
    "lag_seconds", "inflight_requests", "temperature_celsius", "coroutines", "open_files",
)  # fmt: skip
COUNTERS = (
    "http_requests_total", "http_errors_total", "bytes_in_total", "bytes_out_total", "db_queries_total",
    "db_errors_total", "logins_total", "cache_hits_total", "cache_misses_total", "gc_runs_total", "messages_in_total",
    "messages_out_total", "retries_total", "timeouts_total", "packets_in_total", "packets_out_total",
    "disk_reads_total", "disk_writes_total", "context_switches_total",
)  # fmt: skip
BUCKETS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "5", "+Inf")
HISTOGRAM = "http_request_duration_seconds"


def metric_series(hosts: int = len(SERVICES) * HOSTS) -> list[bytes]:
    """The series of the first so many hosts, those of a host together."""
    found: list[Series] = []
    for n in range(hosts):
        service, host = SERVICES[n // HOSTS % len(SERVICES)], n % HOSTS
        labels = {
            "env": "prod",
            "host": f"{service}-{host:02d}",
            "job": "app",
            "region": REGIONS[host % 5],
            "service": service,
        }
        found += [Series(name, labels, "gauge", "") for name in GAUGES]
        found += [Series(name, labels, "counter", "") for name in COUNTERS]
        found += [Series(f"{HISTOGRAM}_bucket", {**labels, "le": bound}, "counter", "") for bound in BUCKETS]
        found += [Series(f"{HISTOGRAM}_{part}", labels, "counter", "") for part in ("sum", "count")]
    return [encode_series(series) for series in found]


def metric_steps(
    steps: int, hosts: int = len(SERVICES) * HOSTS, *, seed: int = 42
) -> Iterator[npt.NDArray[np.float64]]:
    """The values of `metric_series(hosts)`, step by step."""
    random = np.random.default_rng(seed)
    scale = 10.0 ** random.integers(0, 5, (hosts, len(GAUGES)))
    level = random.random((hosts, len(GAUGES))) * scale
    counters = np.zeros((hosts, len(COUNTERS)))
    a_step = random.integers(1, 200, counters.shape)
    buckets = np.zeros((hosts, len(BUCKETS)))
    bucket_rate = random.dirichlet(np.ones(len(BUCKETS)), hosts) * 100
    total = np.zeros((hosts, 1))
    for _ in range(steps):
        level = np.maximum(level + random.normal(0, 0.02, level.shape) * scale, 0)
        counters += random.poisson(a_step)
        hits = random.poisson(bucket_rate)
        buckets += hits.cumsum(axis=1)
        total = np.round(total + hits.sum(axis=1, keepdims=True) * 0.087, 6)
        yield np.hstack([np.round(level, 3), counters, buckets, total, buckets[:, -1:]]).ravel()
