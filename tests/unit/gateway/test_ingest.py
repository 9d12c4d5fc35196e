"""POST /v1/logs refuses exactly what it should, says why, and enqueues nothing that it refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import jsonschema_rs
import pytest

from aegis.client import sign
from gateway.app import GatewayApp
from gateway.ingest import Ingest, IngestLimits
from gateway.keys import IngestKey, KeyDirectory
from gateway.native_logs import NATIVE_LOGS
from gateway.native_metrics import NATIVE_METRICS
from gateway.native_rum import NATIVE_RUM
from gateway.native_traces import NATIVE_TRACES
from gateway.published_answers import ANSWER_SCHEMAS, ANSWERS, PUBLISHED_CODES
from topics.errors import Unavailable
from topics.intake import Allowance, Taken, Terms
from topics.raw import Headers, RawBatch
from web.client_address import ClientAddresses
from web.error_replies import STATUS_OF_CODE

NOW = 1_761_904_800.5
ORG = "0c6f1a3e-6b0e-4a52-9f0a-6a3f6f1f2b11"
KEY = IngestKey(prefix="obs_abc123", secret=b"your_secret", org_id=ORG, signals=frozenset({"logs"}), retention_days=30)
LOG: dict[str, Any] = {"timestamp": "2025-10-31T10:00:00Z", "service": "api", "level": "error", "message": "failed"}
BODY = json.dumps({"logs": [LOG]}).encode()

FORMATS = {"/v1/logs": NATIVE_LOGS, "/v1/metrics": NATIVE_METRICS, "/v1/traces": NATIVE_TRACES, "/v1/rum": NATIVE_RUM}
BODIES = {
    "logs": BODY,
    "metrics": b'{"metrics":[{"name":"up","value":1}]}',
    "traces": b'{"spans":[{"trace_id":"t","span_id":"s","service":"a","operation":"o","start_time":1,"duration_ms":1}]}',
    "rum": b'{"events":[{"timestamp":1,"type":"action","session_id":"s"}]}',
}

Post = Callable[..., Awaitable[httpx.Response]]


class KeptMessages:
    """An intake that keeps what it is given and on which terms, or is away."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, RawBatch]] = []
        self.terms: list[Terms] = []
        self.charged: list[Terms] = []
        self.away: Unavailable | None = None

    async def take(self, topic: str, value: bytes, headers: Headers, terms: Terms) -> Taken:
        if self.away is not None:
            raise self.away
        self.messages.append((topic, RawBatch.from_message(value, headers)))
        self.terms.append(terms)
        return Taken(terms.answer, False, Allowance(1000, 999, 1))

    async def charge(self, terms: Terms) -> Allowance:
        if self.away is not None:
            raise self.away
        self.charged.append(terms)
        return Allowance(1000, 999, 1)

    async def ping(self) -> None:
        if self.away is not None:
            raise self.away

    async def close(self) -> None:
        return


class KeptKeys:
    """A control plane's key list that can change and go away."""

    def __init__(self) -> None:
        self.keys = [KEY]
        self.away = False
        self.loads = 0

    async def load(self) -> list[IngestKey]:
        self.loads += 1
        if self.away:
            raise Unavailable("cannot load the keys: away")
        return list(self.keys)


@pytest.fixture
def producer() -> KeptMessages:
    return KeptMessages()


@pytest.fixture
def control_plane() -> KeptKeys:
    return KeptKeys()


@pytest.fixture
async def post(producer: KeptMessages, control_plane: KeptKeys) -> AsyncIterator[Post]:
    directory = KeyDirectory(control_plane.load, refresh_s=60, now=lambda: NOW)
    await directory.start()
    ingest = Ingest(
        formats=FORMATS,
        keys=directory,
        intake=producer,
        addresses=ClientAddresses(),
        limits=IngestLimits(body_bytes_max=100_000),
        now=lambda: NOW,
    )
    transport = httpx.ASGITransport(app=GatewayApp(ingest))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:

        async def send(body: bytes = BODY, *, path: str = "/v1/logs", drop: str = "",
                       key: str = "obs_abc123", secret: str = "your_secret",
                       off_s: float = 0, **replace: str) -> httpx.Response:  # fmt: skip
            headers = sign(body, org_key=key, secret=secret, timestamp_ms=int((NOW + off_s) * 1000))
            headers |= {name.replace("_", "-"): value for name, value in replace.items()}
            headers.pop(drop, None)
            return await http.post(path, content=body, headers=headers)

        yield send
    await directory.close()


def error(response: httpx.Response) -> tuple[int, str]:
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "details"}
    return response.status_code, body["error"]["code"]


async def test_a_signed_request_is_accepted_as_it_came(post: Post, producer: KeptMessages) -> None:
    response = await post()
    answer = response.json()
    assert response.status_code == 202
    assert answer == {"accepted": 1, "request_id": response.headers["x-request-id"]}
    ((topic, batch),) = producer.messages
    assert topic == "logs.raw"
    assert batch == RawBatch(
        org_id=ORG,
        request_id=answer["request_id"],
        received_at_ms=int(NOW * 1000),
        retention_days=30,
        body=BODY,
    )


