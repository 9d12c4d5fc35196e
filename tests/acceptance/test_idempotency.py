"""A request that comes again is taken once, whoever sends it and wherever it arrives."""

from __future__ import annotations

import concurrent.futures
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from aegis.client import sign

LOG: dict[str, Any] = {"timestamp": "2025-10-31T10:00:00Z", "service": "api", "level": "error", "message": "m"}
REPLAY = "x-idempotent-replay"


def body(message: str) -> bytes:
    return json.dumps({"logs": [LOG | {"message": message}]}).encode()


def messages(organization: Any, count: int) -> list[str]:
    """What is stored once `count` records are; a request sent afterwards shows that nothing more was on its way."""
    assert organization.post(body("last")).status_code == 202
    return sorted(
        record["text"] for record in organization.stored_in_time("logs", count + 1) if record["text"] != "last"
    )


def test_the_same_key_gives_the_same_answer(organization: Any) -> None:
    first = organization.post(body("one"), x_idempotency_key="k-1")
    time.sleep(0.01)  # Signed for another millisecond: not a copy of the request, but another one with its key.
    second = organization.post(body("one"), x_idempotency_key="k-1")
    assert (first.status_code, second.status_code) == (202, 202)
    assert REPLAY not in first.headers
    assert second.headers[REPLAY] == "true"
    assert second.json() == first.json()
    assert second.headers["x-request-id"] == first.headers["x-request-id"]
    other = organization.post(body("one"), x_idempotency_key="k-2")
    assert other.json()["request_id"] != first.json()["request_id"]
    assert messages(organization, 2) == ["one", "one"]


@pytest.mark.parametrize("size", [1, 80_000], ids=["small", "large"])
def test_a_key_with_another_body_is_a_conflict(organization: Any, size: int) -> None:
    """Large ones are enqueued and taken back in one transaction, which leaves a hole in the offsets: readers step over it."""
    one, two, three = (letter * size for letter in "abc")
    assert organization.post(body(one), x_idempotency_key="k").status_code == 202
    for _ in range(8):
        refused = organization.post(body(two), x_idempotency_key="k")
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")
        assert organization.post(body(one), x_idempotency_key="k").headers[REPLAY] == "true"
    assert organization.post(body(three)).status_code == 202
    assert messages(organization, 2) == [one, three]


def test_keys_of_two_organizations_are_two(instance: Any, organization: Any) -> None:
    other = instance.organization(f"other-{time.time_ns()}")
    for each in (organization, other):
        response = each.post(body("mine"), x_idempotency_key="shared")
        assert (response.status_code, REPLAY in response.headers) == (202, False)


def test_of_simultaneous_twins_at_two_gateways_one_is_taken(organization: Any, new_gateway: Callable[..., Any]) -> None:
    gateway = new_gateway()
    rounds, twins = 10, 8
    with concurrent.futures.ThreadPoolExecutor(twins) as pool:
        connections = [
            httpx.Client(base_url=(organization.instance, gateway)[i % 2].url, timeout=30) for i in range(twins)
        ]

        def send(number: int, http: httpx.Client) -> httpx.Response:
            content = body(f"twin {number}")
            headers = sign(
                content, org_key=organization.org_key, secret=organization.secret, timestamp_ms=int(time.time() * 1000)
            )
            return http.post("/v1/logs", content=content, headers=headers | {"x-idempotency-key": f"twin-{number}"})

        for number in range(rounds):
            answers = list(pool.map(send, [number] * twins, connections))
            assert [each.status_code for each in answers] == [202] * twins
            assert len({each.json()["request_id"] for each in answers}) == 1
            assert sum(REPLAY not in each.headers for each in answers) == 1
        for http in connections:
            http.close()
    assert messages(organization, rounds) == sorted(f"twin {number}" for number in range(rounds))


def test_a_captured_request_gives_the_first_answer_and_is_not_taken_again(
    organization: Any, new_gateway: Callable[..., Any]
) -> None:
    gateway = new_gateway()
    captured = body("captured")
    for scheme in (False, True):
        headers = sign(
            captured,
            org_key=organization.org_key,
            secret=organization.secret,
            timestamp_ms=int(time.time() * 1000),
            with_time=scheme,
        )
        first = organization.instance.http.post("/v1/logs", content=captured, headers=headers)
        assert (first.status_code, REPLAY in first.headers) == (202, False)
        for where in (organization.instance, gateway):
            # As a thief may write them: signatures are hexadecimal in either case, and numbers may begin with zeros.
            scheme_name, _, digits = headers["x-signature"].partition("=")
            disguised = headers | {"x-signature": f"{scheme_name}={digits.upper()}"}
            for each in (headers, disguised):
                again = where.http.post("/v1/logs", content=captured, headers=each)
                assert (again.status_code, again.headers.get(REPLAY)) == (202, "true")
                assert again.json() == first.json()
    assert messages(organization, 2) == ["captured", "captured"]


def test_a_captured_signature_over_the_time_is_of_no_use_at_another_one(organization: Any) -> None:
    captured = body("captured")
    now_ms = int(time.time() * 1000)
    headers = sign(
        captured, org_key=organization.org_key, secret=organization.secret, timestamp_ms=now_ms, with_time=True
    )
    http = organization.instance.http
    assert http.post("/v1/logs", content=captured, headers=headers).status_code == 202
    for forged in (str(now_ms + 1), f"0{now_ms}"):
        response = http.post("/v1/logs", content=captured, headers=headers | {"x-timestamp": forged})
        assert (response.status_code, response.json()["error"]["code"]) == (401, "bad_signature")
    assert messages(organization, 1) == ["captured"]


def test_an_organization_requires_signatures_that_cover_the_time(organization: Any) -> None:
    content = body("signed")

    def send(with_time: bool) -> httpx.Response:
        headers = sign(
            content,
            org_key=organization.org_key,
            secret=organization.secret,
            timestamp_ms=int(time.time() * 1000),
            with_time=with_time,
        )
        answer: httpx.Response = organization.instance.http.post("/v1/logs", content=content, headers=headers)
        return answer

    assert (send(False).status_code, send(True).status_code) == (202, 202)
    organization.instance.aegis("org", "set", organization.org_id, "--require-signed-time")
    deadline = time.monotonic() + 2
    while (refused := send(False)).status_code == 202:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "bad_signature")
    assert "v2=" in refused.json()["error"]["message"]
    assert send(True).status_code == 202
    organization.instance.aegis("org", "set", organization.org_id, "--no-require-signed-time")
    deadline = time.monotonic() + 2
    while send(False).status_code != 202:
        assert time.monotonic() < deadline
        time.sleep(0.02)
