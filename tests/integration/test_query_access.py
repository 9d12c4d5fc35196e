"""Who may ask about traces, services, RUM events and usage, what a wrong question is told, and what is published of all that."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import httpx
import pytest
from asked_metrics import keep_samples
from asked_queries import DAY, MS, NOON, SECRET, TRACE, Asked, keep_a_trace, keep_usage, span

from query.app import Stores, create_query_app
from query.tokens import PERMISSIONS, Role, Tokens
from storage.clickhouse import ClickHouse, ClickHouseAddress
from storage.control_plane import ControlPlane
from storage.scope import OrgScope
from storage.timescale import Timescale, TimescaleAddress
from web.health import Health

ROUTES: dict[str, tuple[str, str, str]] = {
    "log search": ("POST", "/query/logs/search", "logs:read"),
    "log histogram": ("POST", "/query/logs/histogram", "logs:read"),
    "log facets": ("POST", "/query/logs/facets", "logs:read"),
    "log context": ("POST", "/query/logs/context", "logs:read"),
    "trace": ("GET", f"/query/traces/{TRACE}", "traces:read"),
    "trace search": ("POST", "/query/traces/search", "traces:read"),
    "services": ("GET", "/query/services", "traces:read"),
    "operations": ("GET", "/query/services/api/operations", "traces:read"),
    "service map": ("GET", "/query/service-map", "traces:read"),
    "rum": ("POST", "/query/rum/search", "rum:read"),
    "usage": ("GET", "/query/usage", "usage:read"),
    "metrics": ("POST", "/query/metrics", "metrics:read"),
    "metric catalog": ("GET", "/query/metrics/catalog", "metrics:read"),
    "metric labels": ("GET", "/query/metrics/labels", "metrics:read"),
    "label values": ("GET", "/query/metrics/labels/service", "metrics:read"),
    "active series": ("GET", "/query/metrics/active", "metrics:read"),
    "monitor preview": ("POST", "/monitors/preview", "monitors:read"),
}
QUESTIONS: dict[str, dict[str, Any]] = {
    "metrics": {"query": "requests_total", "step": "5m"},
    "monitor preview": {"monitor": {"name": "m", "kind": "metric", "metric": "requests_total", "critical": 300}},
}
"""What a question has besides its day."""
BODIES: dict[str, dict[str, Any]] = {"log context": {"id": "0", "timestamp": NOON + MS}}
"""The question itself where it has no day."""


SAMPLES = [("requests_total", {"service": "api"}, NOON / 1e9 + at, float(at)) for at in range(0, 600, 15)]


async def ask(asked: Asked, route: str, headers: dict[str, str]) -> httpx.Response:
    method, path, _ = ROUTES[route]
    if method == "POST":
        return await asked.http.post(path, json=body_of(route), headers=headers)
    return await asked.http.get(path, params={} if route == "trace" else DAY, headers=headers)


def body_of(route: str) -> dict[str, Any]:
    return BODIES.get(route) or DAY | QUESTIONS.get(route, {})


@pytest.mark.parametrize("route", ROUTES)
async def test_another_organization_sees_nothing(asked: Asked, route: str) -> None:
    await keep_a_trace(asked)
    await asked.keep("rum", {"type": "action"})
    await keep_usage(asked)
    await keep_samples(asked.timescale, asked.ours, SAMPLES)
    mine = await ask(asked, route, asked.token())
    foreign = await ask(asked, route, asked.token(asked.theirs, "owner"))
    no_values = {"values": [], "different": 0, "logs": 0, "exact": True}
    empty = {
        "log search": {"logs": []},
        "log histogram": {"total": 0},
        "log facets": {"facets": [{"field": field, **no_values} for field in ("service", "level", "host")]},
        "log context": None,
        "trace": None,
        "trace search": {"traces": []},
        "services": {"services": []},
        "operations": {"operations": []},
        "service map": {"nodes": []},
        "rum": {"events": []},
        "usage": {"days": []},
        "metrics": {"series": []},
        "metric catalog": {"metrics": []},
        "metric labels": {"labels": []},
        "label values": {"values": []},
        "active series": {"active_series": 0},
        "monitor preview": {"transitions": []},
    }[route]
    assert mine.status_code == 200
    if empty is None:
        assert foreign.status_code == 404
        assert foreign.json() == (await ask(asked, route, asked.token(OrgScope(str(uuid.uuid4()))))).json()
        return
    (noun,) = empty
    assert mine.json()[noun] not in ([], 0)
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


@pytest.mark.parametrize("route", ["log search", "trace search", "rum"])
async def test_a_cursor_of_another_organization_shows_nothing(asked: Asked, route: str) -> None:
    await asked.keep("spans", *({"trace_id": str(i), "span_id": "1", "ts": NOON + i} for i in range(4)))
    await asked.keep("rum", *({"type": "action", "ts": NOON + i} for i in range(4)))
    await asked.keep("logs", *({"ts": NOON + i} for i in range(4)))
    path = ROUTES[route][1]
    cursor = (await asked.post(path, limit=1)).json()["next_cursor"]
    assert len((await asked.post(path, cursor=cursor)).json()[noun_of(route)]) == 3
    assert (await asked.post(path, asked.theirs, cursor=cursor)).json()[noun_of(route)] == []


def noun_of(route: str) -> str:
    return {"log search": "logs", "trace search": "traces", "rum": "events"}[route]


@pytest.mark.parametrize("route", ["log search", "trace search", "rum"])
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
        ("/query/traces/search", {"attributes": {"": "b"}}, "attributes"),
        ("/query/traces/search", {"attributes": {"a": [1]}}, "attributes"),
        ("/query/traces/search", {"attributes": {"a": 1e300}}, "attributes"),
        ("/query/traces/search", {"attributes": {"a": 10**400}}, "attributes"),
        ("/query/logs/search", {"filters": [{"field": "a", "op": "!=", "value": -(10**400)}]}, "filters[0]"),
        ("/query/traces/search", {"filters": [{"field": "a", "op": "like", "value": "x"}]}, "filters[0]"),
        ("/query/traces/search", {"filters": [{"field": "a", "op": "regex", "value": "("}]}, "filters[0]"),
        ("/query/traces/search", {"filters": [{"field": "a", "op": ">", "value": "x"}]}, "filters[0]"),
        ("/query/rum/search", {"session_id": ""}, "session_id"),
        ("/query/rum/search", {"type": 5}, "type"),
        ("/query/rum/search", {"is_bot": "yes"}, "is_bot"),
        ("/query/rum/search", {"min_value": 2, "max_value": 1}, "max_value"),
        ("/query/rum/search", {"user_id": "u" * 201}, "user_id"),
    ],
)
async def test_a_wrong_question_names_its_field(asked: Asked, path: str, body: dict[str, Any], field: str) -> None:
    response = await asked.post(path, **body)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["details"][0]["path"].partition(".")[0]) == (
        422, "invalid_field", field
    )  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
async def test_two_authorization_headers_are_refused(asked: Asked, route: str) -> None:
    method, path, _ = ROUTES[route]
    tokens = [("authorization", asked.token(scope)["authorization"]) for scope in (asked.ours, asked.theirs)]
    response = await asked.http.request(method, path, headers=tokens)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "duplicate_header")


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({}, b"{}", (415, "unsupported_media_type")),
        ({"content-type": "text/plain"}, b"{}", (415, "unsupported_media_type")),
        ({"content-type": "application/x-www-form-urlencoded"}, b"{}", (415, "unsupported_media_type")),
        (
            {"content-type": "application/json", "content-encoding": "gzip"},
            b"\x1f\x8b\x08",
            (415, "unsupported_encoding"),
        ),
        ({"content-type": "application/json"}, b"\xff", (400, "malformed_json")),
        ({"content-type": "application/json"}, b"{", (400, "malformed_json")),
        ({"content-type": "application/json"}, b'{"start": ' + b"1" * 5000 + b"}", (400, "malformed_json")),
        ({"content-type": "application/json"}, b'{"start": ' + b"[" * 30_000, (400, "malformed_json")),
        ({"content-type": "application/json; charset=utf-8"}, b"[]", (422, "invalid_field")),
        ({"content-type": "application/json"}, b"", (422, "invalid_field")),
    ],
)
async def test_what_is_no_json_is_told_why(
    asked: Asked, headers: dict[str, str], body: bytes, expected: tuple[int, str]
) -> None:
    response = await asked.http.post("/query/logs/search", content=body, headers=asked.token() | headers)
    assert (response.status_code, response.json()["error"]["code"]) == expected


async def test_a_body_of_unknown_fields_is_told_of_some_of_them(asked: Asked) -> None:
    response = await asked.post("/query/logs/search", **{f"f{i}": i for i in range(3000)})
    assert (response.status_code, len(response.json()["error"]["details"])) == (422, 100)


async def test_names_with_slashes_have_their_routes(asked: Asked) -> None:
    await asked.keep("spans", {"trace_id": "odd/id", "span_id": "1", "service": "team/api", "operation": "op"})
    await keep_samples(asked.timescale, asked.ours, [("up", {"k/x": "a"}, NOON / 1e9, 1.0)])
    for name in ("team/api", "team%2Fapi"):
        found = await asked.get(f"/query/services/{name}/operations", **DAY)
        assert [each["operation"] for each in found.json()["operations"]] == ["op"]
    assert (await asked.get("/query/traces/odd/id")).json()["span_count"] == 1
    assert (await asked.get("/query/metrics/labels/k/x")).json()["values"] == ["a"]
    assert (await asked.get("/api/v1/label/k/x/values")).json()["data"] == ["a"]


async def test_a_slash_behind_a_route_is_another_path(asked: Asked) -> None:
    response = await asked.get("/query/usage/")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


async def test_unix_seconds_with_a_fraction_are_a_time_in_an_address_too(asked: Asked) -> None:
    await keep_a_trace(asked)
    begin = f"{NOON // 10**9}.000"
    found = await asked.get("/query/service-map", start=begin, end=f"{NOON // 10**9}.015")
    assert found.json()["start"] == "2025-10-31T12:00:00.000Z"
    assert found.json()["nodes"]


@pytest.mark.parametrize(
    "path", ["/query/services", "/query/services/api/operations", "/query/service-map", "/query/usage"]
)
async def test_a_wrong_range_names_its_field(asked: Asked, path: str) -> None:
    for parameters, field in (
        ({"start": "yesterday", "end": "2025-10-31"}, "start"),
        ({"start": "2025-10-31", "end": "2025-10-30"}, "end"),
    ):
        response = await asked.get(path, **parameters)
        assert (response.status_code, response.json()["error"]["details"][0]["path"]) == (422, field)


async def test_a_store_that_is_away_is_503(store_control_plane: ControlPlane) -> None:
    timescale = await Timescale.open(TimescaleAddress("127.0.0.1", 9, "x", "x"), connect_timeout_s=1.0)
    async with ClickHouse(ClickHouseAddress("127.0.0.1", 9, database="x")) as away:
        stores = Stores.over(away, store_control_plane.usage, timescale)
        app = create_query_app(stores, Tokens(SECRET), health=Health("query", {}))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://query") as http:
            token = Tokens(SECRET).issue(OrgScope(str(uuid.uuid4())), role="viewer", subject="t", lifetime_s=60)
            headers = {"authorization": f"Bearer {token}"}
            for name, (method, path, _) in ROUTES.items():
                body = {"json": body_of(name)} if method == "POST" else {"params": DAY if "traces" not in path else {}}
                response = await http.request(method, path, headers=headers, **body)  # type: ignore[arg-type]  # a body of keywords
                # Usage is the control plane's, which is there.
                assert response.status_code == (200 if path == "/query/usage" else 503), path
                assert ("retry-after" in response.headers) == (response.status_code == 503)
                # What the driver said stays in our log: addresses, and how ClickHouse and PostgreSQL put it.
                assert response.status_code == 200 or re.fullmatch(
                    r"cannot [A-Za-z ]+: (ClickHouse|PostgreSQL) is away", response.json()["error"]["message"]
                )
    await timescale.close()


async def test_the_published_document_shows_every_route_with_an_example_that_is_true(asked: Asked) -> None:
    await keep_a_trace(asked)
    await asked.keep(
        "logs", {"record_id": 8423011950823473153, "ts": NOON - 2 * 3600 * 1000 * MS, "message": "of the example"}
    )
    await asked.keep("rum", {"type": "action"})
    await keep_usage(asked)
    await keep_samples(asked.timescale, asked.ours, SAMPLES)
    document = (await asked.http.get("/openapi.json")).json()
    for name, (method, path, _) in ROUTES.items():
        operation = document["paths"][
            path.replace(TRACE, "{trace_id}")
            .replace("services/api/", "services/{service}/")
            .replace("labels/service", "labels/{label}")
        ][method.lower()]
        refusals = {"200", "401", "403", "422", "503"} | ({"400", "413", "415"} if method == "POST" else set())
        assert refusals <= set(operation["responses"])
        example = operation["responses"]["200"]["content"]["application/json"]["example"]
        parameters = DAY | {"step": "1h"} if name in ("services", "operations") else {} if name == "trace" else DAY
        ways = {"json": body_of(name)} if method == "POST" else {"params": parameters}
        answer = (await asked.http.request(method, path, headers=asked.token(), **ways)).json()  # type: ignore[arg-type]  # as above
        assert keys_of(example) == keys_of(answer), name
        if method == "POST":
            schema = document["components"]["schemas"][
                operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            ]
            sent = await asked.http.request(method, path, headers=asked.token(), json=schema["examples"][0])
            assert sent.status_code == 200, json.dumps(schema["examples"][0])


def keys_of(answer: Any) -> Any:
    """The fields of an answer, and of the last item of its lists; not of what senders and rules name."""
    free = {
        "attributes",
        "client",
        "scrubbed",
        "logs",
        "links",
        "error",
        "projected",
        "labels",
        "groups",
        "before",
        "values",
        "after",
    }
    if isinstance(answer, dict):
        return {name: None if name in free else keys_of(value) for name, value in answer.items()}
    if isinstance(answer, list) and answer and isinstance(answer[-1], dict):
        # The events of a span are the sender's, those of RUM ours.
        return None if answer[-1].keys() <= {"name"} else keys_of(answer[-1])
    return None
