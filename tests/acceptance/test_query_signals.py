"""Traces, services, RUM events and usage on a running instance: sent by HTTP, asked for by HTTP, and by nobody else."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
DAY = {"start": "2025-10-31T00:00:00Z", "end": "2025-11-01T00:00:00Z"}


def at(ms: int) -> str:
    return f"2025-10-31T12:00:00.{ms:03}Z"


def span(span_id: str, parent: str | None, begin_ms: int, duration_ms: float, **changes: Any) -> dict[str, Any]:
    return {"trace_id": TRACE.upper(), "span_id": span_id, "parent_span_id": parent, "service": "api", "kind": "server",
            "operation": f"op {span_id}", "start_time": at(begin_ms), "duration_ms": duration_ms} | changes  # fmt: skip


SPANS = [
    span("00f067aa0ba902b7", None, 100, 200, operation="GET /orders/{id}"),
    span("b7ad6b7169203331", "00f067aa0ba902b7", 120, 150, service="db", kind="client", status="error"),
    span("b7ad6b7169203332", "b7ad6b7169203331", 90, 40, service="disk", kind="internal"),
    span("b7ad6b7169203333", "1111111111111111", 150, 10),
]
LOG = {"timestamp": at(160), "service": "db", "level": "error", "message": "deadlock", "trace_id": TRACE}
EVENTS = [
    {"timestamp": at(0), "type": "page_view", "session_id": "s1", "page_path": "/orders"},
    {
        "timestamp": at(1),
        "type": "web_vital",
        "session_id": "s1",
        "page_path": "/orders",
        "name": "LCP",
        "value": 1840.5,
    },
    {"timestamp": at(2), "type": "error", "session_id": "s2", "error": {"type": "TypeError", "message": "x"}},
]


def send(organization: Any) -> None:
    for path, request in (
        ("/v1/traces", {"spans": SPANS}),
        ("/v1/rum", {"events": EVENTS}),
        ("/v1/logs", {"logs": [LOG]}),
    ):
        response = organization.post(json.dumps(request).encode(), path=path)
        assert response.status_code == 202, response.text


def get(organization: Any, path: str, **parameters: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {organization.token}", "accept": parameters.pop("accept", "*/*")}
    response: httpx.Response = organization.instance.http.get(path, params=parameters, headers=headers)
    return response


def search(organization: Any, signal: str, **conditions: Any) -> Any:
    headers = {"authorization": f"Bearer {organization.token}"}
    response = organization.instance.http.post(f"/query/{signal}/search", json=DAY | conditions, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


def in_time(question: Callable[[], bool], *, within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not question() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert question()


def arrived(organization: Any) -> bool:
    trace = get(organization, f"/query/traces/{TRACE}").json()
    events = search(organization, "rum")["events"]
    return (len(trace.get("spans", [])), len(trace.get("logs", [])), len(events)) == (4, 1, 3)


def test_what_is_sent_is_found_by_every_question_and_by_nobody_else(instance: Any, organization: Any) -> None:
    send(organization)
    in_time(lambda: arrived(organization))

    trace = get(organization, f"/query/traces/{TRACE}").json()
    spans = trace["spans"]
    assert [(each["operation"], each["depth"], each["problems"]) for each in spans] == [
        ("GET /orders/{id}", 0, []),
        ("op b7ad6b7169203331", 1, []),
        ("op b7ad6b7169203332", 2, ["clock_skew"]),
        ("op b7ad6b7169203333", 0, ["orphan"]),
    ]
    assert [each["self_time_ms"] for each in spans] == [50, 110, 40, 10]
    assert [each["critical_path"] for each in spans] == [True, True, True, False]
    assert (trace["duration_ms"], trace["errors"], trace["services"]) == (200, 1, ["api", "db", "disk"])
    assert [log["message"] for log in trace["logs"]] == ["deadlock"]

    (summary,) = search(organization, "traces", service="db", status="error", min_duration_ms=150)["traces"]
    assert (summary["trace_id"], summary["root_operation"], summary["span_count"]) == (TRACE, "GET /orders/{id}", 4)
    assert search(organization, "traces", service="db", min_duration_ms=151)["traces"] == []

    found = search(organization, "rum", type="web_vital", page_path="/orders", session_id="s1")["events"]
    assert [(event["name"], event["value"]) for event in found] == [("LCP", 1840.5)]
    page = search(organization, "rum", limit=2)
    rest = search(organization, "rum", limit=2, cursor=page["next_cursor"])
    assert [event["type"] for event in page["events"] + rest["events"]] == ["error", "web_vital", "page_view"]
    assert rest["next_cursor"] is None

    services = {each["service"]: each for each in get(organization, "/query/services", **DAY).json()["services"]}
    assert (services["api"]["count"], services["db"]["errors"]) == (2, 1)
    # Of two durations each quantile above a half is the longer one, and each is told to 2.5 %.
    assert 195 < services["api"]["p99_ms"] < 205

    printed = instance.aegis("trace", TRACE, "--org", organization.org_id)
    lines = [line.strip("│├└─ ") for line in printed.splitlines()]
    assert [line.split("  ")[1] for line in lines[1:5]] == [each["operation"] for each in spans]
    assert "200.000 ms, 4 spans, 1 errors" in lines[0]
    assert "clock skew" in lines[3]
    assert "orphan" in lines[4]
    assert lines[5].endswith("error  db  deadlock")
    day = ("--last", "1d", "--until", DAY["end"], "--token", organization.token)
    services_told = instance.aegis("services", *day)
    assert {line.split()[1] for line in services_told.splitlines() if line.startswith("│")} >= {"api", "db", "disk"}
    told = json.loads(instance.aegis("services", *day, "--calls", "--json"))
    calls = {(edge["caller"], edge["callee"]): (edge["count"], edge["errors"]) for edge in told["edges"]}
    assert calls == {("api", "db"): (1, 1), ("db", "disk"): (1, 0)}
    operations = get(organization, "/query/services/api/operations", **DAY).json()["operations"]
    assert [each["operation"] for each in operations] == ["GET /orders/{id}", "op b7ad6b7169203333"]

    assert json.loads(instance.aegis("trace", TRACE, "--token", organization.token, "--json"))["spans"] == spans

    stranger = instance.organization(f"{organization.org_id[:8]} stranger")
    assert "no span of it" in instance.aegis("trace", TRACE, "--org", stranger.org_id, fails=True)
    assert "say --org" in instance.aegis("trace", TRACE, fails=True)
    assert "cannot ask" in instance.aegis("trace", TRACE, "--token", "x", "--url", "http://127.0.0.1:9", fails=True)
    assert get(stranger, f"/query/traces/{TRACE}").status_code == 404
    assert search(stranger, "traces")["traces"] == search(stranger, "rum")["events"] == []
    assert search(stranger, "rum", cursor=page["next_cursor"])["events"] == []
    assert get(stranger, "/query/services", **DAY).json()["services"] == []
    assert get(stranger, "/query/service-map", **DAY).json()["nodes"] == []
    assert get(stranger, "/query/usage").json()["days"] == []

    # Limits of its own are known to the running gateway within seconds.
    two_days = DAY | {"end": "2025-11-02T00:00:00Z"}
    assert get(stranger, "/query/services", **two_days).status_code == 200
    instance.aegis("org", "set", stranger.org_id, "--query-limits", '{"viewer": {"range_days": 1}}')
    in_time(lambda: get(stranger, "/query/services", **two_days).status_code == 422)
    refused = get(stranger, "/query/services", **two_days).json()["error"]
    assert refused["details"] == [{"path": "range = 1 days", "message": "a time range of 2 days"}]
    assert get(organization, "/query/services", **two_days).status_code == 200
    wrong = ("org", "set", stranger.org_id, "--query-limits")
    assert "settings.query.viewer.seconds" in instance.aegis(*wrong, '{"viewer": {"seconds": 0}}', fails=True)
    assert "cannot read --query-limits" in instance.aegis(*wrong, "{", fails=True)


def test_usage_is_counted_within_seconds_and_given_as_csv(organization: Any) -> None:
    send(organization)
    # Around midnight (UTC) what is sent may belong to two days.
    wanted = {"logs_count": 1, "metrics_count": 0, "spans_count": 4, "rum_events": 3}

    def counted() -> bool:
        days = get(organization, "/query/usage", start=f"{datetime.now(UTC).year - 1}-12-31").json()["days"]
        return {name: sum(day[name] for day in days) for name in wanted} == wanted

    in_time(counted)
    month = get(organization, "/query/usage").json()["month"]
    assert month["to_date"]["spans_count"] == 4
    response = get(organization, "/query/usage", accept="text/csv")
    assert response.headers["content-type"].startswith("text/csv")
    assert response.text.splitlines()[0] == "date,logs_count,logs_bytes,metrics_count,spans_count,rum_events"
    assert len(response.text.splitlines()) >= 2
