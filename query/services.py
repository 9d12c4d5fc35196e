"""GET /query/services, and /operations of one: a time range -> rate, errors and durations (RED), in all and over time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Response

from query.answers import answers, json_answer
from query.authorization import permitted
from query.red import RED_EXAMPLE, CountedStep, Red, red_by_operation, red_by_service, shown_red
from query.steps import STEP, Step, Steps, read_steps
from query.time_ranges import END, START
from query.tokens import Principal, Tokens
from storage.hourly import HourlyStore
from storage.span_statistics import SpanStatistics
from topics.timestamps import format_timestamp

OPERATIONS_DEFAULT: Final = 100
OPERATIONS_MAX: Final = 1000
_SECOND_NS: Final = 10**9

_RANGE_EXAMPLE: Final = {
    "start": "2025-10-31T10:00:00.000Z",
    "end": "2025-10-31T11:00:00.000Z",
    "source": "hourly",
    "step_s": 3600,
}
_STEPS_EXAMPLE: Final = [{"start": "2025-10-31T10:00:00.000Z", **RED_EXAMPLE}]
_SERVICES_EXAMPLE: Final[dict[str, Any]] = {
    **_RANGE_EXAMPLE,
    "services": [{"service": "api", "kinds": ["server"], **RED_EXAMPLE, "steps": _STEPS_EXAMPLE}],
}
_OPERATIONS_EXAMPLE: Final[dict[str, Any]] = {
    **_RANGE_EXAMPLE,
    "service": "api",
    "operations": [{"operation": "GET /orders/{id}", "kind": "server", **RED_EXAMPLE, "steps": _STEPS_EXAMPLE}],
    "truncated": False,
}
_WHOLE_STEPS: Final = (
    "Whole steps, each that the range touches, hours when no `step` is given; `start` and `end` of the answer say which, and"
    " `source` whether they are from spans or hourly statistics. The rate of a step under way is of what has passed of it."
    " Quantiles are within 2.2 %."
)


def services_router(
    hourly: HourlyStore, statistics: SpanStatistics, tokens: Tokens, *, now: Callable[[], float] = time.time
) -> APIRouter:
    """The questions how services do; `now` is unix seconds."""
    router = APIRouter(prefix="/query/services", tags=["traces"])

    may_read = Depends(permitted(tokens, "traces:read"))

    async def counted(
        principal: Principal, asked: Steps, *, service: str | None, by_operation: bool
    ) -> Sequence[CountedStep]:
        if asked.source == "hourly":
            return await hourly.spans(
                principal.scope,
                principal.limits,
                start_ns=asked.start_ns,
                end_ns=asked.end_ns,
                service=service,
                by_hour=not asked.in_all,
            )
        read = await statistics.steps(
            principal.scope,
            principal.limits,
            start_ns=asked.start_ns,
            end_ns=asked.end_ns,
            step_ns=asked.step_ns,
            service=service,
            by_operation=by_operation,
        )
        return read.rows

    @router.get(
        "",
        summary="Services with rate, errors and durations",
        description=f"{_WHOLE_STEPS} Counted are server and consumer spans, and all spans of a service without any.",
        response_description="`{start, end, source, step_s, services}`",
        responses=answers(_SERVICES_EXAMPLE),
    )
    async def get_services(
        start: Annotated[str, Query(max_length=64, description=START)],
        end: Annotated[str, Query(max_length=64, description=END)],
        service: Annotated[str | None, Query(min_length=1, max_length=200, description="this one alone")] = None,
        step: Annotated[Step | None, Query(description=f"over time, too: {STEP}")] = None,
        principal: Principal = may_read,
    ) -> Response:
        asked = read_steps(start, end, step)
        rows = await counted(principal, asked, service=service, by_operation=False)
        now_ns = int(now() * _SECOND_NS)
        # In a thread, because a week of 200 operations takes 0.2 s, and a gateway that serves queries has senders who wait.
        services = await asyncio.to_thread(red_by_service, rows)
        shown = [
            {"service": each.service, "kinds": each.kinds, **_shown(each.total, each.steps, asked, step, now_ns)}
            for each in services
        ]
        return json_answer(_shown_range(asked) | {"services": shown})

    @router.get(
        "/{service:path}/operations",
        summary="Operations of a service with rate, errors and durations",
        description=f"{_WHOLE_STEPS} Those first on which most time was spent. A service without a span has no operations.",
        response_description="`{service, start, end, source, step_s, operations, truncated}`",
        responses=answers(_OPERATIONS_EXAMPLE),
    )
    async def get_operations(
        service: Annotated[str, Path(min_length=1, max_length=200, description="exact service name")],
        start: Annotated[str, Query(max_length=64, description=START)],
        end: Annotated[str, Query(max_length=64, description=END)],
        step: Annotated[Step | None, Query(description=f"over time, too: {STEP}")] = None,
        limit: Annotated[int, Query(ge=1, le=OPERATIONS_MAX, description="operations")] = OPERATIONS_DEFAULT,
        principal: Principal = may_read,
    ) -> Response:
        asked = read_steps(start, end, step)
        rows = await counted(principal, asked, service=service, by_operation=True)
        now_ns = int(now() * _SECOND_NS)
        operations = await asyncio.to_thread(red_by_operation, rows)
        shown = [
            {"operation": each.operation, "kind": each.kind, **_shown(each.total, each.steps, asked, step, now_ns)}
            for each in operations[:limit]
        ]
        answer = {"service": service, "operations": shown, "truncated": len(operations) > limit}
        return json_answer(_shown_range(asked) | answer)

    return router


def _shown_range(asked: Steps) -> dict[str, Any]:
    return {
        "start": format_timestamp(asked.start_ns),
        "end": format_timestamp(asked.end_ns),
        "source": asked.source,
        "step_s": asked.step_ns // _SECOND_NS,
    }


def _shown(total: Red, steps: Mapping[int, Red], asked: Steps, step: Step | None, now_ns: int) -> dict[str, Any]:
    shown = shown_red(total, asked.start_ns, asked.end_ns, now_ns)
    if step is not None:
        shown["steps"] = [
            {
                "start": format_timestamp(begin_s * _SECOND_NS),
                **shown_red(red, begin_s * _SECOND_NS, begin_s * _SECOND_NS + asked.step_ns, now_ns),
            }
            for begin_s, red in steps.items()
        ]
    return shown
