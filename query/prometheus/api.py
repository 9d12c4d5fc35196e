"""/api/v1: Prometheus' HTTP API over one organization's metrics; the organization is the token's.

What promtool, Grafana and other clients of Prometheus ask: queries, series, labels and what is known of metrics. Exemplars are
not kept, and rules are none: those lists are empty. https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from fastapi import APIRouter, Depends, Request, Response

from query.prometheus.credentials import permitted_client
from query.prometheus.documents import data_of, listed, stats_of, success
from query.prometheus.failures import PrometheusRoute
from query.prometheus.parameters import Parameters, bad_data
from query.promql.engine import parse
from query.promql.layout import laid_out
from query.promql.steps import Result, Steps
from query.promql_queries import PromqlQueries, QueryCost
from query.tokens import Principal, Tokens
from storage.metric_selection import LabelMatcher
from storage.series_reader import SERIES_MAX
from topics.errors import TooExpensive

VERSION: Final = "3.0.0"
"""Whose semantics these are; clients choose what they ask by it."""
_TRUNCATED: Final = "results truncated due to limit"
_LABEL_MAX: Final = 1024
# A larger answer is written beside the event loop.
_WRITTEN_AT_ONCE: Final = 2000


def prometheus_router(queries: PromqlQueries, tokens: Tokens, *, now: Callable[[], float] = time.time) -> APIRouter:
    """Every route; `now` is unix seconds."""
    router = APIRouter(prefix="/api/v1", tags=["prometheus"], route_class=PrometheusRoute)
    metrics = queries.metrics
    may_read = Depends(permitted_client(tokens, "metrics:read"))

    def both(path: str, summary: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """GET and POST form, as one question."""

        def register(question: Callable[..., Any]) -> Callable[..., Any]:
            for method in ("GET", "POST"):
                router.add_api_route(
                    path,
                    question,
                    methods=[method],
                    summary=summary,
                    operation_id=f"{question.__name__}_{method.lower()}",
                )
            return question

        return register

    @both("/query", "Instant query")
    async def query_instant(request: Request, principal: Principal = may_read) -> Response:
        given = await Parameters.of(request)
        at_ms = given.time_ms("time", int(now() * 1000))
        limit, seconds = given.limit(), given.seconds()
        steps = Steps.instant(at_ms, given.lookback_ms())
        result, cost = await queries.run(principal, _query_of(given), steps, seconds_max=seconds)
        return await _answer(result, at_ms, limit, principal, cost if given.text("stats") else None)

    @both("/query_range", "Range query")
    async def query_range(request: Request, principal: Principal = may_read) -> Response:
        given = await Parameters.of(request)
        steps, limit, seconds = given.steps(), given.limit(), given.seconds()
        result, cost = await queries.run(principal, _query_of(given), steps, seconds_max=seconds)
        return await _answer(result, steps.start_ms, limit, principal, cost if given.text("stats") else None)

    @both("/query_exemplars", "Exemplars, of which none are kept")
    async def query_exemplars(request: Request, principal: Principal = may_read) -> Response:
        given = await Parameters.of(request)
        parse(_query_of(given))
        given.span_us()
        return success(b"[]")

    @both("/format_query", "An expression, laid out to be read")
    async def format_query(request: Request, principal: Principal = may_read) -> Response:
        return success(listed(laid_out(_query_of(await Parameters.of(request)))))

    @both("/series", "Series by selectors")
    async def find_series(request: Request, principal: Principal = may_read) -> Response:
        given = await Parameters.of(request)
        limit, matches, span = given.limit(), given.matches(), given.span_us()
        if not matches:
            raise bad_data("", "no match[] parameter provided")
        rows = sorted(await _selected(queries, principal, matches, span), key=lambda labels: sorted(labels.items()))
        return _cut([dict(sorted(labels.items())) for labels in rows], limit)

    @both("/labels", "Names of labels")
    async def list_labels(request: Request, principal: Principal = may_read) -> Response:
        given = await Parameters.of(request)
        limit, matches, span = given.limit(), given.matches(), given.span_us()
        if not matches:
            return _cut(await metrics.label_names(principal.scope, span), limit)
        names: set[str] = set()
        for labels in await _selected(queries, principal, matches, span):
            names.update(labels)
        return _cut(sorted(names), limit)

    @router.get("/label/{name:path}/values", summary="Values of a label")
    async def list_label_values(name: str, request: Request, principal: Principal = may_read) -> Response:
        given = await Parameters.of(request)
        limit, matches, span = given.limit(), given.matches(), given.span_us()
        if not name or len(name) > _LABEL_MAX or "\0" in name:
            raise bad_data("", f'invalid label name: "{name[:64]}"')
        if not matches:
            return _cut(await metrics.label_values(principal.scope, name, span), limit)
        found = await _selected(queries, principal, matches, span)
        return _cut(sorted({labels[name] for labels in found if name in labels}), limit)

    @router.get("/metadata", summary="Types and units of metrics")
    async def get_metadata(request: Request, principal: Principal = may_read) -> Response:
        given = await Parameters.of(request)
        limit, metric = given.limit(), given.text("metric")
        known = await metrics.metadata(principal.scope, metric or None, limit or None)
        return success(
            listed({each.name: [{"type": each.type or "unknown", "help": "", "unit": each.unit}] for each in known})
        )

    @router.get("/status/buildinfo", summary="Whose version's semantics these are")
    async def get_buildinfo(principal: Principal = may_read) -> Response:
        build = dict.fromkeys(("branch", "buildUser", "buildDate", "goVersion"), "")
        return success(listed({"version": VERSION, "revision": "aegis", **build}))

    @router.get("/rules", summary="Rules, of which there are none")
    async def list_rules(request: Request, principal: Principal = may_read) -> Response:
        kind = (await Parameters.of(request)).text("type")
        if kind not in ("", "alert", "record"):
            raise bad_data("type", f'not supported value "{kind[:64]}"')
        return success(b'{"groups":[]}')

    @router.get("/alerts", summary="Alerts of rules, of which there are none")
    async def list_alerts(principal: Principal = may_read) -> Response:
        return success(b'{"alerts":[]}')

    return router


def _query_of(given: Parameters) -> str:
    text = given.text("query")
    if not text.strip():
        raise bad_data("query", "unknown position: parse error: no expression found in input")
    return text


async def _selected(
    queries: PromqlQueries,
    principal: Principal,
    matches: Sequence[tuple[LabelMatcher, ...]],
    span_us: tuple[int, int] | None,
) -> list[dict[str, str]]:
    """The labels of every series that a selector finds, once each; with a time, of those that have a sample in it."""
    found: dict[int, dict[str, str]] = {}
    for matchers in matches:
        series = await queries.samples.find(principal.scope, matchers)
        found |= zip(series.ids.tolist(), series.labels, strict=True)
        _check_series(len(found))
    if span_us is None or not found:
        return list(found.values())
    active = await queries.metrics.active_of(principal.scope, list(found), *span_us)
    return [labels for id_, labels in found.items() if id_ in active]


def _check_series(found: int) -> None:
    if found > SERIES_MAX:
        raise TooExpensive(f"{SERIES_MAX} series", f"a selection of {found}")


def _cut(rows: Sequence[Any], limit: int) -> Response:
    """A list of at most so many rows, with a warning when some are left out."""
    if limit and len(rows) > limit:
        return success(listed(rows[:limit]), warnings=[_TRUNCATED])
    return success(listed(rows))


async def _answer(
    result: Result, at_ms: int, limit: int, principal: Principal, cost: QueryCost | None = None
) -> Response:
    """The document of a result, and of its cost if given. Raises `TooExpensive` for more bytes than who asks may have."""
    warnings = list(result.warnings)
    if limit and result.kind in ("vector", "matrix") and len(result.labels) > limit:
        result = _first(result, limit)
        warnings.append(_TRUNCATED)
    points = result.values.size if result.raw is None else len(result.raw.values)
    if points < _WRITTEN_AT_ONCE:
        data = data_of(result, at_ms)
    else:
        data = await asyncio.to_thread(data_of, result, at_ms)
    if cost is not None:
        data = data[:-1] + b',"stats":' + listed(stats_of(cost)) + b"}"
    if len(data) > principal.limits.result_bytes_max:
        raise TooExpensive(f"{principal.limits.result_bytes_max} bytes of an answer", f"an answer of {len(data)}")
    return success(data, warnings=warnings, infos=result.infos)


def _first(result: Result, limit: int) -> Result:
    """The first series of a result; of raw samples the labels decide."""
    return replace(result, labels=result.labels[:limit], values=result.values[:limit], present=result.present[:limit])
