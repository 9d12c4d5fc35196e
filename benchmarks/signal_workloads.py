"""A seed -> metric points, spans and RUM events as request bodies of the largest size: what the figures of these signals are of.

Points: 1000 series of a counter with five labels (204 bytes a point as JSON), each every 15 s. Spans: traces of eight in
five services, every tenth span with an event (376 bytes). RUM events: five types in turn (352 bytes).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import orjson

from topics.metric_records import POINTS_MAX
from topics.rum_records import EVENTS_MAX
from topics.span_records import SPANS_MAX
from topics.timestamps import format_timestamp

Bodies = list[tuple[bytes, int]]
SERIES = 1000
_STATUSES = (200, 201, 404, 500)
_SERVICES = ("gateway", "checkout", "cart", "payments", "orders")
_VITALS = ("LCP", "INP", "CLS", "FCP", "TTFB")


def metric_bodies(points: int, *, seed: int, start_ns: int) -> Bodies:
    """Scrapes of all series one after the other."""
    pick = random.Random(seed)
    values = [0.0] * SERIES
    labels = [
        {"service": _SERVICES[n % 5], "route": f"/api/v1/orders/{n % 20}", "method": "GET",
         "status": str(_STATUSES[n % 4]), "instance": f"10.0.{n // 250}.{n % 250}:9090"}
        for n in range(SERIES)
    ]  # fmt: skip

    def point(n: int) -> dict[str, Any]:
        series = n % SERIES
        values[series] += pick.randrange(100)
        ts_ms = start_ns // 1_000_000 + n // SERIES * 15_000
        return {"name": "http_requests_total", "type": "counter", "value": values[series], "timestamp": ts_ms,
                "labels": labels[series]}  # fmt: skip

    return _bodies("metrics", (point(n) for n in range(points)), POINTS_MAX)


def span_bodies(spans: int, *, seed: int, start_ns: int) -> Bodies:
    """Whole traces of eight spans."""
    pick = random.Random(seed)

    trace = root = ""

    def span(n: int) -> dict[str, Any]:
        nonlocal trace, root
        span_id = f"{pick.getrandbits(64):016x}"
        if n % 8 == 0:
            trace, root = f"{pick.getrandbits(128):032x}", span_id
        at_ns = start_ns + n * 40_000
        made: dict[str, Any] = {
            "trace_id": trace,
            "span_id": span_id,
            "parent_span_id": "" if n % 8 == 0 else root,
            "service": _SERVICES[n % 5],
            "operation": f"GET /api/v1/orders/{n % 20}",
            "kind": "server",
            "start_time": format_timestamp(at_ns),
            "end_time": format_timestamp(at_ns + pick.randrange(1_000_000, 90_000_000)),
            "status": "error" if n % 50 == 0 else "ok",
            "attributes": {"http.route": "/api/v1/orders/{id}", "http.status_code": 200, "host": f"h-{n % 10}"},
        }
        if n % 10 == 0:
            made["events"] = [{"name": "retry", "timestamp": format_timestamp(at_ns + 500_000)}]
        return made

    return _bodies("spans", (span(n) for n in range(spans)), SPANS_MAX)


def rum_bodies(events: int, *, seed: int, start_ns: int) -> Bodies:
    """Sessions of fifty events."""
    pick = random.Random(seed)

    def event(n: int) -> dict[str, Any]:
        made: dict[str, Any] = {
            "timestamp": format_timestamp(start_ns + n * 1_000_000),
            "type": ("page_view", "web_vital", "web_vital", "resource", "action", "error")[n % 6],
            "session_id": f"{n // 50 * 7919:016x}",
            "view_id": f"{n // 10:012x}",
            "page_url": f"https://shop.example.com/orders/{pick.randrange(10_000)}",
            "page_path": "/orders/{id}",
            "user_id": f"user-{n // 50}",
            "name": _VITALS[n % 5],
            "value": round(pick.lognormvariate(6, 1), 1),
            "client": {"user_agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", "screen": "1920x1080"},
        }
        if n % 6 == 5:
            made["error"] = {"type": "TypeError", "message": "x is undefined", "stack": "at load (shop.js:81:12)"}
        return made

    return _bodies("events", (event(n) for n in range(events)), EVENTS_MAX)


def _bodies(field: str, records: Iterator[dict[str, Any]], most: int) -> Bodies:
    bodies: Bodies = []
    waiting: list[dict[str, Any]] = []
    for record in records:
        waiting.append(record)
        if len(waiting) == most:
            bodies.append((orjson.dumps({field: waiting}), most))
            waiting = []
    if waiting:
        bodies.append((orjson.dumps({field: waiting}), len(waiting)))
    return bodies
