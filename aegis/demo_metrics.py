"""Requests of the demo shop -> the metrics that its services would show: counters, a histogram and gauges."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class ShopMetrics:
    """What has been counted since the demo began."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, str]] = Counter()
        self._buckets: Counter[tuple[str, float]] = Counter()
        self._count: Counter[str] = Counter()
        self._sum_s: defaultdict[str, float] = defaultdict(float)

    def count(self, service: str, route: str, *, error: bool, duration_s: float) -> None:
        """One request that a service has answered."""
        self._requests[service, route, "503" if error else "200"] += 1
        self._count[service] += 1
        self._sum_s[service] += duration_s
        for bound in BUCKETS_S:
            if duration_s <= bound:
                self._buckets[service, bound] += 1

    def points(self, now_ms: int, pick: random.Random) -> Iterator[dict[str, Any]]:
        """Every series as it stands at a time (unix milliseconds)."""
        for (service, route, status), value in self._requests.items():
            labels = {"service": service, "route": route, "status": status}
            yield _point("http_requests_total", "counter", value, now_ms, labels)
        name = "http_request_duration_seconds"
        for service, count in self._count.items():
            for bound in BUCKETS_S:
                labels = {"service": service, "le": f"{bound:g}"}
                yield _point(f"{name}_bucket", "histogram", self._buckets[service, bound], now_ms, labels)
            whole = {"service": service}
            yield _point(f"{name}_bucket", "histogram", count, now_ms, whole | {"le": "+Inf"})
            yield _point(f"{name}_count", "histogram", count, now_ms, whole)
            yield _point(f"{name}_sum", "histogram", round(self._sum_s[service], 6), now_ms, whole) | {
                "unit": "seconds"
            }
            memory = 180e6 + 40e6 * pick.random() + len(service) * 5e6
            yield _point("process_resident_memory_bytes", "gauge", round(memory), now_ms, whole) | {"unit": "bytes"}
            yield _point("queue_depth", "gauge", pick.randrange(40), now_ms, whole)


def _point(name: str, kind: str, value: float, now_ms: int, labels: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "type": kind, "value": value, "timestamp": now_ms, "labels": labels}