@pytest.mark.parametrize("signal", BODIES)
async def test_every_signal_has_its_route_its_topic_and_its_scope(
    post: Post, producer: KeptMessages, control_plane: KeptKeys, signal: str
) -> None:
    control_plane.keys = [KEY, replace(KEY, prefix="obs_all", signals=frozenset({signal}))]
    response = await post(BODIES[signal], path=f"/v1/{signal}", key="obs_all")
    assert response.status_code == 202, response.text
    ((topic, batch),) = producer.messages
    assert (topic, batch.body, batch.format) == (f"{signal}.raw", BODIES[signal], "native")
    other = "rum" if signal == "logs" else "logs"
    assert error(await post(BODIES[other], path=f"/v1/{other}", key="obs_all")) == (403, "forbidden")
    assert error(await post(BODIES[other], path=f"/v1/{signal}", key="obs_all")) == (422, "invalid_field")
    assert len(producer.messages) == 1


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"drop": "x-org-key"}, 401, "unsigned"),
    ({"drop": "x-signature"}, 401, "unsigned"),
    ({"drop": "x-timestamp"}, 401, "unsigned"),
    ({"secret": "another"}, 401, "bad_signature"),
    ({"x_signature": "sha256=00"}, 401, "bad_signature"),
    ({"x_signature": b"sha256=" + "é".encode() * 32}, 401, "bad_signature"),
    ({"x_signature": "md5=" + "0" * 64}, 401, "bad_signature"),
    ({"key": "obs_nobody"}, 401, "unknown_key"),
    ({"off_s": 301}, 401, "stale_timestamp"),
    ({"off_s": -301}, 401, "stale_timestamp"),
    ({"x_timestamp": "1761904800.5"}, 401, "bad_timestamp_header"),
    ({"x_timestamp": "-1761904800500"}, 401, "bad_timestamp_header"),
    ({"x_timestamp": "9" * 400}, 401, "bad_timestamp_header"),
    ({"drop": "content-type"}, 415, "unsupported_media_type"),
    ({"content_type": "text/plain"}, 415, "unsupported_media_type"),
    ({"content_type": "application/json; charset=latin1"}, 415, "unsupported_media_type"),
    ({"content_encoding": "br"}, 415, "unsupported_encoding"),
    ({"content_encoding": "gzip, gzip"}, 415, "unsupported_encoding"),
    ({"content_encoding": "gzip"}, 400, "bad_encoding"),
    ({"x_idempotency_key": ""}, 400, "malformed_request"),
    ({"x_idempotency_key": "k" * 256}, 400, "malformed_request"),
    ({"x_idempotency_key": "two words"}, 400, "malformed_request"),
    ({"content_encoding": ""}, 415, "unsupported_encoding"),
    ({"body": b"{"}, 400, "malformed_json"),
    ({"body": b""}, 400, "malformed_json"),
    ({"body": b'{"logs":[' + b"[" * 30_000 + b"]" * 30_000 + b"]}"}, 422, "invalid_field"),
    ({"body": BODY.replace(b"failed", b"\xff")}, 400, "invalid_utf8"),
    ({"body": json.dumps({"logs": [LOG] * 1001}).encode()}, 413, "too_many_records"),
    ({"body": b" " * 100_001}, 413, "body_too_large"),
    ({"body": json.dumps({"logs": [LOG | {"level": 7}]}).encode()}, 422, "invalid_field"),
]


@pytest.mark.parametrize(("how", "status", "code"), REFUSED)
async def test_bad_input_has_its_own_answer(
    post: Post, producer: KeptMessages, how: dict[str, Any], status: int, code: str
) -> None:
    response = await post(**how)
    assert error(response) == (status, code)
    assert producer.messages == []


def test_every_refusal_is_published_with_its_status_and_an_example() -> None:
    for _, status, refusal in REFUSED:
        assert PUBLISHED_CODES[refusal] == status
    assert {code: STATUS_OF_CODE[code] for code in PUBLISHED_CODES if code in STATUS_OF_CODE} == {
        code: status for code, status in PUBLISHED_CODES.items() if code in STATUS_OF_CODE
    }
    # What only other routes answer.
    assert set(STATUS_OF_CODE) - set(PUBLISHED_CODES) == {
        "bad_token", "not_found", "method_not_allowed", "not_configured", "bad_master_key", "bad_login",
        "choose_organization",
    }  # fmt: skip
    document = {"components": {"schemas": ANSWER_SCHEMAS}}
    for answer in ANSWERS.values():
        content = answer["content"]["application/json"]
        examples = [each["value"] for each in content.get("examples", {}).values()] or [content["example"]]
        for example in examples:
            jsonschema_rs.Draft202012Validator(content["schema"] | document).validate(example)


async def test_a_wrong_type_is_named_by_its_path(post: Post) -> None:
    response = await post(json.dumps({"logs": [LOG, LOG | {"message": 5}]}).encode())
    details = response.json()["error"]["details"]
    assert details == [{"path": "logs[1].message", "message": "expected `str`, got `int`"}]


