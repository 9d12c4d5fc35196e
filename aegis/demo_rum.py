"""Requests of the demo shop -> what the visitors' browsers would report of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from topics.timestamps import format_timestamp

AGENTS = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Mobile Safari/537.36",
)
PAGES = {
    "/api/products": "/", "/api/products/{id}": "/products/{id}", "/api/search": "/search", "/api/cart": "/cart",
    "/api/orders": "/checkout", "/api/orders/{id}": "/orders/{id}", "/api/users/{id}": "/account",
    "/api/login": "/login", "/api/payments": "/checkout",
}  # fmt: skip
_AT_ONCE, _VIEWS_OF_VISIT = 20, 12


@dataclass(slots=True)
class Visitor:
    """One visit: who, with what, and how many pages are still to come."""

    session: str
    user: str
    agent: str
    address: str
    views_left: int


class Visitors:
    """Some twenty visits at a time; when one ends, another begins."""

    def __init__(self, pick: random.Random) -> None:
        self._random = pick
        self._visits = [self._begin() for _ in range(_AT_ONCE)]

    def next(self) -> Visitor:
        """The visitor of the next request."""
        place = self._random.randrange(_AT_ONCE)
        if self._visits[place].views_left == 0:
            self._visits[place] = self._begin()
        visitor = self._visits[place]
        visitor.views_left -= 1
        return visitor

    def _begin(self) -> Visitor:
        pick = self._random
        address = f"{pick.randint(1, 223)}.{pick.randrange(256)}.{pick.randrange(256)}.{pick.randint(1, 254)}"
        user = f"user-{pick.randrange(10_000)}" if pick.random() < 0.6 else ""
        views = pick.randint(1, _VIEWS_OF_VISIT)
        return Visitor(f"{pick.getrandbits(64):016x}", user, pick.choice(AGENTS), address, views)

    def events(
        self, visitor: Visitor, route: str, trace_id: str, ts_ns: int, waited_ms: float, *, failed: bool
    ) -> Iterator[dict[str, Any]]:
        """What the browser reports of one request: the page, its vitals, the call that it made, and an error if it failed."""
        pick = self._random
        path = PAGES[route]
        seen = {
            "timestamp": format_timestamp(ts_ns),
            "session_id": visitor.session,
            "view_id": f"{pick.getrandbits(48):012x}",
            "page_url": f"https://shop.example.com{path.replace('{id}', str(pick.randrange(1000)))}",
            "page_path": path,
            "user_id": visitor.user,
            "client": {"user_agent": visitor.agent, "ip": visitor.address},
        }
        yield seen | {"type": "page_view", "name": path}
        yield seen | {"type": "action", "name": "click"}
        yield seen | {"type": "web_vital", "name": "LCP", "value": round(waited_ms + pick.lognormvariate(7, 0.4), 1)}
        yield seen | {"type": "web_vital", "name": "INP", "value": round(pick.lognormvariate(4.5, 0.6), 1)}
        yield seen | {"type": "web_vital", "name": "CLS", "value": round(pick.expovariate(18), 4)}
        call = {"type": "resource", "name": route, "value": round(waited_ms + pick.expovariate(0.05), 1)}
        yield seen | call | {"attributes": {"trace_id": trace_id, "status": 503 if failed else 200}}
        if failed:
            error = {"type": "Error", "message": f"{route} answered 503", "stack": "at load (shop.js:81:12)"}
            yield seen | {"type": "error", "error": error, "attributes": {"trace_id": trace_id}}
        if pick.random() < 0.05:
            yield seen | {"type": "long_task", "value": round(50 + pick.expovariate(0.01), 1)}
