"""The client against a server that answers as it is told: what is tried again, what is said, and what stays the same."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest

from aegis.client import FateUnknown, IngestClient
from topics.content_encoding import ENCODINGS, decoded
from topics.errors import RateLimited, Refused, Unavailable

LOG = {"timestamp": 1_761_904_800, "service": "api", "level": "info", "message": "m"}
TAKEN = (202, {}, {"accepted": 1, "request_id": "r1"})
FULL = (503, {"retry-after": "1"}, {"error": {"code": "unavailable", "message": "full", "details": []}})


class Gateway:
    """Keeps every request, and answers with the next of `answers`: (status, headers, body), None to break the
    connection, or "late" to do so after half a second."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.url = ""
        self._serving: set[asyncio.Task[None]] = set()

    async def closed(self) -> None:
        await asyncio.gather(*self._serving)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")[1:-2]
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                self.requests.append((headers, await reader.readexactly(int(headers["content-length"]))))
                answer = self.answers.pop(0) if self.answers else TAKEN
                if answer == "late":
                    await asyncio.sleep(0.5)
                if answer is None or answer == "late":
                    break
                status, extra, body = answer
                content = orjson.dumps(body)
                fields = {"content-length": str(len(content)), **extra}
                written = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
                writer.write(f"HTTP/1.1 {status} X\r\n{written}\r\n".encode() + content)
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass  # The client has closed.
        writer.transport.abort()

    def sent(self, header: str) -> list[str | None]:
        return [headers.get(header) for headers, _ in self.requests]


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    gateway = Gateway()
    server = await asyncio.start_server(gateway.serve, "127.0.0.1", 0)
    gateway.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield gateway
    server.close()
    await server.wait_closed()
    await gateway.closed()


Make = Callable[..., IngestClient]


@pytest.fixture
async def make(gateway: Gateway) -> AsyncIterator[Make]:
    made: list[IngestClient] = []

    def make(**options: Any) -> IngestClient:
        made.append(IngestClient(gateway.url, org_key="obs_a", secret="s", **options))
        return made[-1]

    yield make
    for client in made:
        await client.__aexit__()


async def test_a_broken_connection_and_a_full_gateway_are_tried_again_under_one_key(
    gateway: Gateway, make: Make
) -> None:
    gateway.answers = [None, FULL, (502, {}, "proxy"), (202, {"x-idempotent-replay": "true"}, TAKEN[2])]
    taken = await make().send_logs([LOG])
    assert (taken.accepted, taken.request_ids, taken.repeated) == (1, ("r1",), 1)
    assert len(gateway.requests) == 4
    (key,) = set(gateway.sent("x-idempotency-key"))
    assert key is not None
    assert len(key) == 32
    assert len(set(gateway.sent("x-timestamp"))) == 4, "each try is signed for its own time"


async def test_every_send_has_a_key_of_its_own_or_the_one_it_is_given(gateway: Gateway, make: Make) -> None:
    client = make()
    await client.send_logs([LOG])
    await client.send_logs([LOG])
    await client.send_logs([LOG], key="mine")
    one, other, given = gateway.sent("x-idempotency-key")
    assert one != other
    assert given == "mine"


async def test_without_keys_a_repeat_is_the_same_signed_request(gateway: Gateway, make: Make) -> None:
    gateway.answers = [None, FULL]
    await make(keyed=False).send_logs([LOG])
    assert gateway.sent("x-idempotency-key") == [None] * 3
    assert len(set(gateway.sent("x-timestamp"))) == len(set(gateway.sent("x-signature"))) == 1


async def test_what_is_wrong_is_said_at_once_and_not_sent_again(gateway: Gateway, make: Make) -> None:
    error = {
        "code": "invalid_field",
        "message": "logs[0].level: no",
        "details": [{"path": "logs[0].level", "message": "no"}],
    }
    gateway.answers = [(422, {}, {"error": error})]
    with pytest.raises(Refused) as refusal:
        await make().send_logs([LOG])
    assert (refusal.value.code, refusal.value.path) == ("invalid_field", "logs[0].level")
    assert len(gateway.requests) == 1


async def test_the_last_word_is_what_is_known(gateway: Gateway, make: Make) -> None:
    gateway.answers = [FULL, FULL]
    with pytest.raises(Unavailable, match="full") as away:
        await make(retries=1).send_logs([LOG])
    assert not isinstance(away.value, FateUnknown)
    gateway.answers = [None, FULL]
    with pytest.raises(FateUnknown):
        await make(retries=1).send_logs([LOG])
    hour = {"retry-after": "3600", "ratelimit-limit": "7", "ratelimit-reset": "60"}
    gateway.answers = [(429, hour, FULL[2])]
    with pytest.raises(RateLimited) as limited:
        await make().send_logs([LOG])
    assert (limited.value.retry_after_s, limited.value.limit, limited.value.reset_s) == (3600, 7, 60)
    assert len(gateway.requests) == 5, "an hour is not waited for"
    with pytest.raises(Unavailable, match="cannot reach") as unreachable:
        async with IngestClient("http://127.0.0.1:9", org_key="a", secret="s", retries=1) as nowhere:
            await nowhere.send_logs([LOG])
    assert not isinstance(unreachable.value, FateUnknown)


async def test_a_gateway_that_does_not_answer_leaves_the_fate_unknown(gateway: Gateway, make: Make) -> None:
    gateway.answers = ["late"]
    with pytest.raises(FateUnknown):
        await make(timeout_s=0.2, retries=0).send_logs([LOG])


async def test_long_lists_are_split_by_count_and_by_size_under_numbered_keys(gateway: Gateway, make: Make) -> None:
    taken = await make().send_spans([{"n": n} for n in range(1201)], key="k")
    assert [len(orjson.loads(body)["spans"]) for _, body in gateway.requests] == [500, 500, 201]
    assert gateway.sent("x-idempotency-key") == ["k", "k/1", "k/2"]
    assert taken.accepted == 3
    gateway.requests.clear()
    await make().send_logs([LOG | {"message": f"{n}" + "x" * (1 << 20)} for n in range(12)])
    bodies = [body for _, body in gateway.requests]
    assert all(len(body) <= 5 << 20 for body in bodies)
    numbers = [int(log["message"].rstrip("x")) for body in bodies for log in orjson.loads(body)["logs"]]
    assert numbers == list(range(12))


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_what_is_signed_is_what_is_sent(gateway: Gateway, make: Make, encoding: str) -> None:
    await make(compression=encoding, sign_time=True).send_logs([LOG] * 50)
    ((headers, body),) = gateway.requests
    assert headers.get("content-encoding", "identity") == encoding
    assert orjson.loads(decoded(body, encoding, bytes_max=1 << 20)) == {"logs": [LOG] * 50}
    signed = hmac.digest(b"s", headers["x-timestamp"].encode() + b"." + body, "sha256").hex()
    assert headers["x-signature"] == f"v2={signed}"
    assert encoding == "identity" or len(body) < 1000
