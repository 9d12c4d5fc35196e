"""What questions may cost, over the whole application and real stores: each route keeps to the limits of who asks."""

from __future__ import annotations

import asyncio
import itertools
from types import SimpleNamespace

import httpx
import pytest
from asked_queries import DAY, TRACE, Asked, keep_a_trace, keep_usage

ROUTES = {
    "logs": ("POST", "/query/logs/search"),
    "log histogram": ("POST", "/query/logs/histogram"),
    "log facets": ("POST", "/query/logs/facets"),
    "trace": ("GET", f"/query/traces/{TRACE}"),
    "trace search": ("POST", "/query/traces/search"),
    "services": ("GET", "/query/services"),
    "operations": ("GET", "/query/services/api/operations"),
    "service map": ("GET", "/query/service-map"),
    "rum": ("POST", "/query/rum/search"),
}


async def ask(asked: Asked, route: str, headers: dict[str, str]) -> httpx.Response:
    method, path = ROUTES[route]
    ways = {"json": DAY} if method == "POST" else {"params": {} if route == "trace" else DAY}
    return await asked.http.request(method, path, headers=headers, **ways)  # type: ignore[arg-type]  # a body of keywords


async def keep_all(asked: Asked) -> None:
    await keep_a_trace(asked)
    await asked.keep("rum", {"type": "action"})


@pytest.mark.parametrize("route", ROUTES)
async def test_every_route_keeps_to_the_bytes_of_the_role(asked: Asked, route: str) -> None:
    await keep_all(asked)
    assert (await ask(asked, route, asked.token())).status_code == 200
    await asked.limit(viewer={"bytes": 1})
    refused = await ask(asked, route, asked.token())
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "too_expensive")
    assert refused.json()["error"]["details"][0]["path"] == "max_bytes_to_read = 1"
    assert (await ask(asked, route, asked.token(role="admin"))).status_code == 200
    assert (await ask(asked, route, asked.token(asked.theirs))).status_code == (404 if route == "trace" else 200)


@pytest.mark.parametrize(
    "route", ["logs", "log histogram", "log facets", "trace search", "services", "operations", "service map", "rum"]
)
async def test_every_range_is_bounded(asked: Asked, route: str) -> None:
    await asked.limit(viewer={"range_days": 1})
    assert (await ask(asked, route, asked.token())).status_code == 200
    method, path = ROUTES[route]
    longer = DAY | {"end": "2025-11-01T01:00:00Z"}
    ways = {"json": longer} if method == "POST" else {"params": longer}
    refused = await asked.http.request(method, path, headers=asked.token(), **ways)  # type: ignore[arg-type]  # as above
    assert refused.status_code == 422
    assert refused.json()["error"]["details"] == [{"path": "range = 1 days", "message": "a time range of 1.042 days"}]


async def test_a_page_that_stops_early_is_not_refused_for_the_rows_behind_it(asked: Asked) -> None:
    await asked.keep("logs", *({"message": "x" * 50, "service": f"s{i % 7}", "level": "info"} for i in range(30_000)))
    await asked.limit(viewer={"rows": 1000, "bytes": 4_000_000})
    page = await asked.post("/query/logs/search", limit=10)
    assert (page.status_code, len(page.json()["logs"])) == (200, 10)
    assert page.json()["stats"]["rows_read"] < 20_000
    await asked.keep("spans", *({"trace_id": "t", "span_id": str(i)} for i in range(30_000)))
    whole = await asked.get("/query/traces/t")
    assert whole.json()["error"]["details"][0]["path"] == "max_rows_to_read = 1000"


async def test_the_fields_of_a_question_share_its_seconds(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    await asked.limit(viewer={"seconds": 3})
    clock = SimpleNamespace(monotonic=itertools.count(0.0, 2.0).__next__)
    monkeypatch.setattr("query.log_facets.time", clock)
    assert (await asked.post("/query/logs/facets", fields=["service"])).status_code == 200
    refused = await asked.post("/query/logs/facets", fields=["service", "level"])
    assert refused.status_code == 422
    assert refused.json()["error"]["details"][0]["path"] == "max_execution_time = 3"


async def test_questions_past_the_turns_of_an_organization_are_429_and_come_again(asked: Asked) -> None:
    await keep_usage(asked)
    await asked.limit(viewer={"concurrent": 1})
    turns = asked.admission
    await turns.take(asked.ours, "viewer")
    refused = await asked.get("/query/usage")
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
    assert (refused.headers["retry-after"], refused.headers["ratelimit-limit"]) == ("1", "1")
    assert (await asked.get("/query/usage", asked.theirs)).status_code == 200
    waiting = asyncio.create_task(asked.get("/query/usage"))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    turns.let_go(asked.ours)
    assert (await waiting).status_code == 200
    assert turns.under_way(asked.ours) == 0
    for wrong in ({"start": "yesterday"}, {"start": "1970-01-01", "end": "2262-01-01"}):
        assert (await asked.get("/query/usage", **wrong)).status_code == 422
    assert turns.under_way(asked.ours) == 0
