"""A seed -> the log workload that all our figures, and those of our peers, are measured on.

Messages of 129 to 215 bytes (mean 147), 512 bytes a record as JSON, 20 services of falling weight, about 10 records a trace,
5 % with an e-mail, an address or a card number, one rare word in 25,000 records. The same arguments give the same bytes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import orjson

from topics.timestamps import format_timestamp

SERVICES = (
    "checkout", "payments", "cart", "catalog", "search", "auth", "users", "orders", "shipping", "inventory",
    "gateway", "notify", "billing", "media", "recommend", "reviews", "pricing", "ledger", "scheduler", "webhooks",
)  # fmt: skip
LEVELS = ("debug", "info", "warn", "error")
LEVEL_WEIGHTS = (20, 65, 10, 5)
REGIONS = ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-south-1")
METHODS = ("GET", "GET", "GET", "POST", "PUT", "DELETE")
STATUSES = {
    "debug": (200, 204),
    "info": (200, 200, 201, 204, 304),
    "warn": (400, 404, 409, 429),
    "error": (500, 502, 503, 504),
}
ROUTES = tuple(
    f"/api/v{version}/{noun}/{verb}"
    for version in (1, 2)
    for noun in ("orders", "users", "items", "carts", "payments")
    for verb in ("list", "{id}", "search", "export", "summary")
)
AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_%d like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "okhttp/4.%d.0",
    "python-requests/2.%d.0",
    "Go-http-client/2.0 build/%d",
)
MESSAGES = {
    "debug": (
        "cache lookup for key {key} in region shard {n} finished: hit={hit}, entries scanned={m}, "
        "evictions pending={k}, took {ms:.2f} ms on worker {w}",
        "acquired connection {n} from pool primary-{k} after waiting {ms:.2f} ms; open={m} idle={w}, "
        "statement cache key {key} prepared",
    ),
    "info": (
        "request completed for route {route} with status {status} in {ms:.2f} ms, wrote {m} bytes to the client, "
        "upstream attempts={k}, request id {key}",
        "order {n} moved from state PENDING to state CONFIRMED by worker {w} after {ms:.2f} ms; total amount "
        "{m}.{k:02d} EUR, reference {key}",
        "published event {key} to topic orders.events.v2 partition {k} at offset {n}, batch size {w}, "
        "acknowledged by the broker in {ms:.2f} ms",
    ),
    "warn": (
        "retrying call to upstream {route} after attempt {k} failed with status {status}; backing off for "
        "{ms:.2f} ms, circuit breaker half-open, budget left {w}, request {key}",
        "slow query detected on table events_{k}: {ms:.2f} ms for {m} rows, plan hash {key}, consider an "
        "index covering the filter used by {route}",
    ),
    "error": (
        "unhandled exception while serving {route}: TimeoutError: upstream did not answer within {m} ms "
        "(attempt {k} of 3), request {key}, returning {status} to the caller",
        "failed to commit transaction {n}: deadlock detected while updating row {m} of ledger_entries, "
        "rolled back after {ms:.2f} ms, key {key}, status {status}",
    ),
}
RARE_WORD = "zyzzyva"
RECORDS_OF_TRACE = 10


def log_records(count: int, *, seed: int = 42, start_ns: int, span_ns: int) -> Iterator[dict[str, Any]]:
    """`count` records spread over `span_ns` from `start_ns` on."""
    pick = random.Random(seed)
    chance = pick.random
    services = pick.choices(SERVICES, [20 - i * 0.8 for i in range(20)], k=count)
    levels = pick.choices(LEVELS, LEVEL_WEIGHTS, k=count)
    traces = [[f"{pick.getrandbits(128):032x}", RECORDS_OF_TRACE] for _ in range(64)]
    step_ns = span_ns // count
    for i in range(count):
        service, level = services[i], levels[i]
        slot = int(chance() * 64)
        if traces[slot][1] == 0:
            traces[slot] = [f"{pick.getrandbits(128):032x}", RECORDS_OF_TRACE]
        traces[slot][1] = int(traces[slot][1]) - 1
        route = ROUTES[int(chance() * len(ROUTES))]
        status = STATUSES[level][int(chance() * len(STATUSES[level]))]
        ms = round(pick.expovariate(1 / 40.0), 2)
        form = MESSAGES[level][int(chance() * len(MESSAGES[level]))]
        message = form.format(
            key=f"{pick.getrandbits(48):012x}",
            n=int(chance() * 10**7),
            m=int(chance() * 20_000),
            k=int(chance() * 16),
            w=int(chance() * 64),
            ms=ms,
            hit=chance() < 0.8,
            route=route,
            status=status,
        )
        if chance() < 0.05:
            message += _personal_data(pick)
        if i % 25_000 == 12_345:
            message += f" {RARE_WORD}"
        ts_ns = start_ns + i * step_ns + int(chance() * step_ns)
        agent = AGENTS[int(chance() * 5)] % int(chance() * 30 + 90)
        yield {
            "timestamp": format_timestamp(ts_ns // 1000 * 1000),
            "service": service,
            "level": level,
            "message": message[:250],
            "trace_id": traces[slot][0],
            "attributes": {
                "host": f"{service}-{int(chance() * 10):02d}",
                "region": REGIONS[int(chance() * 5)],
                "version": f"2.{int(chance() * 4)}.{int(chance() * 3)}",
                "method": METHODS[int(chance() * 6)],
                "route": route,
                "status": status,
                "duration_ms": ms,
                "client_ip": ".".join(
                    str(part)
                    for part in (
                        int(chance() * 222) + 1,
                        int(chance() * 256),
                        int(chance() * 256),
                        int(chance() * 254) + 1,
                    )
                ),
                "user_agent": agent,
            },
        }


def log_bodies(
    count: int, *, batch: int, seed: int = 42, start_ns: int, span_ns: int = 3600 * 10**9
) -> list[tuple[bytes, int]]:
    """The workload as request bodies of `batch` records each: (body, records)."""
    bodies: list[tuple[bytes, int]] = []
    waiting: list[dict[str, Any]] = []
    for record in log_records(count, seed=seed, start_ns=start_ns, span_ns=span_ns):
        waiting.append(record)
        if len(waiting) == batch:
            bodies.append((orjson.dumps({"logs": waiting}), len(waiting)))
            waiting = []
    if waiting:
        bodies.append((orjson.dumps({"logs": waiting}), len(waiting)))
    return bodies


def _personal_data(pick: random.Random) -> str:
    kind = pick.random()
    if kind < 0.4:
        return f" contact user{pick.randrange(10**5)}.{pick.randrange(100)}@example-mail.com"
    if kind < 0.8:
        parts = (pick.randrange(1, 223), pick.randrange(256), pick.randrange(256), pick.randrange(1, 255))
        return " remote " + ".".join(map(str, parts))
    digits = tuple(pick.randrange(limit) for limit in (1000, 10_000, 10_000, 10_000))
    return " card 4{:03d} {:04d} {:04d} {:04d}".format(*digits)
