"""The query application over real stores, with two organizations that ask it: what its tests share (fixture `asked`)."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pyarrow as pa
import pytest

from query.admission import Admission
from query.app import Stores, create_query_app
from query.limits import Limits
from query.tokens import Role, Tokens
from storage.clickhouse import ClickHouse
from storage.control_plane import ControlPlane
from storage.logs import LOG_COLUMNS
from storage.rum import RUM_COLUMNS
from storage.scope import OrgScope
from storage.spans import SPAN_COLUMNS
from storage.timescale import Timescale, TimescaleAddress
from storage.usage import UsageDay
from web.health import Health

NOON = 1_761_912_000_000_000_000  # 2025-10-31T12:00:00Z
MS = 1_000_000
RECEIVED_MS = 1_795_435_200_000
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
DAY = {"start": "2025-10-31T00:00:00Z", "end": "2025-11-01T00:00:00Z"}
SECRET = "s" * 32
_TYPES = {
    "ts": pa.timestamp("ns", "UTC"),
    "record_id": pa.uint64(),
    "duration_ns": pa.uint64(),
    "value": pa.float64(),
    "latitude": pa.float64(),
    "longitude": pa.float64(),
    "is_bot": pa.uint8(),
    "received_at": pa.timestamp("ms", "UTC"),
    "retention_days": pa.uint16(),
}
_DEFAULTS: dict[str, Any] = {
    "ts": NOON,
    "attributes": "{}",
    "client": "{}",
    "events": "[]",
    "links": "[]",
    "value": None,
    "latitude": None,
    "longitude": None,
    "is_bot": 0,
    "status": "ok",
    "kind": "server",
    "service": "api",
    "duration_ns": 10 * MS,
    "received_at": RECEIVED_MS,
    "retention_days": 0,
}
_COLUMNS = {"spans": SPAN_COLUMNS, "logs": LOG_COLUMNS, "rum": RUM_COLUMNS}


async def keep_rows(
    store: Any, signal: str, rows: Sequence[dict[str, Any]], scope: OrgScope, block: Callable[..., bytes]
) -> None:
    """Store rows of one signal for an organization; what a row leaves out is a default."""
    columns = _COLUMNS[signal]
    schema = pa.schema([(name, _TYPES.get(name, pa.string())) for name in columns])
    whole = [
        {name: _DEFAULTS.get(name, "") for name in columns} | {"org_id": scope.org_id, "record_id": i} | row
        for i, row in enumerate(rows)
    ]
    await store.insert(block(whole, schema), rows=len(whole), token=uuid.uuid4().hex)


@dataclass
class Asked:
    """The application, and two organizations that ask it."""

    http: httpx.AsyncClient
    stores: Stores
    block: Callable[..., bytes]
    ours: OrgScope
    theirs: OrgScope
    control_plane: ControlPlane
    admission: Admission
    timescale: Timescale

    async def limit(self, scope: OrgScope | None = None, **by_role: dict[str, int]) -> None:
        """Give an organization limits of its own, by default ours."""
        await self.control_plane.organizations.update(scope or self.ours, settings={"query": by_role})
        await self.admission.limits.reread()

    async def keep(self, signal: str, *rows: dict[str, Any], scope: OrgScope | None = None) -> None:
        """Store rows of one signal, by default for our organization; what a row leaves out is a default."""
        await keep_rows(getattr(self.stores, signal), signal, rows, scope or self.ours, self.block)

    def token(self, scope: OrgScope | None = None, role: Role = "viewer") -> dict[str, str]:
        issued = Tokens(SECRET).issue(scope or self.ours, role=role, subject="test", lifetime_s=60)
        return {"authorization": f"Bearer {issued}"}

    async def get(self, path: str, scope: OrgScope | None = None, **parameters: Any) -> httpx.Response:
        return await self.http.get(path, params=parameters, headers=self.token(scope))

    async def post(self, path: str, scope: OrgScope | None = None, **body: Any) -> httpx.Response:
        return await self.http.post(path, json=DAY | body, headers=self.token(scope))


@pytest.fixture
async def asked(
    store_clickhouse: ClickHouse,
    store_control_plane: ControlPlane,
    store_plain_metrics_address: TimescaleAddress,
    store_block: Callable[..., bytes],
) -> AsyncIterator[Asked]:
    ours = (await store_control_plane.organizations.create("ours")).scope
    theirs = (await store_control_plane.organizations.create("theirs")).scope
    timescale = await Timescale.open(store_plain_metrics_address)
    stores = Stores.over(store_clickhouse, store_control_plane.usage, timescale)
    admission = Admission(Limits(load=store_control_plane.organizations.query_limits))
    app = create_query_app(stores, Tokens(SECRET), health=Health("query", {}), admission=admission)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://query") as http:
        yield Asked(http, stores, store_block, ours, theirs, store_control_plane, admission, timescale)
    await timescale.close()


def span(span_id: str, parent: str = "", **changes: Any) -> dict[str, Any]:
    return {"trace_id": TRACE, "span_id": span_id, "parent_span_id": parent, "operation": f"op {span_id}", **changes}


async def keep_a_trace(asked: Asked, scope: OrgScope | None = None) -> None:
    await asked.keep(
        "spans",
        span("root", duration_ns=100 * MS, attributes='{"http.status_code": 500}', events='[{"name": "retry"}]'),
        span("db", "root", ts=NOON + 10 * MS, duration_ns=60 * MS, service="db", status="error", kind="client"),
        span("early", "db", ts=NOON + 5 * MS, duration_ns=10 * MS, service="disk", status_message="slow"),
        span("lost", "gone", ts=NOON + 20 * MS),
        scope=scope,
    )
    await asked.keep(
        "logs",
        {"trace_id": TRACE, "message": "within", "level": "error", "ts": NOON + MS},
        {"trace_id": TRACE, "message": "late", "level": "info", "ts": NOON + 50 * 60 * 1000 * MS},
        {"trace_id": TRACE, "message": "the day after", "ts": NOON + 24 * 3600 * 1000 * MS},
        {"trace_id": "another", "message": "of another trace"},
        scope=scope,
    )


async def keep_usage(asked: Asked, scope: OrgScope | None = None) -> None:
    days = [
        UsageDay(date(2025, 10, 30), logs_count=1, logs_bytes=2, metrics_count=3, spans_count=4, rum_events=5),
        UsageDay(date(2025, 10, 31), logs_count=6, scrubbed={"email": 2}),
        *(UsageDay(datetime.now(UTC).date() - timedelta(days=n), logs_count=50) for n in (0, 1)),
    ]
    await asked.stores.usage.flush([(scope or asked.ours, day) for day in days])
