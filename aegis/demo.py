"""Nothing -> realistic log traffic of a small web shop, as JSON-ready records.

Twelve services of different weight, levels that go with what happened, requests that share a trace, an error burst in one
service every few minutes, user agents, client addresses and a little personal data, as real logs have.
"""

from __future__ import annotations

import random
from typing import Any

from topics.timestamps import format_timestamp

SERVICES = {
    "gateway": 20, "checkout": 14, "catalog": 14, "search": 12, "cart": 10, "auth": 9,
    "payments": 7, "users": 6, "orders": 6, "shipping": 4, "notify": 3, "billing": 2,
}  # fmt: skip
REGIONS = ("eu-west-1", "eu-central-1", "us-east-1")
AGENTS = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36",
    "okhttp/4.12.0",
    "python-requests/2.32.3",
)
ROUTES = ("/api/orders", "/api/orders/{id}", "/api/cart", "/api/search", "/api/users/{id}", "/api/payments", "/health")
_LEVELS = ("debug", "info", "warn", "error")
_CALM, _BURST = (15, 75, 8, 2), (5, 45, 20, 30)
_BURST_EVERY_S, _BURST_FOR_S = 180, 20
_LINES_OF_TRACE = 8


class LogTraffic:
    """An endless stream of logs; the same seed gives the same logs for the same times."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)
        self._names = list(SERVICES)
        self._weights = list(SERVICES.values())
        self._trace = ""
        self._trace_left = 0

    def batch(self, size: int, *, now_ns: int) -> list[dict[str, Any]]:
        """`size` logs that end at `now_ns` (unix nanoseconds), a few hundred microseconds apart."""
        pick = self._random
        start = now_ns - size * 300_000
        return [self._log(start + i * 300_000 + pick.randrange(250_000)) for i in range(size)]

    def _log(self, ts_ns: int) -> dict[str, Any]:
        pick = self._random
        second = ts_ns // 1_000_000_000
        service = pick.choices(self._names, self._weights)[0]
        burst = (
            second % _BURST_EVERY_S < _BURST_FOR_S
            and service == self._names[second // _BURST_EVERY_S % len(self._names)]
        )
        level = pick.choices(_LEVELS, _BURST if burst else _CALM)[0]
        if self._trace_left == 0:
            self._trace, self._trace_left = f"{pick.getrandbits(128):032x}", pick.randint(2, _LINES_OF_TRACE)
        self._trace_left -= 1
        status = {"debug": 200, "info": pick.choice((200, 200, 201, 204)), "warn": pick.choice((404, 409, 429))}.get(
            level, 503
        )
        duration_ms = round(pick.lognormvariate(3.2, 0.9) * (4 if burst else 1), 2)
        route = pick.choice(ROUTES)
        return {
            "timestamp": format_timestamp(ts_ns),
            "service": service,
            "level": level,
            "message": self._message(level, route, status, duration_ms),
            "trace_id": self._trace,
            "span_id": f"{pick.getrandbits(64):016x}",
            "host": f"{service}-{pick.randrange(4):02d}",
            "environment": "demo",
            "version": f"3.{len(service)}.{pick.randrange(3)}",
            "attributes": {
                "region": pick.choice(REGIONS),
                "http": {"method": pick.choice(("GET", "GET", "GET", "POST", "PUT")), "route": route, "status": status},
                "duration_ms": duration_ms,
                "client_ip": f"{pick.randint(1, 223)}.{pick.randrange(256)}.{pick.randrange(256)}.{pick.randint(1, 254)}",
                "user_agent": pick.choice(AGENTS),
            },
        }

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
