"""How much a sender may send, by organization and by address; bodies in encodings; and a topic that is full."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from aegis.client import Accepted, IngestClient, sign

LOG: dict[str, Any] = {"timestamp": "2025-10-31T10:00:00Z", "service": "api", "level": "error", "message": "m"}
BODY = json.dumps({"logs": [LOG]}).encode()
New = Callable[..., Any]


def until_limit_is(organization: Any, limit: int) -> httpx.Response:
    """Send until the answer names this limit; at most the two seconds that gateways may take to hear of it."""
    deadline = time.monotonic() + 2
    while (response := organization.post(BODY)).headers["ratelimit-limit"] != str(limit):
        assert time.monotonic() < deadline, response.headers
        time.sleep(0.02)
    return response


def test_an_organization_has_a_limit_of_its_own(organization: Any, instance: Any) -> None:
    before = organization.post(BODY)
    assert before.status_code == 202
    default = int(before.headers["ratelimit-limit"])
    instance.aegis("org", "set", organization.org_id, "--requests-per-minute", "30")
    response = until_limit_is(organization, 30)
    left = int(response.headers["ratelimit-remaining"])
    assert 0 < left < 30
    for _ in range(30):
        response = organization.post(BODY)
        if response.status_code == 429:
            break
        assert (response.status_code, int(response.headers["ratelimit-remaining"]) < 30) == (202, True)
        assert 0 < int(response.headers["ratelimit-reset"]) <= 60
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (429, "rate_limited")
    assert "this organization may send 30 requests a minute" in error["message"]
    assert (response.headers["ratelimit-limit"], response.headers["ratelimit-remaining"]) == ("30", "0")
    assert 50 <= int(response.headers["ratelimit-reset"]) <= 60
    wait_s = int(response.headers["retry-after"])
    assert 1 <= wait_s <= 2
    time.sleep(wait_s)
    assert organization.post(BODY).status_code == 202, "Retry-After is long enough"
    other = instance.organization(f"other-{time.time_ns()}")
    assert other.post(BODY).status_code == 202
    instance.aegis("org", "set", organization.org_id, "--requests-per-minute", "0")
    assert until_limit_is(organization, default).status_code == 202


@pytest.fixture
def from_address() -> Iterator[Callable[[Any, str], httpx.Client]]:
    """Makes clients whose connections come from an address."""
    made: list[httpx.Client] = []

    def make(gateway: Any, address: str) -> httpx.Client:
        made.append(
            httpx.Client(base_url=gateway.url, timeout=30, transport=httpx.HTTPTransport(local_address=address))
        )
        return made[-1]

    yield make
    for client in made:
        client.close()


def some_address() -> str:
    """One of this machine's own, which no other test or run has used up."""
    return f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"


def post(http: httpx.Client, organization: Any, **headers: str) -> httpx.Response:
    signed = sign(BODY, org_key=organization.org_key, secret=organization.secret, timestamp_ms=int(time.time() * 1000))
    return http.post(
        "/v1/logs", content=BODY, headers=signed | {name.replace("_", "-"): v for name, v in headers.items()}
    )


def test_an_address_has_a_limit_whoever_it_says_it_is(
    organization: Any, instance: Any, new_gateway: New, from_address: Callable[[Any, str], httpx.Client]
) -> None:
    gateway = new_gateway(AEGIS_RATE_LIMIT_ADDRESS="20")
    http = from_address(gateway, some_address())
    other = instance.organization(f"other-{time.time_ns()}")
    # Refused ones count as well, or guessing keys would cost nothing; so do those of other organizations.
    assert [http.post("/v1/logs", content=BODY).status_code for _ in range(5)] == [415] * 5
    statuses = [post(http, each).status_code for _ in range(10) for each in (organization, other)]
    assert 15 <= statuses.count(202) <= 17, statuses
    assert set(statuses) == {202, 429}
    for headers in ({}, {"x_forwarded_for": "203.0.113.7"}):
        response = post(http, organization, **headers)
        assert response.status_code == 429
        assert "this address may send 20 requests a minute" in response.json()["error"]["message"]
        assert int(response.headers["retry-after"]) >= 1
    assert post(from_address(gateway, some_address()), organization).status_code == 202


