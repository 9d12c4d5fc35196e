"""The questions about metrics over a real store, with two organizations that ask them (fixture `asked_metrics`)."""

from __future__ import annotations

import struct
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from fastapi import FastAPI

from query.admission import Admission
from query.layer import QueryLayer
from query.limits import Limits
from query.metrics import metrics_router
from query.prometheus.api import prometheus_router
from query.promql_queries import PromqlQueries
from query.tokens import Role, Tokens
from storage.metric_reader import MetricReader
from storage.metrics import MetricStore, SourceRange
from storage.query_settings import QuerySettings
from storage.sample_reader import SampleReader
from storage.scope import OrgScope
from storage.timescale import Timescale, TimescaleAddress
from topics.metric_columns import MetricBatch, Series, encode_series
from web.bounded_http import serve_bounded
from web.error_replies import install_error_replies

SECRET = "s" * 32
NOON_S = 1_761_912_000  # 2025-10-31T12:00:00Z

Sample = tuple[str, dict[str, str], float, float]
"""Name, labels, unix seconds, value."""


async def keep_samples(timescale: Timescale, scope: OrgScope, samples: Sequence[Sample]) -> None:
    """Store samples of metrics of type gauge and unit 1."""
    texts = [encode_series(Series(name, dict(sorted(labels.items())), "gauge", "1")) for name, labels, _, _ in samples]
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    bits = [struct.unpack("<q", struct.pack("<d", value))[0] for *_, value in samples]
    columns = MetricBatch(
        list(places),
        np.array([places[text] for text in texts], np.int32),
        np.array([round(at * 1e6) for _, _, at, _ in samples], np.int64),
        np.array(bits, np.int64).view(np.float64),
    )
    store = MetricStore(timescale, series_max=100_000)
    await store.insert([(scope, columns)], SourceRange(uuid.uuid4().hex, "metrics", 0, 1, 1))


@dataclass
class AskedMetrics:
    """The routes, and two organizations that ask them."""

    http: httpx.AsyncClient
    app: FastAPI
    timescale: Timescale
    limits: Limits
    own: dict[str, QuerySettings]
    ours: OrgScope
    theirs: OrgScope

    async def keep(self, samples: Sequence[Sample], scope: OrgScope | None = None) -> None:
        await keep_samples(self.timescale, scope or self.ours, samples)

    async def limit(self, **viewer: int) -> None:
        """Give our viewers limits of their own."""
        self.own[self.ours.org_id] = msgspec.convert({"viewer": viewer}, QuerySettings)
        await self.limits.reread()

    def token(self, scope: OrgScope | None = None, role: Role = "viewer") -> dict[str, str]:
        issued = Tokens(SECRET).issue(scope or self.ours, role=role, subject="test", lifetime_s=60)
        return {"authorization": f"Bearer {issued}"}

    async def get(self, path: str, scope: OrgScope | None = None, **parameters: Any) -> httpx.Response:
        return await self.http.get(path, params=parameters, headers=self.token(scope))

    async def post(self, path: str, scope: OrgScope | None = None, **body: Any) -> httpx.Response:
        return await self.http.post(path, json=body, headers=self.token(scope))


class _App(FastAPI):
    """With bounds on what it reads, as the query API has them."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await serve_bounded(super().__call__, scope, receive, send)


@pytest.fixture
async def asked_metrics(store_plain_metrics_address: TimescaleAddress) -> AsyncIterator[AskedMetrics]:
    timescale = await Timescale.open(store_plain_metrics_address)
    own: dict[str, QuerySettings] = {}

    async def load() -> dict[str, QuerySettings]:
        return own

    limits, tokens, app = Limits(load=load), Tokens(SECRET), _App()
    queries = PromqlQueries(MetricReader(timescale), SampleReader(timescale))
    install_error_replies(app)
    app.include_router(metrics_router(queries, tokens))
    app.include_router(prometheus_router(queries, tokens))
    app.add_middleware(QueryLayer, admission=Admission(limits))
    ours, theirs = (OrgScope(str(uuid.uuid4())) for _ in range(2))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://query") as http:
        yield AskedMetrics(http, app, timescale, limits, own, ours, theirs)
    await timescale.close()
