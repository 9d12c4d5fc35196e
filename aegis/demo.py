"""Nothing -> realistic traffic of a small web shop in all four signals, as JSON-ready records.

Visitors look at pages and press buttons; each press is a request that passes through several of twelve services. A request leaves
spans that hang together, a few log lines in the services that it passed, and counts in their metrics; the browser reports
page views, web vitals, resources and errors, and names the trace it caused. One service has an error burst every few minutes.
User agents, client addresses and a little personal data are as in real traffic.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aegis.demo_metrics import ShopMetrics
from aegis.demo_rum import Visitors
from topics.timestamps import format_timestamp

SERVICES = {
    "gateway": 20, "checkout": 14, "catalog": 14, "search": 12, "cart": 10, "auth": 9,
    "payments": 7, "users": 6, "orders": 6, "shipping": 4, "notify": 3, "billing": 2,
}  # fmt: skip
REGIONS = ("eu-west-1", "eu-central-1", "us-east-1")
_LEVELS = ("debug", "info", "warn", "error")
_CALM, _BURST = (15, 77, 7, 1), (5, 45, 20, 30)
_BURST_EVERY_S, _BURST_FOR_S = 180, 20
_SCRAPE_NS = 5 * 10**9

ROUTES = {
    "/api/products": ("catalog", "search"),
    "/api/products/{id}": ("catalog",),
    "/api/search": ("search", "catalog"),
    "/api/cart": ("cart", "catalog"),
    "/api/orders": ("checkout", "cart", "payments", "orders", "shipping", "notify"),
    "/api/orders/{id}": ("orders", "shipping"),
    "/api/users/{id}": ("users", "auth"),
    "/api/login": ("auth", "users"),
    "/api/payments": ("payments", "billing"),
}
"""Route -> the services behind the gateway that a request passes, in order."""


@dataclass(slots=True)
class Traffic:
    """What a stretch of time brought, a list of records each signal."""

    logs: list[dict[str, Any]] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    spans: list[dict[str, Any]] = field(default_factory=list)
    rum: list[dict[str, Any]] = field(default_factory=list)


class ShopTraffic:
    """An endless stream of requests; the same seed gives the same traffic for the same times."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)
        self._visitors = Visitors(self._random)
        self._metrics = ShopMetrics()
        self._scraped_ns = 0

    def batch(self, logs: int, *, now_ns: int) -> Traffic:
        """As many requests as bring `logs` logs, until `now_ns` (unix nanoseconds); metrics as they stand, every 5 s."""
        traffic = Traffic()
        while len(traffic.logs) < logs:
            ago = (logs - len(traffic.logs)) * 300_000
            self._request(traffic, now_ns - ago - self._random.randrange(250_000))
        del traffic.logs[logs:]
        if now_ns - self._scraped_ns >= _SCRAPE_NS:
            self._scraped_ns = now_ns
            traffic.metrics = list(self._metrics.points(now_ns // 1_000_000, self._random))
        return traffic

    def _request(self, traffic: Traffic, ts_ns: int) -> None:
        """One press of a button: what the browser saw, what the services did, and what they wrote."""
        pick = self._random
        route = pick.choice(tuple(ROUTES))
        trace_id = f"{pick.getrandbits(128):032x}"
        visitor = self._visitors.next()
        failing = self._failing(ts_ns)
        duration_ns = 0
        worst = "info"
        for span, level in self._spans(trace_id, route, ts_ns, failing):
            traffic.spans.append(span)
            took_ms = span["duration_ms"]
            duration_ns = max(duration_ns, int(took_ms * 1e6))
            worst = max(worst, level, key=_LEVELS.index)
            self._metrics.count(span["service"], route, error=level == "error", duration_s=took_ms / 1000)
            if pick.random() < 0.7:
                traffic.logs.append(self._log(span, route, level, visitor.address, visitor.agent))
        traffic.rum += self._visitors.events(
            visitor, route, trace_id, ts_ns, duration_ns / 1e6, failed=worst == "error"
        )

    def _failing(self, ts_ns: int) -> str:
        """The service that has its burst of errors at that time, "" for none."""
        second = ts_ns // 1_000_000_000
        if second % _BURST_EVERY_S >= _BURST_FOR_S:
            return ""
        return tuple(SERVICES)[second // _BURST_EVERY_S % len(SERVICES)]

    def _spans(self, trace_id: str, route: str, ts_ns: int, failing: str) -> Iterator[tuple[dict[str, Any], str]]:
        """The gateway's span, and below it one of each service, the next beginning when the one before has ended."""
        pick = self._random
        root_id, at_ns = f"{pick.getrandbits(64):016x}", ts_ns + pick.randrange(200_000, 900_000)
        below: list[tuple[dict[str, Any], str]] = []
        for service in ROUTES[route]:
            level = pick.choices(_LEVELS, _BURST if service == failing else _CALM)[0]
            took_ns = int(pick.lognormvariate(1.8, 0.8) * 1e6 * (4 if service == failing else 1)) + 50_000
            span = self._span(trace_id, root_id, service, f"{service}.handle", "server", at_ns, took_ns, level)
            span["attributes"] |= {"http.route": route, "region": pick.choice(REGIONS)}
            below.append((span, level))
            at_ns += took_ns + pick.randrange(50_000, 400_000)
        worst = max((level for _, level in below), key=_LEVELS.index)
        root = self._span(
            trace_id, "", "gateway", f"{self._method(route)} {route}", "server", ts_ns, at_ns - ts_ns + 300_000, worst
        )
        root["span_id"] = root_id
        root["attributes"] |= {"http.route": route, "http.status_code": 503 if worst == "error" else 200}
        yield root, worst
        yield from below

    def _span(
        self, trace_id: str, parent: str, service: str, operation: str, kind: str, ts_ns: int, took_ns: int, level: str
    ) -> dict[str, Any]:
        pick = self._random
        span: dict[str, Any] = {
            "trace_id": trace_id,
            "span_id": f"{pick.getrandbits(64):016x}",
            "parent_span_id": parent,
            "service": service,
            "operation": operation,
            "kind": kind,
            "start_time": format_timestamp(ts_ns),
            "duration_ms": took_ns / 1e6,
            "status": "error" if level == "error" else "ok",
            "attributes": {"host": f"{service}-{pick.randrange(4):02d}"},
        }
        if level in ("warn", "error"):
            event = {"name": "retry", "timestamp": format_timestamp(ts_ns + took_ns // 2), "attributes": {"attempt": 2}}
            span["events"] = [event]
        if level == "error":
            span["status_message"] = "upstream did not answer"
        return span

    def _log(self, span: dict[str, Any], route: str, level: str, address: str, agent: str) -> dict[str, Any]:
        pick = self._random
        status = {"debug": 200, "info": pick.choice((200, 200, 201, 204)), "warn": 429}.get(level, 503)
        service = span["service"]
        return {
            "timestamp": span["start_time"],
            "service": service,
            "level": level,
            "message": self._message(level, route, status, round(span["duration_ms"], 2)),
            "trace_id": span["trace_id"],
            "span_id": span["span_id"],
            "host": span["attributes"]["host"],
            "environment": "demo",
            "version": f"3.{len(service)}.{pick.randrange(3)}",
            "attributes": {
                "region": pick.choice(REGIONS),
                "http": {"method": self._method(route), "route": route, "status": status},
                "duration_ms": round(span["duration_ms"], 2),
                "client_ip": address,
                "user_agent": agent,
            },
        }

    def _method(self, route: str) -> str:
        return "POST" if route in ("/api/orders", "/api/login", "/api/payments") else "GET"

    def _message(self, level: str, route: str, status: int, duration_ms: float) -> str:
        pick = self._random
        request = f"{pick.getrandbits(48):012x}"
        if level == "debug":
            return f"cache lookup for {route} took {duration_ms} ms, hit={pick.random() < 0.8}, request {request}"
        if level == "info":
            if pick.random() < 0.03:
                return f"sent order confirmation to user{pick.randrange(10_000)}@example.com, request {request}"
            return f"{route} answered {status} in {duration_ms} ms, request {request}"
        if level == "warn":
            return f"slow upstream for {route}: {duration_ms} ms, attempt {pick.randint(1, 3)} of 3, request {request}"
        return f"cannot serve {route}: upstream did not answer within {pick.choice((500, 1000, 3000))} ms, request {request}"
