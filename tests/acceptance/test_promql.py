"""Series sent by HTTP and asked for with PromQL: values, times and names come back as they were sent, to their owner alone."""

from __future__ import annotations

import json
import random
import time
from datetime import UTC, datetime
from typing import Any

import httpx

MINUTE = 60
STALE_AT = 240
NAMES = {
    "job:up:sum": {"instance": 'a "quoted" \\ name', "path": "/a\nb\t{}", "empty": ""},
    "_underscore": {"π": "Größe 日本語 🙂", "le": "+Inf"},
    "http.requests": {"service.name": "with-dots", "a b": "spaces"},
    "températures": {"città": "Zürich"},
}
VALUES = [0, -0.0, 1.5, "NaN", "+Inf", "-Inf", 1e-320, 1.7976931348623157e308, 0.1 + 0.2, -12345678901234567]


def at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def point(name: str, seconds: float, value: Any, **labels: str) -> dict[str, Any]:
    return {"name": name, "timestamp": at(seconds), "value": value, "labels": labels}


def send(organization: Any, points: list[dict[str, Any]]) -> None:
    for first in range(0, len(points), 5000):
        body = json.dumps({"metrics": points[first : first + 5000]}).encode()
        response = organization.post(body, path="/v1/metrics")
        assert response.status_code == 202, response.text


def ask(organization: Any, path: str, **parameters: Any) -> Any:
    headers = {"authorization": f"Bearer {organization.token}"}
    response: httpx.Response = organization.instance.http.get(f"/api/v1/{path}", params=parameters, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()["data"]


def values_of(organization: Any, query: str, seconds: float) -> list[tuple[dict[str, str], str]]:
    found = ask(organization, "query", query=query, time=seconds)["result"]
    return [(each["metric"], each["value"][1]) for each in found]


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def test_what_is_sent_from_1970_on_is_answered_as_it_was_sent(instance: Any, organization: Any) -> None:
    points = [point("odd", i * MINUTE, value, n="1") for i, value in enumerate(VALUES)]
    points += [point("ends", 0, 1, n="1"), point("ends", STALE_AT, "StaleNaN", n="1")]
    points += [point(name, 0, 1, **labels) for name, labels in NAMES.items()]
    # Many small series, in no order.
    points += [point("many", i * 10, i * n, n=str(n), group=str(n % 7)) for n in range(400) for i in range(6)]
    random.Random(5).shuffle(points)
    sent = time.monotonic()
    send(organization, points)
    while not values_of(organization, "count(count_over_time(many[2m]) == 6) == 400", 50):
        assert time.monotonic() - sent < 20
        time.sleep(0.02)

    (series,) = ask(organization, "query", query="odd[1h]", time=3599)["result"]
    assert series["values"] == [
        [i * MINUTE, text]
        for i, text in enumerate(
            ["0", "-0", "1.5", "NaN", "+Inf", "-Inf", "1e-320", "1.7976931348623157e+308", "0.30000000000000004",
             "-12345678901234568"]
        )
    ]  # fmt: skip
    assert [values_of(organization, "ends", t) == [] for t in (0, STALE_AT - 1, STALE_AT, STALE_AT + 1)] == [
        False, False, True, True
    ]  # fmt: skip
    for name, labels in NAMES.items():
        kept = {label: text for label, text in labels.items() if text}
        conditions = ",".join(f"{quoted(k)}={quoted(v)}" for k, v in kept.items())
        assert values_of(organization, f"{{{quoted(name)},{conditions}}}", 1) == [({"__name__": name, **kept}, "1")]
    assert values_of(organization, "sum(many)", 50) == [({}, str(5 * sum(range(400))))]
    assert values_of(organization, "sum(rate(many[50s]))", 50) != []
    ranged = ask(organization, "query_range", query="sum(many)", start=0, end=50, step=10)["result"]
    assert ranged[0]["values"] == [[i * 10, str(i * sum(range(400)))] for i in range(6)]
    other = instance.organization(f"other-{time.time_ns()}")
    assert values_of(other, "many", 50) == []
    assert ask(other, "labels") == ask(other, "label/n/values") == []
    assert ask(other, "series", **{"match[]": "many"}) == []


def test_the_example_of_the_readme(organization: Any) -> None:
    body = {
        "metrics": [
            {"name": "http_requests_total", "timestamp": f"2025-10-31T10:0{minute}:00Z", "value": 10 * minute + host,
             "type": "counter", "labels": {"service": "api", "host": str(host)}}
            for minute in range(5) for host in (0, 2)
        ]
    }  # fmt: skip
    send(organization, body["metrics"])
    question = {
        "query": 'avg(http_requests_total{service="api"})',
        "start": "2025-10-31T00:00:00Z",
        "end": "2025-10-31T23:59:59Z",
        "step": "5m",
    }
    headers = {"authorization": f"Bearer {organization.token}"}
    deadline = time.monotonic() + 20
    while True:
        answer = organization.instance.http.post("/query/metrics", json=question, headers=headers).json()
        points = [each["points"] for each in answer["series"]]
        if points == [[[1761904800000, 1.0], [1761905100000, 41.0]]]:
            break
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)
    assert answer["source"] == "samples"

    ask_it = ("promql", question["query"], "--token", organization.token)
    table = organization.instance.aegis(*ask_it, "--until", "2025-10-31T10:05:00Z")
    assert [line.split()[1:4] for line in table.splitlines() if line.startswith("│")] == [["{}", "│", "41.0"]]
    bars = organization.instance.aegis(*ask_it, "--until", "2025-10-31T10:05:00Z", "--range", "5m", "--step", "1m")
    (line,) = (line for line in bars.splitlines() if line.startswith("│"))
    assert ("▁" in line, "█" in line, line.split()[-6:-1:2]) == (True, True, ["1", "41", "41.0"])
    asked = organization.instance.aegis(*ask_it, "--until", "2025-10-31T10:05:00Z", "--json")
    assert json.loads(asked)["series"] == [{"labels": {}, "points": [[1761905100000, 41.0]]}]
    assert "1:5" in organization.instance.aegis("promql", "sum(", "--token", organization.token, fails=True)
