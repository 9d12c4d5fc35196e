"""POST /v1/metrics, /v1/traces and /v1/rum on a running instance: what is accepted is in its table, what is wrong is refused."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from aegis.client import sign

NOON = "2025-10-31T12:00:00Z"
POINT: dict[str, Any] = {"name": "http_requests_total", "type": "counter", "value": 7, "timestamp": NOON,
                         "labels": {"service": "api", "status": "200"}}  # fmt: skip
SPAN: dict[str, Any] = {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "s1", "service": "api", "operation": "GET /",
                        "start_time": NOON, "end_time": "2025-10-31T12:00:00.042Z", "status": "error"}  # fmt: skip
EVENT: dict[str, Any] = {"timestamp": NOON, "type": "web_vital", "session_id": "s", "name": "LCP", "value": 1840.5}
REQUESTS: dict[str, tuple[str, dict[str, Any], int]] = {
    "metrics": ("metrics", POINT, 5000),
    "traces": ("spans", SPAN, 500),
    "rum": ("events", EVENT, 1000),
}


def body(signal: str, *changes: dict[str, Any]) -> bytes:
    field, record, _ = REQUESTS[signal]
    return json.dumps({field: [record | each for each in changes]}).encode()


def test_a_point_is_in_its_table(organization: Any) -> None:
    points = [{}, {"value": "NaN", "timestamp": 1_761_912_001}, {"name": "up", "labels": {}, "value": -1.5}]
    response = organization.post(body("metrics", *points), path="/v1/metrics")
    assert (response.status_code, response.json()["accepted"]) == (202, 3)
    stored = {(row["name"], row["ts"].isoformat()): row for row in organization.stored_in_time("metrics", 3)}
    first = stored["http_requests_total", "2025-10-31T12:00:00+00:00"]
    assert (first["value"], json.loads(first["labels"])) == (7.0, POINT["labels"])
    assert stored["http_requests_total", "2025-10-31T12:00:01+00:00"]["value"] != 7.0
    assert json.loads(stored["up", "2025-10-31T12:00:00+00:00"]["labels"]) == {}


def test_spans_and_events_are_in_their_tables(organization: Any) -> None:
    spans = body("traces", {}, {"span_id": "s2", "parent_span_id": "s1"})
    assert organization.post(spans, path="/v1/traces").json()["accepted"] == 2
    assert organization.post(body("rum", {}, {"name": "CLS"}), path="/v1/rum").json()["accepted"] == 2
    assert sorted(row["text"] for row in organization.stored_in_time("traces", 2)) == ["s1", "s2"]
    assert sorted(row["text"] for row in organization.stored_in_time("rum", 2)) == ["CLS", "LCP"]


@pytest.mark.parametrize("signal", REQUESTS)
def test_the_largest_request_is_stored_whole(organization: Any, signal: str) -> None:
    field, _, most = REQUESTS[signal]
    vary = {"metrics": "timestamp", "traces": "span_id", "rum": "name"}[signal]
    records = [{vary: 1_761_912_000 + n if signal == "metrics" else str(n)} for n in range(most)]
    response = organization.post(body(signal, *records), path=f"/v1/{signal}")
    assert (response.status_code, response.json()["accepted"]) == (202, most)
    assert len(organization.stored_in_time(signal, most)) == most
    over = organization.post(body(signal, *records, {}), path=f"/v1/{signal}")
    assert (over.status_code, over.json()["error"]["code"]) == (413, "too_many_records")
    assert over.json()["error"]["details"][0]["path"] == field


@pytest.mark.parametrize("signal", REQUESTS)
def test_bad_input_is_refused_with_its_path(organization: Any, signal: str) -> None:
    field, record, _ = REQUESTS[signal]
    path = f"/v1/{signal}"
    required = next(iter(record))
    wrong = organization.post(body(signal, {}, {required: None}), path=path)
    assert (wrong.status_code, wrong.json()["error"]["details"][0]["path"]) == (422, f"{field}[1].{required}")
    assert organization.post(b'{"', path=path).status_code == 400
    assert organization.post(body(signal, {}), path=path, drop="x-signature").status_code == 401
    assert organization.post(body(signal, {}), path=path, content_type="text/plain").status_code == 415


def test_a_key_sends_only_its_signals(organization: Any) -> None:
    made = organization.instance.aegis("key", "create", organization.org_id, "--signal", "traces", "--json")
    key = json.loads(made)
    for signal in REQUESTS:
        raw = body(signal, {})
        headers = sign(raw, org_key=key["org_key"], secret=key["secret"], timestamp_ms=int(time.time() * 1000))
        response = organization.instance.http.post(f"/v1/{signal}", content=raw, headers=headers)
        assert response.status_code == (202 if signal == "traces" else 403), response.text


def test_one_organization_never_sees_the_records_of_another(instance: Any, organization: Any) -> None:
    other = instance.organization(f"other {time.time_ns()}")
    for signal in REQUESTS:
        assert organization.post(body(signal, {}), path=f"/v1/{signal}").status_code == 202
        assert len(organization.stored_in_time(signal, 1)) == 1
        assert other.stored(signal) == []


def test_the_published_schema_has_an_example_that_is_accepted(instance: Any, organization: Any) -> None:
    document = instance.http.get("/openapi.json").json()
    for signal in ("logs", *REQUESTS):
        operation = document["paths"][f"/v1/{signal}"]["post"]
        content = operation["requestBody"]["content"]["application/json"]
        name = content["schema"]["$ref"].rpartition("/")[2]
        assert name in document["components"]["schemas"]
        raw = json.dumps(content["example"]).encode()
        assert organization.post(raw, path=f"/v1/{signal}").status_code == 202
    assert {"SpanEvent", "SpanLink", "RumError"} <= set(document["components"]["schemas"])
