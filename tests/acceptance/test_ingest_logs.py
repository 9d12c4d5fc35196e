"""POST /v1/logs on a running instance: what is accepted is found, what is wrong has a status and a message of its own."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import orjson
import pytest

from aegis.client import sign

LOG: dict[str, Any] = {"timestamp": "2025-10-31T10:00:00Z", "service": "api", "level": "error", "message": "failed"}
BODY = orjson.dumps({"logs": [LOG]})


def test_a_log_is_found_as_it_was_sent(organization: Any) -> None:
    full = LOG | {
        "timestamp": "2025-10-31T10:00:00.123456789Z",
        "message": "Zahlung für „Ämter“ fehlgeschlagen 💥 % _ \\ ' \" \u0000",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "span_id": "00f067aa0ba902b7",
        "host": "web-1",
        "environment": "production",
        "version": "1.2.3",
        "attributes": {"a": {"b": [1, 2.5, None, True]}, "ключ": "значение", "big": 12345678901234567890123},
    }
    organization.send([full])
    (log,) = organization.found_in_time(1)
    assert log.pop("id").isdigit()
    assert log == full


def test_it_is_found_within_a_second_and_a_half(organization: Any) -> None:
    waits = []
    for i in range(5):
        organization.send([LOG | {"message": f"m{i}"}])
        sent = time.monotonic()
        while not organization.found(search=f"m{i}"):
            assert time.monotonic() - sent < 10
            time.sleep(0.02)
        waits.append(time.monotonic() - sent)
    assert sorted(waits)[2] < 1.5, waits


def test_every_form_of_a_timestamp(organization: Any) -> None:
    forms = ["2025-10-31T10:00:00Z", "2025-10-31T12:00:00+02:00", 1761904800, 1761904800000, 1761904800000000,
             1761904800000000000, "1761904800", 1761904800.0]  # fmt: skip
    organization.send([LOG | {"timestamp": form} for form in forms])
    logs = organization.found_in_time(len(forms))
    assert [log["timestamp"] for log in logs] == ["2025-10-31T10:00:00.000Z"] * len(forms)


def test_a_request_of_a_thousand_spread_over_many_days(organization: Any) -> None:
    logs = [LOG | {"timestamp": f"{1990 + i % 30}-{i % 12 + 1:02d}-{i % 28 + 1:02d}T00:00:00Z", "message": str(i)}
            for i in range(1000)]  # fmt: skip
    organization.send(logs)
    found = organization.found_in_time(1000, start="1985-01-01", end="2025-01-01")
    assert sorted(int(log["message"]) for log in found) == list(range(1000))


def refusals(organization: Any) -> list[tuple[str, httpx.Response, int, str]]:
    other_secret = sign(BODY, org_key="", secret="another", timestamp_ms=0)["x-signature"]
    wrong_type = orjson.dumps({"logs": [LOG, LOG | {"message": 5}]})
    return [
        ("unsigned", organization.post(BODY, drop="x-signature"), 401, "unsigned"),
        ("no key", organization.post(BODY, drop="x-org-key"), 401, "unsigned"),
        ("no timestamp", organization.post(BODY, drop="x-timestamp"), 401, "unsigned"),
        ("wrong signature", organization.post(BODY, x_signature=other_secret), 401, "bad_signature"),
        ("stale timestamp", organization.post(BODY, off_s=-400), 401, "stale_timestamp"),
        ("timestamp ahead", organization.post(BODY, off_s=400), 401, "stale_timestamp"),
        ("unknown key", organization.post(BODY, x_org_key="obs_0000000000000000"), 401, "unknown_key"),
        ("malformed JSON", organization.post(b'{"logs":['), 400, "malformed_json"),
        ("wrong type", organization.post(wrong_type), 422, "invalid_field"),
        ("1001 logs", organization.post(orjson.dumps({"logs": [LOG] * 1001})), 413, "too_many_records"),
        ("too many bytes", organization.post(b" " * (5 * 1024 * 1024 + 1)), 413, "body_too_large"),
        ("invalid UTF-8", organization.post(BODY.replace(b"failed", b"\xc3\x28")), 400, "invalid_utf8"),
        ("content type", organization.post(BODY, content_type="text/plain"), 415, "unsupported_media_type"),
        ("encoding", organization.post(BODY, content_encoding="br"), 415, "unsupported_encoding"),
    ]


def test_bad_input_has_its_own_status_and_message(organization: Any) -> None:
    messages = set()
    for name, response, status, code in refusals(organization):
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (status, code), name
        messages.add(error["message"])
        if name == "wrong type":
            assert error["details"] == [{"path": "logs[1].message", "message": "expected `str`, got `int`"}]
    assert len(messages) == 14
    assert organization.post(BODY).status_code == 202
    assert len(organization.found_in_time(1)) == 1, "only the good request may be stored"


def test_a_body_without_an_announced_length_is_bounded_too(organization: Any) -> None:
    def endless() -> Any:
        for _ in range(200):
            yield b" " * 65536

    headers = sign(b"", org_key=organization.org_key, secret=organization.secret, timestamp_ms=int(time.time() * 1000))
    try:
        response = organization.instance.http.post("/v1/logs", content=endless(), headers=headers)
    except httpx.HTTPError:
        return  # The connection was cut while we were still sending, which bounds it as well.
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")


def test_a_revoked_key_stops_within_two_seconds(organization: Any) -> None:
    assert organization.post(BODY).status_code == 202
    organization.instance.aegis("key", "revoke", organization.org_key)
    deadline = time.monotonic() + 2
    while organization.post(BODY).status_code == 202:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert organization.post(BODY).json()["error"]["code"] == "unknown_key"


def test_a_key_sends_only_its_signals_and_expires(organization: Any) -> None:
    made = organization.instance.aegis("key", "create", organization.org_id, "--signal", "rum", "--json")
    key = json.loads(made)
    signed = sign(BODY, org_key=key["org_key"], secret=key["secret"], timestamp_ms=int(time.time() * 1000))
    response = organization.instance.http.post("/v1/logs", content=BODY, headers=signed)
    assert (response.status_code, response.json()["error"]["code"]) == (403, "forbidden")


def test_the_published_schema_is_served(instance: Any) -> None:
    document = instance.http.get("/openapi.json").json()
    operation = document["paths"]["/v1/logs"]["post"]
    assert set(operation["responses"]) >= {"202", "400", "401", "413", "415", "422", "503"}
    assert document["components"]["schemas"]["LogsRequest"]["properties"]["logs"]["maxItems"] == 1000
    assert "/query/logs/search" in document["paths"]
    assert instance.http.get("/docs").status_code == 200


@pytest.mark.parametrize("path", ["/nowhere", "/v1/logs/", "/v1"])
def test_unknown_paths_answer_in_the_same_shape(instance: Any, path: str) -> None:
    response = instance.http.get(path, follow_redirects=True)
    assert response.status_code in (404, 405)
    assert set(response.json()["error"]) == {"code", "message", "details"}
