"""The questions about traces, services, RUM and usage, over the whole application and real stores, and who may ask them."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pyarrow as pa
import pytest

from query.app import Stores, create_query_app
from query.tokens import PERMISSIONS, Role, Tokens
from storage.clickhouse import ClickHouse, ClickHouseAddress
from storage.control_plane import ControlPlane
from storage.logs import LOG_COLUMNS
from storage.rum import RUM_COLUMNS
from storage.scope import OrgScope
from storage.spans import SPAN_COLUMNS
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


@dataclass
class Asked:
    """The application, and two organizations that ask it."""

    http: httpx.AsyncClient
    stores: Stores
    block: Callable[..., bytes]
    ours: OrgScope
    theirs: OrgScope

    async def keep(self, signal: str, *rows: dict[str, Any], scope: OrgScope | None = None) -> None:
        """Store rows of one signal, by default for our organization; what a row leaves out is a default."""
        columns = _COLUMNS[signal]
        schema = pa.schema([(name, _TYPES.get(name, pa.string())) for name in columns])
        whole = [
            {name: _DEFAULTS.get(name, "") for name in columns}
            | {"org_id": (scope or self.ours).org_id, "record_id": i}
            | row
            for i, row in enumerate(rows)
        ]
        store: Any = getattr(self.stores, signal)
        await store.insert(self.block(whole, schema), rows=len(whole), token=uuid.uuid4().hex)

    def token(self, scope: OrgScope | None = None, role: Role = "viewer") -> dict[str, str]:
        issued = Tokens(SECRET).issue(scope or self.ours, role=role, subject="test", lifetime_s=60)
        return {"authorization": f"Bearer {issued}"}

    async def get(self, path: str, scope: OrgScope | None = None, **parameters: Any) -> httpx.Response:
        return await self.http.get(path, params=parameters, headers=self.token(scope))

    async def post(self, path: str, scope: OrgScope | None = None, **body: Any) -> httpx.Response:
        return await self.http.post(path, json=DAY | body, headers=self.token(scope))


@pytest.fixture
async def asked(
    store_clickhouse: ClickHouse, store_control_plane: ControlPlane, store_block: Callable[..., bytes]
) -> AsyncIterator[Asked]:
    ours = (await store_control_plane.organizations.create("ours")).scope
    theirs = (await store_control_plane.organizations.create("theirs")).scope
    stores = Stores.over(store_clickhouse, store_control_plane.usage)
    app = create_query_app(stores, Tokens(SECRET), health=Health("query", {}))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://query") as http:
        yield Asked(http, stores, store_block, ours, theirs)


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


async def test_a_trace_is_a_waterfall_with_its_logs(asked: Asked) -> None:
    await keep_a_trace(asked)
    response = await asked.get(f"/query/traces/0x{TRACE.upper()}")
    assert response.status_code == 200, response.text
    trace = response.json()
    spans = {each["span_id"]: each for each in trace.pop("spans")}
    assert list(spans) == ["root", "db", "early", "lost"]
    assert [spans[name]["depth"] for name in spans] == [0, 1, 2, 0]
    assert [spans[name]["self_time_ms"] for name in spans] == [40, 50, 10, 10]
    assert [spans[name]["critical_path"] for name in spans] == [True, True, True, False]
    assert [spans[name]["problems"] for name in spans] == [[], [], ["clock_skew"], ["orphan"]]
    assert (spans["early"]["clock_skew_ms"], spans["early"]["offset_ms"]) == (5, 10)
    assert spans["early"]["start_time"] == "2025-10-31T12:00:00.005Z"
    assert (spans["root"]["attributes"], spans["root"]["events"]) == ({"http.status_code": 500}, [{"name": "retry"}])
    assert (spans["root"]["parent_span_id"], spans["early"]["status_message"]) == (None, "slow")
    assert [log["message"] for log in trace.pop("logs")] == ["within", "late"]
    assert trace.pop("stats")["rows_read"] > 0
    assert trace == {
        "trace_id": TRACE,
        "root_service": "api",
        "root_operation": "op root",
        "start_time": "2025-10-31T12:00:00.000Z",
        "duration_ms": 100,
        "span_count": 4,
        "services": ["api", "db", "disk"],
        "errors": 1,
        "repeats": 0,
        "truncated": False,
        "logs_truncated": False,
    }


async def test_a_trace_is_cut_where_it_is_asked_to_be(asked: Asked) -> None:
    await keep_a_trace(asked)
    cut = (await asked.get(f"/query/traces/{TRACE}", limit=2, logs_limit=1)).json()
    assert ([each["span_id"] for each in cut["spans"]], cut["truncated"]) == (["root", "early"], True)
    assert (len(cut["logs"]), cut["logs_truncated"]) == (1, True)
    without = (await asked.get(f"/query/traces/{TRACE}", logs_limit=0)).json()
    assert (without["logs"], without["logs_truncated"]) == ([], False)
    for wrong in ({"limit": 0}, {"limit": 10_001}, {"logs_limit": -1}, {"logs_limit": 1001}):
        response = await asked.get(f"/query/traces/{TRACE}", **wrong)
        assert (response.status_code, response.json()["error"]["details"][0]["path"]) == (422, next(iter(wrong)))


@pytest.mark.parametrize("trace_id", ["unknown", "0" * 32, "' OR 1=1 --", "%00", "{x:String}"])
async def test_a_trace_that_is_not_there_is_404(asked: Asked, trace_id: str) -> None:
    await keep_a_trace(asked)
    response = await asked.get(f"/query/traces/{trace_id}")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


async def test_traces_are_found_by_one_span_that_meets_everything(asked: Asked) -> None:
    await keep_a_trace(asked)
    await asked.keep("spans", {"trace_id": "other", "span_id": "1", "operation": "x", "ts": NOON + MS})

    async def found(**search: Any) -> list[str]:
        return [trace["trace_id"] for trace in (await asked.post("/query/traces/search", **search)).json()["traces"]]

    assert await found() == [TRACE, "other"]
    assert await found(order="oldest") == [TRACE, "other"]
    assert await found(service="db") == [TRACE]
    assert await found(operation="x") == ["other"]
    assert await found(status="error") == [TRACE]
    assert await found(service="api", status="error") == []
    assert await found(min_duration_ms=100) == [TRACE]
    assert await found(min_duration_ms=100.001) == []
    assert await found(max_duration_ms=10, service="api", min_duration_ms=10, operation="x") == ["other"]
    assert await found(end="2025-10-31T12:00:00Z") == []
    (summary,) = (await asked.post("/query/traces/search", service="db")).json()["traces"]
    assert summary == {
        "trace_id": TRACE,
        "root_service": "api",
        "root_operation": "op root",
        "start_time": "2025-10-31T12:00:00.000Z",
        "duration_ms": 100,
        "span_count": 4,
        "services": ["api", "db", "disk"],
        "errors": 1,
    }


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_pages_of_traces_and_events_go_on_where_the_last_one_ended(asked: Asked, order: str) -> None:
    await asked.keep("spans", *({"trace_id": f"t{i}", "span_id": "1", "ts": NOON + i // 2} for i in range(7)))
    await asked.keep("rum", *({"name": f"n{i}", "type": "action", "ts": NOON + i // 2} for i in range(7)))
    for path, noun, name in (("/query/traces/search", "traces", "trace_id"), ("/query/rum/search", "events", "name")):
        seen: list[str] = []
        sizes = []
        cursor: str | None = None
        while cursor is not None or not sizes:
            page = (await asked.post(path, limit=3, order=order, **({"cursor": cursor} if cursor else {}))).json()
            seen += [each[name] for each in page[noun]]
            sizes.append(len(page[noun]))
            cursor = page["next_cursor"]
        assert sizes == [3, 3, 1]
        letter = seen[0][0]
        wanted = [f"{letter}{i}" for i in range(7)]
        assert seen == (wanted if order == "oldest" else wanted[::-1])


async def test_rum_events_are_found_and_shown_whole(asked: Asked) -> None:
    error = {"error_type": "TypeError", "error_message": "x is undefined", "country": "NO", "latitude": 59.9}
    await asked.keep(
        "rum",
        {"type": "web_vital", "session_id": "s1", "page_path": "/a", "name": "LCP", "value": 1840.5, "is_bot": 1},
        {"type": "error", "session_id": "s2", "page_path": "/a", "client": '{"screen": "x"}', "ts": NOON + 1, **error},
    )

    async def found(**search: Any) -> list[str]:
        return [event["type"] for event in (await asked.post("/query/rum/search", **search)).json()["events"]]

    assert await found() == ["error", "web_vital"]
    assert await found(type="error") == ["error"]
    assert await found(page_path="/a", session_id="s1") == ["web_vital"]
    assert await found(page_path="/A") == []
    assert await found(start=1_761_912_001, end=1_761_912_002) == []
    failed, vital = (await asked.post("/query/rum/search")).json()["events"]
    assert failed["error"] == {"type": "TypeError", "message": "x is undefined", "stack": None}
    assert (failed["location"]["country"], failed["location"]["latitude"]) == ("NO", 59.9)
    assert (failed["client"], failed["value"], failed["is_bot"]) == ({"screen": "x"}, None, False)
    assert failed["timestamp"] == "2025-10-31T12:00:00.000000001Z"
    assert (vital["name"], vital["value"], vital["error"], vital["is_bot"]) == ("LCP", 1840.5, None, True)


async def test_services_have_rate_errors_and_durations(asked: Asked) -> None:
    await asked.keep(
        "spans",
        *(
            {"trace_id": str(i), "span_id": "1", "duration_ns": (i + 1) * MS, "status": "error" if i < 9 else "ok"}
            for i in range(90)
        ),
        *({"trace_id": str(i), "span_id": "2", "kind": "client", "duration_ns": 5000 * MS} for i in range(50)),
        *({"service": "job", "kind": "internal", "ts": NOON + 3600 * 1000 * MS} for _ in range(36)),
    )
    # Half hours: the hours that they touch are counted whole, and said.
    asking = {"start": "2025-10-31T12:30:00Z", "end": "2025-10-31T13:30:00Z"}
    answer = (await asked.get("/query/services", **asking, hours=True)).json()
    assert (answer["start"], answer["end"]) == ("2025-10-31T12:00:00.000Z", "2025-10-31T14:00:00.000Z")
    api, job = answer["services"]
    assert (api["service"], api["kinds"], api["count"], api["errors"]) == ("api", ["server"], 90, 9)
    assert (api["rate_per_s"], api["error_share"], api["mean_ms"]) == (90 / 7200, 0.1, 45.5)
    assert [api[name] for name in ("p50_ms", "p95_ms", "p99_ms")] == [
        pytest.approx(ms, rel=0.03) for ms in (45, 85, 89)
    ]
    assert [(hour["start"], hour["rate_per_s"]) for hour in job["hours"]] == [("2025-10-31T13:00:00.000Z", 0.01)]
    assert job["kinds"] == ["internal"]
    (only,) = (await asked.get("/query/services", **asking, service="job")).json()["services"]
    assert (only["service"], "hours" in only) == ("job", False)


async def test_too_long_a_range_names_the_limit(asked: Asked) -> None:
    for path, limit in (("/query/services", "744 hours"), ("/query/usage", "1096 days")):
        response = await asked.get(path, start="2020-01-01", end="2025-10-31")
        assert (response.status_code, response.json()["error"]["code"]) == (422, "too_expensive")
        assert response.json()["error"]["details"][0]["path"] == limit


async def keep_usage(asked: Asked, scope: OrgScope | None = None) -> None:
    days = [
        UsageDay(date(2025, 10, 30), logs_count=1, logs_bytes=2, metrics_count=3, spans_count=4, rum_events=5),
        UsageDay(date(2025, 10, 31), logs_count=6, scrubbed={"email": 2}),
        *(UsageDay(datetime.now(UTC).date() - timedelta(days=n), logs_count=50) for n in (0, 1)),
    ]
    await asked.stores.usage.flush([(scope or asked.ours, day) for day in days])


async def test_usage_by_day_and_for_the_month(asked: Asked) -> None:
    await keep_usage(asked)
    answer = (await asked.get("/query/usage", start="2025-10-30", end="2025-10-31T01:00:00Z")).json()
    none = {"logs_bytes": 0, "metrics_count": 0, "spans_count": 0, "rum_events": 0}
    assert answer["days"] == [
        {"date": "2025-10-30", "logs_count": 1, "logs_bytes": 2, "metrics_count": 3, "spans_count": 4, "rum_events": 5,
         "scrubbed": {}},
        {"date": "2025-10-31", "logs_count": 6, **none, "scrubbed": {"email": 2}},
    ]  # fmt: skip
    assert len((await asked.get("/query/usage", start="2025-10-30", end="2025-10-31")).json()["days"]) == 1
    month = (await asked.get("/query/usage")).json()
    today = datetime.now(UTC).date()
    so_far = 100 if today.day > 1 else 50
    assert month["days"][-1]["date"] == today.isoformat()
    assert sum(day["logs_count"] for day in month["days"]) == month["month"]["to_date"]["logs_count"] == so_far
    assert month["month"]["month"] == f"{today:%Y-%m}"
    assert so_far <= month["month"]["projected"]["logs_count"] <= so_far + 31 * 50


async def test_usage_as_csv(asked: Asked) -> None:
    await keep_usage(asked)
    headers = asked.token() | {"accept": "text/csv"}
    response = await asked.http.get("/query/usage?start=2025-10-30&end=2025-11-01", headers=headers)
    assert response.headers["content-type"].startswith("text/csv")
    assert response.text.split("\r\n") == [
        "date,logs_count,logs_bytes,metrics_count,spans_count,rum_events",
        "2025-10-30,1,2,3,4,5",
        "2025-10-31,6,0,0,0,0",
        "",
    ]


ROUTES: dict[str, tuple[str, str, str]] = {
    "trace": ("GET", f"/query/traces/{TRACE}", "traces:read"),
    "trace search": ("POST", "/query/traces/search", "traces:read"),
    "services": ("GET", "/query/services", "traces:read"),
    "rum": ("POST", "/query/rum/search", "rum:read"),
    "usage": ("GET", "/query/usage", "usage:read"),
}


async def ask(asked: Asked, route: str, headers: dict[str, str]) -> httpx.Response:
    method, path, _ = ROUTES[route]
    if method == "POST":
        return await asked.http.post(path, json=DAY, headers=headers)
    return await asked.http.get(path, params={} if route == "trace" else DAY, headers=headers)


@pytest.mark.parametrize("route", ROUTES)
async def test_another_organization_sees_nothing(asked: Asked, route: str) -> None:
    await keep_a_trace(asked)
    await asked.keep("rum", {"type": "action"})
    await keep_usage(asked)
    mine = await ask(asked, route, asked.token())
    foreign = await ask(asked, route, asked.token(asked.theirs, "owner"))
    empty = {
        "trace": None,
        "trace search": {"traces": []},
        "services": {"services": []},
        "rum": {"events": []},
        "usage": {"days": []},
    }[route]
    assert mine.status_code == 200
    if empty is None:
        assert foreign.status_code == 404
        assert foreign.json() == (await asked.get(f"/query/traces/{TRACE}", OrgScope(str(uuid.uuid4())))).json()
        return
    (noun,) = empty
    assert len(mine.json()[noun]) > 0
    assert foreign.json().items() >= empty.items()
    if route == "usage":
        assert set(foreign.json()["month"]["to_date"].values()) == {0}


async def test_a_trace_id_that_two_organizations_use_is_two_traces(asked: Asked) -> None:
    await keep_a_trace(asked)
    await asked.keep("spans", span("theirs", service="secret"), scope=asked.theirs)
    await asked.keep("logs", {"trace_id": TRACE, "message": "secret"}, scope=asked.theirs)
    assert "secret" not in (await asked.get(f"/query/traces/{TRACE}")).text
    theirs = (await asked.get(f"/query/traces/{TRACE}", asked.theirs)).json()
    assert ([each["service"] for each in theirs["spans"]], len(theirs["logs"])) == (["secret"], 1)
    found = await asked.post("/query/traces/search", service="secret")
    assert found.json()["traces"] == []


@pytest.mark.parametrize("route", ["trace search", "rum"])
async def test_a_cursor_of_another_organization_shows_nothing(asked: Asked, route: str) -> None:
    await asked.keep("spans", *({"trace_id": str(i), "span_id": "1", "ts": NOON + i} for i in range(4)))
    await asked.keep("rum", *({"type": "action", "ts": NOON + i} for i in range(4)))
    path = ROUTES[route][1]
    cursor = (await asked.post(path, limit=1)).json()["next_cursor"]
    assert len((await asked.post(path, cursor=cursor)).json()[noun_of(route)]) == 3
    assert (await asked.post(path, asked.theirs, cursor=cursor)).json()[noun_of(route)] == []


def noun_of(route: str) -> str:
    return {"trace search": "traces", "rum": "events"}[route]


@pytest.mark.parametrize("route", ["trace search", "rum"])
async def test_an_organization_in_the_body_is_refused(asked: Asked, route: str) -> None:
    for name in ("org_id", "organization", "tenant"):
        response = await asked.post(ROUTES[route][1], asked.theirs, **{name: asked.ours.org_id})
        assert (response.status_code, response.json()["error"]["details"][0]["path"]) == (422, name)


@pytest.mark.parametrize("route", ROUTES)
async def test_who_has_no_good_token_gets_no_answer(asked: Asked, route: str) -> None:
    forged = Tokens("f" * 32).issue(asked.ours, role="owner", subject="x", lifetime_s=60)
    old = Tokens(SECRET, now=lambda: 1000).issue(asked.ours, role="owner", subject="x", lifetime_s=60)
    for headers in ({}, {"authorization": "Bearer x"}, *({"authorization": f"Bearer {t}"} for t in (forged, old))):
        response = await ask(asked, route, headers)
        assert (response.status_code, response.json()["error"]["code"]) == (401, "bad_token")


@pytest.mark.parametrize("route", ROUTES)
async def test_every_role_may_ask_and_one_without_the_permission_may_not(
    asked: Asked, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep_a_trace(asked)
    roles: tuple[Role, ...] = ("owner", "admin", "member", "viewer")
    for role in roles:
        assert (await ask(asked, route, asked.token(role=role))).status_code == 200
    # No role lacks a permission to read, so one is taken from the viewer.
    permission = ROUTES[route][2]
    monkeypatch.setitem(PERMISSIONS, "viewer", frozenset(PERMISSIONS["viewer"] - {permission}))
    response = await ask(asked, route, asked.token())
    assert (response.status_code, response.json()["error"]["code"]) == (403, "forbidden")
    assert permission in response.json()["error"]["message"]


async def test_the_logs_of_a_trace_need_their_own_permission(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    await keep_a_trace(asked)
    monkeypatch.setitem(PERMISSIONS, "viewer", frozenset(PERMISSIONS["viewer"] - {"logs:read"}))
    assert (await asked.get(f"/query/traces/{TRACE}")).status_code == 403
    assert (await asked.get(f"/query/traces/{TRACE}", logs_limit=0)).status_code == 200


WRONG = [
    ({"start": "yesterday"}, "start"),
    ({"end": "2025-10-30T00:00:00Z"}, "end"),
    ({"limit": 1001}, "limit"),
    ({"limit": "10"}, "limit"),
    ({"cursor": "garbage"}, "cursor"),
    ({"order": "sideways"}, "order"),
]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        *(("/query/traces/search", *wrong) for wrong in WRONG),
        *(("/query/rum/search", *wrong) for wrong in WRONG),
        ("/query/traces/search", {"min_duration_ms": -1}, "min_duration_ms"),
        ("/query/traces/search", {"min_duration_ms": 2, "max_duration_ms": 1}, "max_duration_ms"),
        ("/query/traces/search", {"status": "bad"}, "status"),
        ("/query/traces/search", {"attributes": {"a": "b"}}, "attributes"),
        ("/query/rum/search", {"session_id": ""}, "session_id"),
        ("/query/rum/search", {"type": 5}, "type"),
    ],
)
async def test_a_wrong_question_names_its_field(asked: Asked, path: str, body: dict[str, Any], field: str) -> None:
    response = await asked.post(path, **body)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["details"][0]["path"].partition(".")[0]) == (
        422, "invalid_field", field
    )  # fmt: skip


@pytest.mark.parametrize("path", ["/query/services", "/query/usage"])
async def test_a_wrong_range_names_its_field(asked: Asked, path: str) -> None:
    for parameters, field in (
        ({"start": "yesterday", "end": "2025-10-31"}, "start"),
        ({"start": "2025-10-31", "end": "2025-10-30"}, "end"),
    ):
        response = await asked.get(path, **parameters)
        assert (response.status_code, response.json()["error"]["details"][0]["path"]) == (422, field)


async def test_a_store_that_is_away_is_503(store_control_plane: ControlPlane) -> None:
    async with ClickHouse(ClickHouseAddress("127.0.0.1", 9, database="x")) as away:
        app = create_query_app(Stores.over(away, store_control_plane.usage), Tokens(SECRET), health=Health("query", {}))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://query") as http:
            token = Tokens(SECRET).issue(OrgScope(str(uuid.uuid4())), role="viewer", subject="t", lifetime_s=60)
            headers = {"authorization": f"Bearer {token}"}
            for method, path, _ in ROUTES.values():
                body = {"json": DAY} if method == "POST" else {"params": DAY if "traces" not in path else {}}
                response = await http.request(method, path, headers=headers, **body)  # type: ignore[arg-type]
                # Usage is the control plane's, which is there.
                assert response.status_code == (200 if path == "/query/usage" else 503), path
                assert ("retry-after" in response.headers) == (response.status_code == 503)


async def test_the_published_document_shows_every_route_with_an_example_that_is_true(asked: Asked) -> None:
    await keep_a_trace(asked)
    await asked.keep("rum", {"type": "action"})
    await keep_usage(asked)
    document = (await asked.http.get("/openapi.json")).json()
    for name, (method, path, _) in ROUTES.items():
        operation = document["paths"][path.replace(TRACE, "{trace_id}")][method.lower()]
        assert {"200", "401", "403", "422", "503"} <= set(operation["responses"])
        example = operation["responses"]["200"]["content"]["application/json"]["example"]
        parameters = DAY | {"hours": "true"} if name == "services" else {} if name == "trace" else DAY
        ways = {"json": DAY} if method == "POST" else {"params": parameters}
        answer = (await asked.http.request(method, path, headers=asked.token(), **ways)).json()  # type: ignore[arg-type]
        assert keys_of(example) == keys_of(answer), name
        if method == "POST":
            schema = document["components"]["schemas"][
                operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            ]
            sent = await asked.http.request(method, path, headers=asked.token(), json=schema["examples"][0])
            assert sent.status_code == 200, json.dumps(schema["examples"][0])


def keys_of(answer: Any) -> Any:
    """The fields of an answer, and of the last item of its lists; not of what senders and rules name."""
    free = {"attributes", "client", "scrubbed", "logs", "links", "error", "projected"}
    if isinstance(answer, dict):
        return {name: None if name in free else keys_of(value) for name, value in answer.items()}
    if isinstance(answer, list) and answer and isinstance(answer[-1], dict):
        # The events of a span are the sender's, those of RUM ours.
        return None if answer[-1].keys() <= {"name"} else keys_of(answer[-1])
    return None
