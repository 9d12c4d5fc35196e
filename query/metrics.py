"""POST /query/metrics: PromQL and times -> series of points; GET /query/metrics/...: which metrics, labels, series there are."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from query.answers import BODY, answers, json_answer
from query.authorization import permitted
from query.metric_source import POINTS_MAX
from query.prometheus.parameters import checked_steps, read_duration
from query.promql.steps import Result, Steps
from query.promql_queries import PromqlQueries, QueryCost
from query.time_ranges import END, START, read_instant
from query.tokens import Principal, Tokens
from topics.errors import Refused, TooExpensive

_NS_A_MS: Final = 1_000_000
_LIMIT_MAX: Final = 1000

_EXAMPLE: JsonDict = {
    "query": 'avg(http_requests_total{service="api"})',
    "start": "2025-10-31T00:00:00Z",
    "end": "2025-10-31T23:59:59Z",
    "step": "5m",
}
_ANSWER: Final[dict[str, Any]] = {
    "series": [{"labels": {"service": "api"}, "points": [[1761912000000, 42.5], [1761912300000, "NaN"]]}],
    "source": "samples",
    "stats": {"series": 10, "samples": 57600, "elapsed_ms": 8.4},
}
_CATALOG: Final[dict[str, Any]] = {
    "metrics": [{"name": "http_requests_total", "type": "counter", "unit": "1", "series": 10}],
    "next_cursor": "http_requests_total",
}


class MetricQuery(BaseModel):
    """A PromQL expression, and either `start`, `end` and `step`, or the one `time` at which it is looked at."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [_EXAMPLE]})

    query: Annotated[str, Field(min_length=1, max_length=10_000)] = Field(
        description="PromQL, as Prometheus 3 reads it"
    )
    start: str | int | float | None = Field(None, description=START)
    end: str | int | float | None = Field(None, description="last instant, included")
    step: Annotated[str, Field(max_length=64)] | int | float | None = Field(
        None, description=f"`5m`, `1h30m`, or seconds; at most {POINTS_MAX} steps"
    )
    time: str | int | float | None = Field(None, description="one instant, in place of start, end and step")

    def steps(self, now_ms: int) -> Steps:
        """When the expression is looked at: the range, the instant, or now. Raises `Refused` naming the field at fault."""
        given = {"start": self.start, "end": self.end, "step": self.step}
        if all(value is None for value in given.values()):
            return Steps.instant(now_ms if self.time is None else read_instant("time", self.time) // _NS_A_MS)
        if self.time is not None:
            raise _wrong("time", "it goes without start, end and step")
        for path, value in given.items():
            if value is None:
                raise _wrong(path, "it is missing; a range has start, end and step")
        start, end = (read_instant(path, given[path] or 0) // _NS_A_MS for path in ("start", "end"))
        if end < start:
            raise _wrong("end", "must not be before start")
        return checked_steps(start, end, read_duration("step", str(self.step)))


def metrics_router(queries: PromqlQueries, tokens: Tokens, *, now: Callable[[], float] = time.time) -> APIRouter:
    """The questions about metrics; `now` is unix seconds."""
    router = APIRouter(prefix="/query/metrics", tags=["metrics"])
    metrics = queries.metrics
    may_read = Depends(permitted(tokens, "metrics:read"))

    @router.post(
        "",
        summary="Query metrics with PromQL",
        description="Points are `[unix milliseconds, value]`; a value that JSON cannot say is the text NaN, +Inf or -Inf, as in"
        " ingestion. `source` says what was read: `samples`, or `1h` where those are past their retention and the last"
        " sample of each hour stands in.",
        response_description="`{series, source, stats}`",
        responses=answers(_ANSWER, *BODY),
    )
    async def query_metrics(asked: MetricQuery, principal: Principal = may_read) -> Response:
        try:
            result, cost = await queries.run(principal, asked.query, asked.steps(int(now() * 1000)))
        except Refused as exc:
            # One code for what is wrong with a question, here as everywhere under /query.
            raise _wrong(exc.path if exc.path in MetricQuery.model_fields else "query", exc.reason) from exc
        if result.kind == "string":
            raise _wrong("query", "it is a text, and has no points")
        answer = await asyncio.to_thread(_shown, result, cost)
        if len(answer.body) > principal.limits.result_bytes_max:
            limit = f"result_bytes = {principal.limits.result_bytes_max}"
            raise TooExpensive(limit, f"an answer of {len(answer.body)} bytes")
        return answer

    @router.get(
        "/catalog",
        summary="Metrics with type, unit and number of series",
        response_description="`{metrics, next_cursor}`",
        responses=answers(_CATALOG),
    )
    async def get_catalog(
        prefix: Annotated[str, Query(max_length=1024, description="how a name begins")] = "",
        limit: Annotated[int, Query(ge=1, le=_LIMIT_MAX)] = _LIMIT_MAX,
        cursor: Annotated[str, Query(max_length=1024, description="`next_cursor` of the page before")] = "",
        principal: Principal = may_read,
    ) -> Response:
        found = await metrics.catalog(
            principal.scope, after=_text("cursor", cursor), prefix=_text("prefix", prefix), limit=limit
        )
        shown = [{"name": m.name, "type": m.type, "unit": m.unit, "series": m.series} for m in found]
        return json_answer({"metrics": shown, "next_cursor": found[-1].name if len(found) == limit else None})

    @router.get(
        "/labels",
        summary="Names of labels",
        response_description="`{labels}`",
        responses=answers({"labels": ["__name__", "service"]}),
    )
    async def get_labels(principal: Principal = may_read) -> Response:
        return json_answer({"labels": await metrics.label_names(principal.scope)})

    @router.get(
        "/labels/{label:path}",
        summary="Values of a label",
        response_description="`{values}`",
        responses=answers({"values": ["api", "checkout"]}),
    )
    async def get_label_values(label: str, principal: Principal = may_read) -> Response:
        return json_answer({"values": await metrics.label_values(principal.scope, _text("label", label))})

    @router.get(
        "/active",
        summary="How many series have samples in a time",
        response_description="`{active_series}`",
        responses=answers({"active_series": 10000}),
    )
    async def get_active_series(
        start: Annotated[str, Query(max_length=64, description=START)],
        end: Annotated[str, Query(max_length=64, description=END)],
        principal: Principal = may_read,
    ) -> Response:
        start_ns, end_ns = read_instant("start", start), read_instant("end", end)
        if end_ns <= start_ns:
            raise _wrong("end", "must be later than start")
        principal.limits.check_range(start_ns, end_ns)
        active = await metrics.active_series(principal.scope, start_ns // 1000, end_ns // 1000)
        return json_answer({"active_series": active})

    return router


def _shown(result: Result, cost: QueryCost) -> Response:
    """The answer; to be called in a thread, as it may be long."""
    series = [
        {"labels": dict(sorted(labels.items())), "points": [[ms, shown_value(value)] for ms, value in points]}
        for labels, points in (
            (labels, zip(times.tolist(), values.tolist(), strict=True)) for labels, times, values in result.series()
        )
    ]
    stats = {"series": cost.series, "samples": cost.samples, "elapsed_ms": cost.elapsed_ms}
    notes = {name: texts for name, texts in (("warnings", result.warnings), ("infos", result.infos)) if texts}
    return json_answer({"series": series, "source": cost.source, "stats": stats, **notes})


def shown_value(value: float) -> float | str:
    """A number, or the text that ingestion takes for it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _text(path: str, text: str) -> str:
    if "\0" in text:
        raise _wrong(path, "it has the character U+0000")
    return text


def _wrong(path: str, reason: str) -> Refused:
    return Refused(reason, code="invalid_field", path=path)