@pytest.mark.parametrize("off_s", [-299, 299])
@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=UTF-8", "Application/JSON"])
async def test_what_is_within_the_bounds_is_accepted(post: Post, off_s: float, content_type: str) -> None:
    assert (await post(off_s=off_s, content_type=content_type)).status_code == 202


async def test_the_signature_covers_every_byte(post: Post) -> None:
    signature = sign(BODY, org_key="", secret="your_secret", timestamp_ms=0)["x-signature"]
    assert error(await post(BODY + b" ", x_signature=signature)) == (401, "bad_signature")
    assert (await post(BODY, x_signature=signature.replace("sha256=", "") and signature)).status_code == 202


async def test_a_signing_header_that_is_there_twice_is_refused(post: Post, producer: KeptMessages) -> None:
    headers = list(sign(BODY, org_key="obs_abc123", secret="your_secret", timestamp_ms=int(NOW * 1000)).items())
    app = GatewayApp(await _ingest(producer))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway") as http:
        for name, value in headers[1:]:
            response = await http.post("/v1/logs", content=BODY, headers=[*headers, (name, value)])
            assert error(response) == (400, "duplicate_header")
    assert producer.messages == []


async def _ingest(producer: KeptMessages) -> Ingest:
    return Ingest(
        formats=FORMATS,
        keys=KeyDirectory(KeptKeys().load, refresh_s=60),
        intake=producer,
        addresses=ClientAddresses(),
        limits=IngestLimits(body_bytes_max=100_000),
        now=lambda: NOW,
    )


async def test_a_full_or_absent_transport_is_503_with_retry_after(post: Post, producer: KeptMessages) -> None:
    producer.away = Unavailable("cannot enqueue: the pipeline is full", retry_after_s=1.2)
    response = await post()
    assert error(response) == (503, "unavailable")
    assert response.headers["retry-after"] == "2"
    producer.away = None
    assert (await post()).status_code == 202


async def test_a_key_without_the_signal_is_forbidden(post: Post, control_plane: KeptKeys) -> None:
    control_plane.keys.append(
        IngestKey(prefix="obs_rum", secret=b"s", org_id=ORG, signals=frozenset({"rum"}), retention_days=30)
    )
    assert error(await post(key="obs_rum", secret="s")) == (403, "forbidden")


async def test_a_new_key_works_at_once_and_an_expired_one_does_not(post: Post, control_plane: KeptKeys) -> None:
    assert error(await post(key="obs_new", secret="s")) == (401, "unknown_key")
    new = {"secret": b"s", "org_id": ORG, "signals": frozenset({"logs"}), "retention_days": 30}
    control_plane.keys.append(IngestKey(prefix="obs_new", **new, expires_at_s=NOW + 1))
    control_plane.keys.append(IngestKey(prefix="obs_old", **new, expires_at_s=NOW))
    assert (await post(key="obs_new", secret="s")).status_code == 202
    assert error(await post(key="obs_old", secret="s")) == (401, "expired_key")


async def test_guessed_keys_share_one_reread(post: Post, control_plane: KeptKeys) -> None:
    before = control_plane.loads
    answers = await asyncio.gather(*(post(key=f"obs_guess{i}") for i in range(50)))
    assert {error(answer) for answer in answers} == {(401, "unknown_key")}
    assert control_plane.loads - before <= 2


async def test_known_keys_work_on_while_the_control_plane_is_away(post: Post, control_plane: KeptKeys) -> None:
    control_plane.away = True
    assert (await post()).status_code == 202
    assert error(await post(key="obs_other")) == (503, "unavailable")


async def test_a_body_that_is_announced_too_large_is_not_read(producer: KeptMessages) -> None:
    sent: list[Any] = []

    async def never() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-length", b"100001"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/logs", "headers": headers}
    await (await _ingest(producer))(scope, never, send)
    assert sent[0]["status"] == 413
    assert (b"connection", b"close") in sent[0]["headers"]


async def test_a_client_that_goes_away_mid_body_gets_no_answer(post: Post, producer: KeptMessages) -> None:
    parts = [{"type": "http.request", "body": BODY[:9], "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return parts.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    signed = sign(BODY, org_key="obs_abc123", secret="your_secret", timestamp_ms=int(NOW * 1000))
    headers = [(name.encode(), value.encode()) for name, value in signed.items()]
    ingest = await _ingest(producer)
    await ingest({"type": "http", "method": "POST", "path": "/v1/logs", "headers": headers}, receive, send)
    assert sent == []
    assert producer.messages == []


async def test_other_routes_answer_errors_in_the_same_shape(producer: KeptMessages) -> None:
    app = GatewayApp(await _ingest(producer))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway") as http:
        assert error(await http.get("/nowhere")) == (404, "not_found")
        assert error(await http.get("/v1/logs")) == (405, "method_not_allowed")
        document = (await http.get("/openapi.json")).json()
    schema = document["paths"]["/v1/logs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/LogsRequest"}
    assert document["components"]["schemas"]["LogRecord"]["required"] == ["timestamp", "service", "level", "message"]
