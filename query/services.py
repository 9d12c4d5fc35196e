"""GET /query/services: a time range -> rate, errors and durations (RED) of every service, from the hourly statistics of spans."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Response

from query.answers import answers, json_answer
from query.authorization import permitted
from query.red import Red, ServiceRed, red_by_service
from query.time_ranges import END, START, read_range
from query.tokens import Principal, Tokens
from storage.hourly import HourlyStore
from topics.errors import TooExpensive
from topics.timestamps import format_timestamp

HOURS_MAX: Final = 31 * 24
_SECOND_NS: Final = 10**9
_HOUR_NS: Final = 3600 * _SECOND_NS
_INT64_MAX: Final = (1 << 63) - 1

_RED_EXAMPLE: Final = {
    "count": 7200,
    "errors": 36,
    "rate_per_s": 2.0,
    "error_share": 0.005,
    "mean_ms": 18.3,
    "p50_ms": 11.8,
    "p95_ms": 64.2,
    "p99_ms": 141.0,
}
_EXAMPLE: Final[dict[str, Any]] = {
    "start": "2025-10-31T10:00:00.000Z",
    "end": "2025-10-31T11:00:00.000Z",
    "services": [
        {
            "service": "api",
            "kinds": ["server"],
            **_RED_EXAMPLE,
            "hours": [{"start": "2025-10-31T10:00:00.000Z", **_RED_EXAMPLE}],
        }
    ],
}


def services_router(hourly: HourlyStore, tokens: Tokens, *, now: Callable[[], float] = time.time) -> APIRouter:
    """The question how services do; `now` is unix seconds."""
    router = APIRouter(prefix="/query/services", tags=["traces"])

    may_read = Depends(permitted(tokens, "traces:read"))

    @router.get(
        "",
        summary="Services with rate, errors and durations",
        description="Whole hours, each that the range touches; `start` and `end` of the answer say which, and the rate of an hour"
        " under way is of what has passed of it. Counted are server and consumer spans, and all spans of a service without"
        " any. Quantiles are within 2.2 %.",
        response_description="`{start, end, services}`",
        responses=answers(_EXAMPLE),
    )
    async def get_services(
        start: Annotated[str, Query(max_length=64, description=START)],
        end: Annotated[str, Query(max_length=64, description=END)],
        service: Annotated[str | None, Query(min_length=1, max_length=200, description="this one alone")] = None,
        hours: Annotated[bool, Query(description="by the hour, too")] = False,
        principal: Principal = may_read,
    ) -> Response:
        first_ns, behind_ns = _hours_asked(start, end)
        rows = await hourly.spans(
            principal.scope, principal.limits, start_ns=first_ns, end_ns=behind_ns, service=service
        )
        now_ns = int(now() * _SECOND_NS)
        # In a thread, because a week of 200 operations takes 0.2 s, and a gateway that serves queries has senders who wait.
        services = await asyncio.to_thread(red_by_service, rows)
        answer = {
            "start": format_timestamp(first_ns),
            "end": format_timestamp(behind_ns),
            "services": [_shown(each, first_ns, behind_ns, now_ns=now_ns, with_hours=hours) for each in services],
        }
        return json_answer(answer)

    return router


def _hours_asked(start: str, end: str) -> tuple[int, int]:
    """Every hour that the range touches: begin of the first, end of the last."""
    start_ns, end_ns = read_range(start, end)
    first, behind = start_ns // _HOUR_NS, -(-end_ns // _HOUR_NS)
    if behind - first > HOURS_MAX:
        raise TooExpensive(f"{HOURS_MAX} hours", f"a range of {behind - first} hours")
    return first * _HOUR_NS, min(behind * _HOUR_NS, _INT64_MAX)


def _shown(each: ServiceRed, start_ns: int, end_ns: int, *, now_ns: int, with_hours: bool) -> dict[str, Any]:
    shown = {"service": each.service, "kinds": each.kinds, **_shown_red(each.total, start_ns, end_ns, now_ns)}
    if with_hours:
        shown["hours"] = [
            {
                "start": format_timestamp(hour_s * _SECOND_NS),
                **_shown_red(red, hour_s * _SECOND_NS, hour_s * _SECOND_NS + _HOUR_NS, now_ns),
            }
            for hour_s, red in each.hours.items()
        ]
    return shown


def _shown_red(red: Red, start_ns: int, end_ns: int, now_ns: int) -> dict[str, Any]:
    # What is dated after now counts as spread over the whole range, as there is no better time for it.
    passed_ns = min(end_ns, now_ns) - start_ns if now_ns > start_ns else end_ns - start_ns
    return {
        "count": red.count,
        "errors": red.errors,
        "rate_per_s": red.count * _SECOND_NS / passed_ns,
        "error_share": red.errors / red.count,
        "mean_ms": red.mean_ms,
        "p50_ms": red.quantile_ms(0.5),
        "p95_ms": red.quantile_ms(0.95),
        "p99_ms": red.quantile_ms(0.99),
    }
