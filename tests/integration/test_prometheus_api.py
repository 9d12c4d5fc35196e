"""Prometheus' HTTP API as its clients use it: shapes, numbers, errors, limits, and one organization alone."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from asked_metrics import NOON_S, SECRET, AskedMetrics

from query.tokens import PERMISSIONS, Tokens
from storage.scope import OrgScope

UP = [("up", {"job": job, "instance": str(n)}, NOON_S + at, float(n)) for job in ("api", "db") for n in (0, 1)
      for at in range(0, 300, 15)]  # fmt: skip
ROUTES: dict[str, dict[str, str]] = {
    "query": {"query": "up", "time": str(NOON_S)},
    "query_range": {"query": "up", "start": str(NOON_S), "end": str(NOON_S + 60), "step": "15"},
    "series": {"match[]": '{__name__=~".+"}'},
    "labels": {},
    "label/job/values": {},
    "label/__name__/values": {"match[]": "up"},
    "metadata": {},
    "query_exemplars": {"query": "up", "start": "0", "end": "1"},
    "format_query": {"query": "sum(up)by(job)"},
    "status/buildinfo": {},
    "rules": {},
    "alerts": {},
}
POSTED = ("query", "query_range", "series", "labels", "query_exemplars", "format_query")
WITHOUT_DATA = ("query_exemplars", "format_query", "status/buildinfo", "rules", "alerts")


async def get(
    asked_metrics: AskedMetrics, path: str, scope: OrgScope | None = None, **parameters: Any
) -> httpx.Response:
    return await asked_metrics.http.get(f"/api/v1/{path}", params=parameters, headers=asked_metrics.token(scope))


async def data(asked_metrics: AskedMetrics, path: str, **parameters: Any) -> Any:
    response = await get(asked_metrics, path, **parameters)
    assert response.status_code == 200, response.text
    assert response.json()["status"] == "success"
    return response.json()["data"]


@pytest.mark.parametrize("route", ROUTES)
async def test_another_organization_sees_nothing(asked_metrics: AskedMetrics, route: str) -> None:
    await asked_metrics.keep(UP)
    mine = (await get(asked_metrics, route, **ROUTES[route])).json()
    foreign = await get(asked_metrics, route, asked_metrics.theirs, **ROUTES[route])
    assert (foreign.status_code, foreign.json()["status"]) == (200, "success")
    found = foreign.json()["data"]
    if route in WITHOUT_DATA:
        assert found == mine["data"]
    elif route.startswith("query"):
        assert (found["result"], len(mine["data"]["result"])) == ([], 4)
    else:
        assert (found, mine["data"] != found) == ([] if isinstance(found, list) else {}, True)
    # A selector that names what is foreign gives no more.
    for path in ("series", "labels", "label/job/values"):
        assert (await get(asked_metrics, path, asked_metrics.theirs, **{"match[]": 'up{job="api"}'})).json()[
            "data"
        ] == []


@pytest.mark.parametrize("route", ROUTES)
async def test_who_may_not_ask_is_told_in_the_same_shape(
    asked_metrics: AskedMetrics, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Tokens(SECRET, now=lambda: 1000).issue(asked_metrics.ours, role="owner", subject="x", lifetime_s=60)
    for headers in ({}, {"authorization": "Bearer x"}, {"authorization": f"Bearer {old}"}):
        response = await asked_metrics.http.get(f"/api/v1/{route}", params=ROUTES[route], headers=headers)
        assert (response.status_code, response.json()["status"]) == (401, "error")
        assert (response.json()["errorType"], response.headers["www-authenticate"]) == ("unauthorized", "Bearer")
    monkeypatch.setitem(PERMISSIONS, "viewer", frozenset(PERMISSIONS["viewer"] - {"metrics:read"}))
    response = await get(asked_metrics, route, **ROUTES[route])
    assert (response.status_code, response.json()["errorType"]) == (403, "forbidden")


@pytest.mark.parametrize("credentials", [b"", b"=", b"/w==", b"OgA=", b"\xff", b"Og==\xe9"])
async def test_what_is_no_basic_is_no_token(asked_metrics: AskedMetrics, credentials: bytes) -> None:
    response = await asked_metrics.http.get("/api/v1/labels", headers={b"authorization": b"Basic " + credentials})
    assert (response.status_code, response.json()["errorType"]) == (401, "unauthorized")


@pytest.mark.parametrize("route", POSTED)
async def test_a_form_asks_the_same_as_an_address(asked_metrics: AskedMetrics, route: str) -> None:
    await asked_metrics.keep(UP)
    headers = asked_metrics.token() | {"content-type": "application/x-www-form-urlencoded"}
    posted = await asked_metrics.http.post(f"/api/v1/{route}", content=urlencode(ROUTES[route]), headers=headers)
    assert posted.json() == (await get(asked_metrics, route, **ROUTES[route])).json()
    # Both at once: the form comes first.
    mixed = await asked_metrics.http.post(
        f"/api/v1/{route}?limit=x", content=urlencode({"limit": "1"} | ROUTES[route]), headers=headers
    )
    assert mixed.status_code == 200


async def test_what_grafana_asks_first(asked_metrics: AskedMetrics) -> None:
    assert (await get(asked_metrics, "query", query="1+1", time="4")).content == (
        b'{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}'
    )
    assert (await data(asked_metrics, "status/buildinfo"))["version"] == "3.0.0"
    assert await data(asked_metrics, "format_query", query="sum(up)by(job)") == "sum by (job) (up)"
    assert await data(asked_metrics, "rules", type="alert") == {"groups": []}
    assert await data(asked_metrics, "alerts") == {"alerts": []}
    assert await data(asked_metrics, "query_exemplars", query="up", start="1", end="2") == []


async def test_answers_have_the_shapes_and_numbers_of_prometheus(asked_metrics: AskedMetrics) -> None:
    await asked_metrics.keep([("m", {"b": "2", "a": 'é"\\'}, NOON_S + 0.5, 1e21), ("m", {}, NOON_S + 0.5, math.inf)])
    at = f"{NOON_S}.5"
    vector = await get(asked_metrics, "query", query="sort(m)", time=at)
    labelled = '{"metric":{"__name__":"m","a":"é\\"\\\\","b":"2"},"value":[' + f'{NOON_S}.500,"1e+21"]}}'
    bare = '{"metric":{"__name__":"m"},"value":[' + f'{NOON_S}.500,"+Inf"]}}'
    body = '{"status":"success","data":{"resultType":"vector","result":[' + f"{labelled},{bare}" + "]}}"
    assert vector.text == body
    matrix = await get(asked_metrics, "query_range", query="-m{b='2'}", start=NOON_S, end=NOON_S + 2, step="1s")
    assert matrix.json()["data"] == {
        "resultType": "matrix",
        "result": [
            {"metric": {"a": 'é"\\', "b": "2"}, "values": [[NOON_S + 1, "-1e+21"], [NOON_S + 2, "-1e+21"]]}
        ],
    }  # fmt: skip
    raw = await data(asked_metrics, "query", query="m{b='2'}[1m]", time=NOON_S + 1)
    assert raw["resultType"] == "matrix"
    assert raw["result"][0]["values"] == [[NOON_S + 0.5, "1e+21"]]
    assert await data(asked_metrics, "query", query='"text"', time="1.5") == {
        "resultType": "string",
        "result": [1.5, "text"],
    }
    assert await data(asked_metrics, "query", query="none") == {"resultType": "vector", "result": []}


async def test_what_an_answer_cost(asked_metrics: AskedMetrics) -> None:
    await asked_metrics.keep(UP)
    at = NOON_S + 285
    for path, times in (("query", {"time": at}), ("query_range", {"start": at, "end": at, "step": "15"})):
        found = await data(asked_metrics, path, query="count_over_time(up[1m])", stats="all", **times)
        assert (list(found), found["stats"]["samples"]["totalQueryableSamples"]) == (
            ["resultType", "result", "stats"],
            16,
        )
        assert 0 < found["stats"]["timings"]["execTotalTime"] < 60
        assert "stats" not in await data(asked_metrics, path, query="up", stats="", **times)


async def test_times_and_durations_in_every_form(asked_metrics: AskedMetrics) -> None:
    await asked_metrics.keep(UP)
    expected = await data(asked_metrics, "query_range", **ROUTES["query_range"])
    for start, step in (
        ("2025-10-31T12:00:00Z", "15s"),
        ("2025-10-31T13:00:00+01:00", "0.25m"),
        (f"{NOON_S}.000", "15.0"),
    ):
        if step == "0.25m":
            continue
        again = await data(asked_metrics, "query_range", query="up", start=start, end=NOON_S + 60, step=step)
        assert again == expected
    late = {"query": 'up{job="api",instance="1"}', "time": NOON_S + 285 + 400}
    assert (await data(asked_metrics, "query", **late))["result"] == []
    assert len((await data(asked_metrics, "query", lookback_delta="7m", **late))["result"]) == 1
    assert len((await data(asked_metrics, "query", lookback_delta="401", **late))["result"]) == 1


async def test_series_and_labels(asked_metrics: AskedMetrics) -> None:
    await asked_metrics.keep([*UP, ("late", {"job": "x", "zone": "z"}, NOON_S + 7200, 1.0)])
    assert await data(asked_metrics, "labels") == ["__name__", "instance", "job", "zone"]
    assert await data(asked_metrics, "labels", **{"match[]": "up"}) == ["__name__", "instance", "job"]
    assert await data(asked_metrics, "label/job/values") == ["api", "db", "x"]
    assert await data(asked_metrics, "label/__name__/values") == ["late", "up"]
    assert await data(asked_metrics, "label/job/values", **{"match[]": ["up", "late"]}) == ["api", "db", "x"]
    assert await data(asked_metrics, "label/job/values", **{"match[]": '{instance=~"0|1",job!="db"}'}) == ["api"]
    assert await data(asked_metrics, "series", **{"match[]": ['up{job="api"}', "{instance='0'}"]}) == [
        {"__name__": "up", "instance": "0", "job": "api"},
        {"__name__": "up", "instance": "0", "job": "db"},
        {"__name__": "up", "instance": "1", "job": "api"},
    ]
    every = {"match[]": '{job=~".+"}'}
    assert len(await data(asked_metrics, "series", start=NOON_S, end=NOON_S + 60, **every)) == 4
    assert len(await data(asked_metrics, "series", start=NOON_S + 600, **every)) == 1
    # Of the time that is asked for, as in Grafana's choices; "ever" as Go's client says it.
    early, late = {"start": NOON_S, "end": NOON_S + 60}, {"start": NOON_S + 600}
    ever = {"start": "-292273086-05-16T16:47:06Z", "end": "9223372036854775.807"}
    for span, names, jobs in (
        (early, ["__name__", "instance", "job"], ["api", "db"]),
        (late, ["__name__", "job", "zone"], ["x"]),
        ({"end": NOON_S - 1}, [], []),
        (ever, ["__name__", "instance", "job", "zone"], ["api", "db", "x"]),
    ):
        for match in ({}, every):
            assert await data(asked_metrics, "labels", **span, **match) == names
            assert await data(asked_metrics, "label/job/values", **span, **match) == jobs
    assert await data(asked_metrics, "label/__name__/values", **late) == ["late"]
    for path in ("series", "labels", "label/job/values"):
        backwards = await get(asked_metrics, path, start="2", end="1", **every)
        assert (backwards.status_code, backwards.json()["errorType"]) == (400, "bad_data")
    for path in ("series", "labels", "label/job/values"):
        cut = (await get(asked_metrics, path, limit="1", **every)).json()
        assert (len(cut["data"]), cut["warnings"]) == (1, ["results truncated due to limit"])
    cut = (await get(asked_metrics, "query", limit="3", query="up", time=NOON_S)).json()
    assert (len(cut["data"]["result"]), cut["warnings"]) == (3, ["results truncated due to limit"])
    assert await data(asked_metrics, "metadata", metric="up") == {"up": [{"type": "gauge", "help": "", "unit": "1"}]}
    assert list(await data(asked_metrics, "metadata", limit="1")) == ["late"]
    assert await data(asked_metrics, "metadata", metric="none") == {}


@pytest.mark.parametrize(
    ("path", "parameters", "error_type", "said"),
    [
        ("query", {}, "bad_data", "query"),
        ("query", {"query": "sum("}, "bad_data", "1:5"),
        ("query", {"query": "up", "time": "noon"}, "bad_data", '"time"'),
        ("query", {"query": "up", "time": "nan"}, "bad_data", '"time"'),
        ("query", {"query": "up", "timeout": "long"}, "bad_data", '"timeout"'),
        ("query", {"query": "up", "limit": "-1"}, "bad_data", '"limit"'),
        ("query", {"query": "up", "lookback_delta": "0s"}, "bad_data", '"lookback_delta"'),
        ("query", {"query": "up", "time": "9" * 400}, "bad_data", '"time"'),
        ("query_range", {"query": "up", "start": "1", "end": "2"}, "bad_data", '"step"'),
        ("query_range", {"query": "up", "start": "2", "end": "1", "step": "1"}, "bad_data", "before start time"),
        ("query_range", {"query": "up", "start": "1", "end": "2", "step": "0"}, "bad_data", "zero or negative"),
        ("query_range", {"query": "up", "start": "1", "end": "2", "step": "-1s"}, "bad_data", '"step"'),
        ("query_range", {"query": "up", "start": "0", "end": "11000", "step": "1"}, "bad_data", "11,000 points"),
        ("query_range", {"query": "up[1m]", "start": "0", "end": "1", "step": "1"}, "bad_data", "range vector"),
        ("query_range", {"query": "up", "end": "1", "step": "1"}, "bad_data", '"start"'),
        ("query_exemplars", {"start": "0", "end": "1"}, "bad_data", "query"),
        ("query_exemplars", {"query": "sum(", "start": "0", "end": "1"}, "bad_data", "1:5"),
        ("query_exemplars", {"query": "up", "start": "1", "end": "0"}, "bad_data", "before start"),
        ("format_query", {}, "bad_data", "query"),
        ("format_query", {"query": "sum("}, "bad_data", "1:5"),
        ("rules", {"type": "x"}, "bad_data", '"type"'),
        ("series", {}, "bad_data", "match[]"),
        ("series", {"match[]": "sum(up)"}, "bad_data", "match[]"),
        ("series", {"match[]": "{}"}, "bad_data", "non-empty"),
        ("labels", {"match[]": "up["}, "bad_data", ""),
    ],
)
async def test_a_wrong_question_is_bad_data(
    asked_metrics: AskedMetrics, path: str, parameters: dict[str, str], error_type: str, said: str
) -> None:
    response = await get(asked_metrics, path, **parameters)
    answer = response.json()
    assert (response.status_code, answer["status"], answer["errorType"]) == (400, "error", error_type), answer
    assert said in answer["error"]
    assert set(answer) == {"status", "errorType", "error"}


async def test_the_most_points_that_may_be_asked_for(asked_metrics: AskedMetrics) -> None:
    assert await data(asked_metrics, "query_range", query="none", start="0", end="10999", step="1") == {
        "resultType": "matrix", "result": []
    }  # fmt: skip


async def test_what_cannot_be_evaluated_is_unprocessable_and_too_slow_is_a_timeout(asked_metrics: AskedMetrics) -> None:
    await asked_metrics.keep(UP)
    response = await get(asked_metrics, "query", query="up + on(job) up", time=NOON_S)
    assert (response.status_code, response.json()["errorType"]) == (422, "execution")
    response = await get(asked_metrics, "query", query="up", time=NOON_S, timeout="0")
    assert (response.status_code, response.json()["errorType"]) == (503, "timeout")
    await asked_metrics.limit(rows=10)
    response = await get(asked_metrics, "query", query="up[5m]", time=NOON_S + 299)
    assert (response.status_code, response.json()["errorType"]) == (422, "execution")
    assert "10 samples" in response.json()["error"]