def test_behind_a_proxy_of_ours_the_address_is_the_one_that_it_names(
    organization: Any, new_gateway: New, from_address: Callable[[Any, str], httpx.Client]
) -> None:
    proxy, stranger = some_address(), some_address()
    gateway = new_gateway(AEGIS_RATE_LIMIT_ADDRESS="5", AEGIS_TRUSTED_PROXIES=f"{proxy}, 192.0.2.0/24")
    behind = from_address(gateway, proxy)
    sender = f"2001:db8:{random.randrange(1, 65536):x}::1"

    def remaining(http: httpx.Client, forwarded: str) -> int:
        response = post(http, organization, x_forwarded_for=forwarded)
        assert response.status_code == 202, response.text
        return int(response.headers["ratelimit-remaining"])

    assert remaining(behind, sender) == 4
    assert remaining(behind, f"198.51.100.9, {sender}") == 3, "what the sender put in front is its own invention"
    assert remaining(behind, f"{sender}, 192.0.2.5") == 2, "a second proxy of ours"
    assert remaining(behind, sender.replace("::1", "::2")) == 1, "the same /64 network"
    assert remaining(behind, f"198.51.100.{random.randrange(1, 255)}") == 4
    assert remaining(from_address(gateway, stranger), sender) == 4, "a stranger's word is not taken"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_compressed_bodies_are_found_in_the_store(organization: Any, encoding: str) -> None:
    async def send() -> Accepted:
        client = IngestClient(
            organization.instance.url,
            org_key=organization.org_key,
            secret=organization.secret,
            compression=encoding,
            sign_time=True,
        )
        async with client:
            await client.send_rum([{"timestamp": 1_761_904_800, "type": "action", "session_id": "s", "name": encoding}])
            return await client.send_logs([LOG | {"message": f"{encoding} {number}"} for number in range(1500)])

    taken = asyncio.run(send())
    assert (taken.accepted, len(taken.request_ids), taken.repeated) == (1500, 2, 0)
    stored = organization.stored_in_time("logs", 1500)
    assert sorted(record["text"] for record in stored) == sorted(f"{encoding} {number}" for number in range(1500))
    assert [record["text"] for record in organization.stored_in_time("rum", 1)] == [encoding]


def test_damaged_and_swollen_bodies_are_refused(organization: Any) -> None:
    packed = gzip.compress(BODY)
    for content, status, code in (
        (packed[:-3], 400, "bad_encoding"),
        (b"no gzip", 400, "bad_encoding"),
        (gzip.compress(b" " * (20 << 20) + BODY), 413, "body_too_large"),
    ):
        response = organization.post(content, content_encoding="gzip")
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert organization.post(packed, content_encoding="gzip").status_code == 202
    assert len(organization.stored_in_time("logs", 1)) == 1


def test_a_full_topic_is_503_until_there_is_room_again(
    organization: Any, instance: Any, new_gateway: New, stopped: Callable[..., Any]
) -> None:
    gateway = new_gateway(AEGIS_STREAM_BYTES_MAX=str(1 << 20))
    sender = gateway.seen_by(organization)

    def send(number: int) -> httpx.Response:
        noise = base64.b64encode(os.urandom(48_000)).decode()
        response: httpx.Response = sender.post(json.dumps({"logs": [LOG | {"message": f"{number} {noise}"}]}).encode())
        return response

    taken: list[int] = []
    with stopped(instance, "worker"):
        for number in range(200):
            response = send(number)
            if response.status_code != 202:
                break
            taken.append(number)
            time.sleep(0.05)  # The gateway looks at the bound now and then.
        assert response.status_code == 503, f"{len(taken)} were taken"
        assert int(response.headers["retry-after"]) >= 1
        assert response.json()["error"]["code"] == "unavailable"
        assert len(taken) > 5
    deadline = time.monotonic() + 60
    while send(200).status_code != 202:
        assert time.monotonic() < deadline, "it does not recover"
        time.sleep(0.1)
    assert gateway.process.poll() is None
    stored = organization.stored_in_time("logs", len(taken) + 1)
    assert sorted(int(record["text"].split()[0]) for record in stored) == [*taken, 200]
