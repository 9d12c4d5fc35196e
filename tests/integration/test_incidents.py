"""Incidents of this class of software, tried on a running gateway: it refuses, serves on, and stays within its memory."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import sys
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import redis

from aegis.client import sign
from topics.names import LOGS_RAW

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LOG: dict[str, Any] = {"timestamp": "2025-10-31T10:00:00Z", "service": "api", "level": "error", "message": "failed"}
BODY = json.dumps({"logs": [LOG]}).encode()
Post = Callable[..., Awaitable[httpx.Response]]


def signed(gateway: Any, body: bytes) -> dict[str, str]:
    now_ms = int(time.time() * 1000)
    return sign(body, org_key=gateway.org_key, secret=gateway.secret, timestamp_ms=now_ms)


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"] if response.status_code != 202 else "accepted"


def enqueued(gateway: Any) -> int:
    with redis.Redis.from_url(gateway.redis_url) as client:
        return sum(client.xlen(key) for key in client.scan_iter(f"*:s:{LOGS_RAW}"))


@pytest.fixture
async def post(gateway_process: Any) -> Any:
    async with httpx.AsyncClient(base_url=gateway_process.url, timeout=60) as http:

        async def send(body: bytes = BODY, path: str = "/v1/logs", **headers: str) -> httpx.Response:
            replaced = {name.replace("_", "-"): value for name, value in headers.items()}
            return await http.post(path, content=body, headers=signed(gateway_process, body) | replaced)

        yield send
        assert code(await send()) == (202, "accepted"), "it serves on"


# --- Decompression bombs.


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstd.compress)]
)
async def test_cve_2024_36129_a_decompression_bomb_is_413_and_is_never_held(
    post: Post, gateway_process: Any, encoding: str, compress: Callable[[bytes], bytes]
) -> None:
    await post()
    before_kib = gateway_process.status("VmHWM")
    assert code(await post(compress(bytes(300 << 20)), content_encoding=encoding)) == (413, "body_too_large")
    assert gateway_process.status("VmHWM") - before_kib < 100_000


async def test_a_bomb_of_empty_members_is_refused_at_once(post: Post) -> None:
    """Each member's rest is a copy: 5 MB of empty ones were 500 GB of copying."""
    began = time.monotonic()
    assert code(await post(gzip.compress(b"") * 200_000, content_encoding="gzip")) == (400, "bad_encoding")
    assert time.monotonic() - began < 10


async def test_a_bomb_inside_of_a_bomb_is_refused(post: Post) -> None:
    nested = gzip.compress(gzip.compress(bytes(100 << 20)))
    assert code(await post(nested, content_encoding="gzip")) == (400, "invalid_utf8")
    assert code(await post(nested, content_encoding="gzip, gzip")) == (415, "unsupported_encoding")


# --- Names that are paths, or keys of others.

HOSTILE = [
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "..\\..\\x",
    "obs_*",
    "a:b:c",
    "{0}",
    "x' OR '1'='1",
    "*",
    "__proto__",
]


@pytest.mark.parametrize("name", HOSTILE)
async def test_cve_2021_36156_a_name_never_becomes_a_path_or_a_key_of_another(
    post: Post, gateway_process: Any, name: str
) -> None:
    folder = gateway_process.folder
    before = {path for path in folder.rglob("*") if "redis" not in path.parts}
    assert code(await post(x_org_key=name)) == (401, "unknown_key")
    assert code(await post(x_org_key=gateway_process.org_key + "/" + name)) == (401, "unknown_key")
    await post(x_forwarded_for=f"{name}, 10.0.0.1")
    body = json.dumps({"logs": [LOG | {"service": name, "host": name, "attributes": {name: name}}]}).encode()
    key = re.sub(r"[^!-~]", "_", name)
    assert code(await post(body, x_idempotency_key=key)) == (202, "accepted")
    assert {path for path in folder.rglob("*") if "redis" not in path.parts} == before
    known = re.compile(
        rf"aegis:(topics|incarnation|removed|limits:\d+|(replays|keys):{gateway_process.org_id}:\d+|\{{\d+\}}:[sc]:[a-z.]+)"
    )
    with redis.Redis.from_url(gateway_process.redis_url, decode_responses=True) as client:
        keys = list(client.scan_iter("*"))
        assert [each for each in keys if known.fullmatch(each) is None] == []
        buckets = {field for each in keys if ":limits:" in each for field in client.hkeys(each)}
        assert buckets <= {gateway_process.org_id, "127.0.0.1"}


