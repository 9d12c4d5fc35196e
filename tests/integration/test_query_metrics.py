"""What questions about metrics answer: PromQL with points, its limits and refusals, and what there is to ask about."""

from __future__ import annotations

import math
from typing import Any

import pytest
from asked_metrics import NOON_S, AskedMetrics

REQUESTS = [
    ("http_requests_total", {"service": service, "host": host}, NOON_S + at, base + at)
    for service, host, base in (("api", "a", 0.0), ("api", "b", 100.0), ("web", "a", 1000.0))
    for at in range(0, 1800, 15)
]


async def query(asked_metrics: AskedMetrics, text: str, **times: Any) -> Any:
    response = await asked_metrics.http.post(
        "/query/metrics", json={"query": text} | times, headers=asked_metrics.token()
    )
    assert response.status_code == 200, response.text
    return response.json()


async def test_the_example_of_a_whole_day(asked_metrics: AskedMetrics) -> None:
    await asked_metrics.keep(REQUESTS)
    response = await asked_metrics.post(
        "/query/metrics",
        start="2025-10-31T00:00:00Z",
        query='avg(http_requests_total{service="api"})',
        end="2025-10-31T23:59:59Z",
        step="5m",
    )
    answer = response.json()
    (series,) = answer["series"]
    assert series["labels"] == {}
    # The last sample counts for five minutes.
    expected = [[(NOON_S + at) * 1000, 50.0 + at] for at in range(0, 1800, 300)] + [[(NOON_S + 1800) * 1000, 1835.0]]
    assert series["points"] == expected
    assert answer["source"] == "samples"
    assert (answer["stats"]["series"], answer["stats"]["samples"]) == (2, 240)


async def test_an_instant_a_range_of_samples_and_values_that_json_has_not(asked_metrics: AskedMetrics) -> None:
    values = [1.5, math.nan, math.inf, -math.inf, 0.0]
    await asked_metrics.keep([("m", {"n": "é"}, NOON_S + i, value) for i, value in enumerate(values)])
    answer = await query(asked_metrics, "m[1m]", time=NOON_S + 30)
    (series,) = answer["series"]
    assert series["labels"] == {"__name__": "m", "n": "é"}
    assert series["points"] == [
        [(NOON_S + i) * 1000, value] for i, value in enumerate([1.5, "NaN", "+Inf", "-Inf", 0.0])
    ]
    assert (await query(asked_metrics, "1 + 1", time="2025-10-31T12:00:00Z"))["series"] == [
        {"labels": {}, "points": [[NOON_S * 1000, 2.0]]}
    ]
    assert (await query(asked_metrics, "m", time=NOON_S - 1))["series"] == []


@pytest.mark.parametrize(
    ("question", "field"),
    [
        ({"query": "sum("}, "query"),
        ({"query": 'm{a=~"("}'}, "query"),
        ({"query": "{}"}, "query"),
        ({"query": '"text"'}, "query"),
        ({"query": "m", "step": "0s"}, "step"),
        ({"query": "m", "step": "sideways"}, "step"),
        ({"query": "m", "step": 1, "end": "2025-11-02T00:00:00Z"}, "step"),
        ({"query": "m", "step": "5m", "end": "2025-10-30T00:00:00Z"}, "end"),
        ({"query": "m", "step": "5m", "start": "yesterday"}, "start"),
        ({"query": "m", "time": "2025-11-02T00:00:00Z"}, "time"),
        ({"query": "m[5m]", "step": "5m"}, "query"),
        ({"query": "", "step": "5m"}, "query"),
        ({"query": "m", "step": "5m", "org_id": "x"}, "org_id"),
    ],
)
async def test_a_wrong_question_names_its_field(
    asked_metrics: AskedMetrics, question: dict[str, Any], field: str
) -> None:
    given = {} if "time" in question or "step" in question else {"step": "5m"}
    day = {"start": "2025-10-31T00:00:00Z", "end": "2025-11-01T00:00:00Z"}
    response = await asked_metrics.post("/query/metrics", **(day | given | question))
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (422, "invalid_field"), error
    assert error["details"][0]["path"].partition(".")[0] == field


async def test_past_a_limit_the_figure_is_said(asked_metrics: AskedMetrics) -> None:
    await asked_metrics.keep(REQUESTS)
    times = {"time": NOON_S + 1800}
    for limits, said in (
        ({"range_days": 1}, None),
        ({"rows": 100}, "100 samples"),
        ({"result_bytes": 1024}, "result_bytes = 1024"),
    ):
        await asked_metrics.limit(**limits)
        body = {"query": "http_requests_total[30m]", **times}
        response = await asked_metrics.http.post("/query/metrics", json=body, headers=asked_metrics.token())
        if said is None:
            assert response.status_code == 200
        else:
            assert (response.status_code, response.json()["error"]["code"]) == (422, "too_expensive")
            assert said in response.json()["error"]["message"]
    await asked_metrics.limit(range_days=1)
    body = {"query": "m", "start": NOON_S, "end": NOON_S + 2 * 86400, "step": "1h"}
    response = await asked_metrics.http.post("/query/metrics", json=body, headers=asked_metrics.token())
    assert "1 days" in response.json()["error"]["message"]


async def test_what_there_is_to_ask_about(asked_metrics: AskedMetrics) -> None:
    await asked_metrics.keep([*REQUESTS, ("up", {}, NOON_S, 1.0)])
    catalog = (await asked_metrics.get("/query/metrics/catalog")).json()
    assert catalog == {
        "metrics": [
            {"name": "http_requests_total", "type": "gauge", "unit": "1", "series": 3},
            {"name": "up", "type": "gauge", "unit": "1", "series": 1},
        ],
        "next_cursor": None,
    }
    first = (await asked_metrics.get("/query/metrics/catalog", limit=1)).json()
    assert ([m["name"] for m in first["metrics"]], first["next_cursor"]) == (["http_requests_total"],) * 1 + (
        "http_requests_total",
    )
    rest = (await asked_metrics.get("/query/metrics/catalog", limit=2, cursor=first["next_cursor"])).json()
    assert [m["name"] for m in rest["metrics"]] == ["up"]
    assert [m["name"] for m in (await asked_metrics.get("/query/metrics/catalog", prefix="u")).json()["metrics"]] == [
        "up"
    ]
    assert (await asked_metrics.get("/query/metrics/labels")).json() == {"labels": ["__name__", "host", "service"]}
    assert (await asked_metrics.get("/query/metrics/labels/host")).json() == {"values": ["a", "b"]}
    assert (await asked_metrics.get("/query/metrics/labels/__name__")).json() == {
        "values": ["http_requests_total", "up"]
    }
    assert (await asked_metrics.get("/query/metrics/labels/none")).json() == {"values": []}
    for start, end, count in ((0, 3600, 4), (60, 3600, 3), (3600, 7200, 0)):
        active = await asked_metrics.get("/query/metrics/active", start=str(NOON_S + start), end=str(NOON_S + end))
        assert active.json() == {"active_series": count}
