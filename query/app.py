"""The query API as a FastAPI application of its own (`aegis query`), or as a router beside the gateway (`aegis up`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from fastapi import APIRouter, FastAPI

from query.admission import Admission
from query.alerting.app import Alerting, alerting_router
from query.alerting.past_records import RecordReader
from query.alerting.preview import preview_router
from query.control.app import Control, control_router
from query.layer import QueryLayer
from query.limits import Limits
from query.log_context import log_context_router
from query.log_facets import log_facets_router
from query.log_histogram import log_histogram_router
from query.logs import logs_router
from query.metrics import metrics_router
from query.prometheus.api import prometheus_router
from query.promql_queries import PromqlQueries
from query.rum import rum_router
from query.service_map import service_map_router
from query.services import services_router
from query.tokens import Tokens
from query.trace_search import trace_search_router
from query.traces import traces_router
from query.usage import usage_router
from storage.clickhouse import ClickHouse
from storage.hourly import HourlyStore
from storage.log_counts import LogCounts
from storage.log_statistics import LogStatistics
from storage.log_totals import LogTotals
from storage.logs import LogStore
from storage.metric_reader import MetricReader
from storage.rum import RumStore
from storage.sample_reader import CACHE_BYTES, SampleReader
from storage.span_statistics import SpanStatistics
from storage.spans import SpanStore
from storage.timescale import Timescale
from storage.usage import Usage
from web.bounded_http import serve_bounded
from web.client_address import ClientAddresses
from web.error_replies import install_error_replies
from web.health import Health, health_router


@dataclass(frozen=True, slots=True)
class Stores:
    """What answers questions."""

    logs: LogStore
    log_totals: LogTotals
    log_statistics: LogStatistics
    log_counts: LogCounts
    spans: SpanStore
    rum: RumStore
    hourly: HourlyStore
    span_statistics: SpanStatistics
    usage: Usage
    metrics: MetricReader
    samples: SampleReader

    @classmethod
    def over(
        cls, clickhouse: ClickHouse, usage: Usage, timescale: Timescale, *, metrics_cache_bytes: int = CACHE_BYTES
    ) -> Self:
        """All of them; the records are in one ClickHouse, and `metrics_cache_bytes` of samples stay in memory."""
        return cls(
            LogStore(clickhouse),
            LogTotals(clickhouse),
            LogStatistics(clickhouse),
            LogCounts(clickhouse),
            SpanStore(clickhouse),
            RumStore(clickhouse),
            HourlyStore(clickhouse),
            SpanStatistics(clickhouse),
            usage,
            MetricReader(timescale),
            SampleReader(timescale, cache_bytes=metrics_cache_bytes),
        )


def query_router(stores: Stores, tokens: Tokens) -> APIRouter:
    """Every question that can be asked, one router a question or signal."""
    router = APIRouter()
    router.include_router(logs_router(stores.logs, stores.log_totals, tokens))
    router.include_router(log_histogram_router(stores.log_statistics, stores.log_counts, tokens))
    router.include_router(log_facets_router(stores.log_statistics, tokens))
    router.include_router(log_context_router(stores.logs, tokens))
    router.include_router(trace_search_router(stores.spans, tokens))
    router.include_router(traces_router(stores.spans, stores.logs, tokens))
    router.include_router(services_router(stores.hourly, stores.span_statistics, tokens))
    router.include_router(service_map_router(stores.span_statistics, tokens))
    router.include_router(rum_router(stores.rum, tokens))
    queries = PromqlQueries(stores.metrics, stores.samples)
    router.include_router(metrics_router(queries, tokens))
    router.include_router(prometheus_router(queries, tokens))
    router.include_router(usage_router(stores.usage, tokens))
    records = RecordReader(stores.logs, stores.spans, stores.rum, stores.samples)
    router.include_router(preview_router(records, tokens))
    return router


class _QueryApp(FastAPI):
    """FastAPI with bounds on what it reads, and the client's address as proxies of ours tell it."""

    addresses = ClientAddresses()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await serve_bounded(super().__call__, self.addresses.told(scope), receive, send)


def add_queries(
    app: FastAPI,
    stores: Stores,
    tokens: Tokens,
    *,
    admission: Admission | None = None,
    control: Control | None = None,
    alerting: Alerting | None = None,
) -> None:
    """Put every question on an application, each with its turn, by default within the limits of the roles; with `control` also
    logins and what an organization manages itself, with `alerting` monitors and who is told."""
    app.include_router(query_router(stores, tokens))
    if control is not None:
        app.include_router(control_router(control, tokens))
    if alerting is not None:
        app.include_router(alerting_router(alerting, tokens))
    app.add_middleware(QueryLayer, admission=admission or Admission(Limits()))


def create_query_app(
    stores: Stores,
    tokens: Tokens,
    *,
    health: Health,
    admission: Admission | None = None,
    control: Control | None = None,
    alerting: Alerting | None = None,
    addresses: ClientAddresses | None = None,
) -> FastAPI:
    """The query API alone."""
    app = _QueryApp(title="Aegis query API", version="0.1.0", summary="Ask for what was sent.", redirect_slashes=False)
    app.addresses = addresses or app.addresses
    install_error_replies(app)
    add_queries(app, stores, tokens, admission=admission, control=control, alerting=alerting)
    app.include_router(health_router(health))
    return app