# --- Requests inside of requests.


async def raw_answer(gateway: Any, *pieces: bytes) -> bytes:
    reader, writer = await gateway.connect()
    writer.write(b"".join(pieces))
    received: bytes = b""
    try:
        async with asyncio.timeout(5):
            received = await reader.read(-1)
    except TimeoutError:
        received = b"still open"
    finally:
        writer.close()
    return received


def head(gateway: Any, body: bytes, *more: str) -> bytes:
    lines = [
        "POST /v1/logs HTTP/1.1",
        "host: x",
        *(f"{name}: {value}" for name, value in signed(gateway, body).items()),
        *more,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


SMUGGLED = {
    "length and chunks": ("content-length: 4", "transfer-encoding: chunked"),
    "chunks and length": ("transfer-encoding: chunked", "content-length: 4"),
    "two lengths": ("content-length: 4", f"content-length: {len(BODY)}"),
    "a list of lengths": (f"content-length: 4, {len(BODY)}",),
    "a signed length": (f"content-length: +{len(BODY)}",),
    "a length past 64 bits": ("content-length: " + "9" * 40,),
    "a space before the colon": (f"content-length : {len(BODY)}", "content-length: 4"),
    "a folded header": ("transfer-encoding:", " chunked", "content-length: 4"),
    "an encoding behind chunks": ("transfer-encoding: chunked, identity",),
    "a bare line feed": ("x: y\ncontent-length: 4", f"content-length: {len(BODY)}"),
    "a zero in a header": ("x-a: b\0c", "content-length: 4"),
}


@pytest.mark.parametrize("how", SMUGGLED)
async def test_a_request_with_two_ends_is_refused_and_what_follows_it_is_not_read(
    post: Post, gateway_process: Any, how: str
) -> None:
    inner = head(gateway_process, BODY, f"content-length: {len(BODY)}") + BODY
    before = enqueued(gateway_process)
    answer = await raw_answer(gateway_process, head(gateway_process, BODY, *SMUGGLED[how]), b"0\r\n\r\n", inner)
    assert answer.startswith(b"HTTP/1.1 4"), answer
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"]
    assert enqueued(gateway_process) == before


@pytest.mark.parametrize("name", ["x-org-key", "x-signature", "x-timestamp", "content-type", "content-encoding"])
async def test_a_header_that_is_there_twice_is_refused(gateway_process: Any, name: str) -> None:
    headers = [*signed(gateway_process, BODY).items(), ("content-encoding", "identity"), (name, "x")]
    response = httpx.post(f"{gateway_process.url}/v1/logs", content=BODY, headers=headers)
    assert code(response) == (400, "duplicate_header")


async def test_a_header_with_underscores_is_another_header(gateway_process: Any) -> None:
    headers = signed(gateway_process, BODY)
    headers["x_org_key"] = headers.pop("x-org-key")
    assert code(httpx.post(f"{gateway_process.url}/v1/logs", content=BODY, headers=headers)) == (401, "unsigned")


# --- Senders that never end.


@pytest.mark.slow
async def test_slow_senders_of_headers_and_of_bodies_are_cut_off_within_a_minute(gateway_process: Any) -> None:
    async def drip(*first: bytes, drop: bytes) -> tuple[float, bytes]:
        began = time.monotonic()
        reader, writer = await gateway_process.connect()
        writer.write(b"".join(first))
        answer = asyncio.create_task(reader.read(-1))
        while not answer.done() and time.monotonic() - began < 60:
            await asyncio.wait({answer}, timeout=0.5)
            if not answer.done():
                writer.write(drop)
        writer.close()
        return time.monotonic() - began, answer.result() if answer.done() else b""

    length = "content-length: 100000"
    drips = [drip(b"POST /v1/logs HTTP/1.1\r\n", drop=b"x: y\r\n") for _ in range(20)]
    drips += [drip(b"", drop=b"P") for _ in range(3)]
    drips += [drip(head(gateway_process, BODY, length), drop=b"x") for _ in range(20)]
    drips += [drip(head(gateway_process, BODY, "transfer-encoding: chunked"), drop=b"1\r\nx\r\n") for _ in range(20)]
    for took_s, answer in await asyncio.gather(*drips):
        assert answer.startswith(b"HTTP/1.1 4"), answer
        assert took_s < 60
    response = httpx.post(f"{gateway_process.url}/v1/logs", content=BODY, headers=signed(gateway_process, BODY))
    assert response.status_code == 202


# --- JSON that is made to hurt.


def log_with(attributes: str, message: str = '"m"') -> bytes:
    return b'{"logs":[{"timestamp":1761904800,"service":"s","level":"i","message":%b,"attributes":%b}]}' % (
        message.encode(),
        attributes.encode(),
    )


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


HURTFUL: dict[str, tuple[bytes, int, str]] = {
    "a million arrays": (b"[" * 1_000_000, 422, "invalid_field"),
    "a million arrays where a log should be": (b'{"logs":[' + b"[" * 1_000_000, 422, "invalid_field"),
    "attributes as deep as may be": (log_with(f'{{"a":{nested(63)}}}'), 202, "accepted"),
    "attributes deeper than that": (log_with(f'{{"a":{nested(64)}}}'), 422, "invalid_field"),
    "attributes as deep as they are long": (log_with(f'{{"a":{nested(30_000)}}}'), 400, "malformed_json"),
    "objects in objects": (log_with(nested(5_000, '{"a":', "}").replace(":}", ":1}")), 400, "malformed_json"),
    "a thousand deep attributes": (
        b'{"logs":[' + b",".join([log_with(f'{{"a":{nested(64)}}}')[9:-2]] * 1000) + b"]}", 422, "invalid_field"
    ),
    "many names": (log_with(json.dumps({str(n): n for n in range(4_000)})), 202, "accepted"),
    "many unknown fields": (json.dumps({str(n): n for n in range(200_000)}).encode(), 422, "invalid_field"),
    "one name many times": (log_with("{" + ",".join(['"a":1'] * 9_000) + "}"), 202, "accepted"),
    "a number of many digits": (log_with(f'{{"a":{"9" * 60_000}}}'), 202, "accepted"),
    "a timestamp of many digits": (BODY.replace(b'"2025-10-31T10:00:00Z"', b"9" * 1_000_000), 422, "invalid_field"),
    "a timestamp past a double": (BODY.replace(b'"2025-10-31T10:00:00Z"', b"1e999"), 422, "invalid_field"),
    "a timestamp as text of many digits": (BODY.replace(b"2025-10-31T10:00:00Z", b"9" * 1_000_000), 422, "invalid_field"),
    "a fraction of many digits": (BODY.replace(b"00Z", b"00." + b"0" * 1_000_000 + b"Z"), 422, "invalid_field"),
    "a lone surrogate": (log_with("{}", r'"\ud800"'), 400, "malformed_json"),
    "a lone surrogate in attributes": (log_with(r'{"a":"\udfff"}'), 400, "malformed_json"),
    "a lone surrogate as a name": (log_with(r'{"\ud800":1}'), 400, "malformed_json"),
    "a surrogate in UTF-8": (BODY.replace(b"failed", b"\xed\xa0\x80"), 400, "invalid_utf8"),
    "an overlong encoding": (BODY.replace(b"failed", b"\xc0\x80"), 400, "invalid_utf8"),
    "a byte order mark": (b"\xef\xbb\xbf" + BODY, 400, "malformed_json"),
    "UTF-16": (BODY.decode().encode("utf-16"), 400, "invalid_utf8"),
    "U+0000 in a text": (log_with(r'{"\u0000":"\u0000"}', r'"\u0000"'), 202, "accepted"),
    "a zero byte in a text": (BODY.replace(b"failed", b"\0"), 400, "malformed_json"),
    "zero bytes behind the body": (BODY + b"\0\0", 400, "malformed_json"),
    "two bodies": (BODY + BODY, 400, "malformed_json"),
    "NaN": (log_with('{"a":NaN}'), 400, "malformed_json"),
    "nothing but spaces": (b" " * 1_000_000, 400, "malformed_json"),
}  # fmt: skip


@pytest.mark.parametrize("what", HURTFUL)
async def test_json_that_is_made_to_hurt_does_not(post: Post, gateway_process: Any, what: str) -> None:
    body, status, wanted = HURTFUL[what]
    began = time.monotonic()
    assert code(await post(body)) == (status, wanted)
    assert time.monotonic() - began < 10


async def test_metrics_refuse_what_their_store_cannot_hold(post: Post) -> None:
    """PostgreSQL has no U+0000 in texts: one accepted would stop every point behind it."""
    point = {"name": "up", "value": 1}
    for field, value in (("unit", "\0"), ("labels", {"a": "\0"}), ("name", "\0"), ("labels", {"\0": "a"})):
        body = json.dumps({"metrics": [point | {field: value}]}).encode()
        assert code(await post(body, "/v1/metrics")) == (422, "invalid_field")
