"""A signed request -> one message on `<signal>.raw` -> 202. The hot path, as bare ASGI.

In order: media type and announced length, key, signature, schema; then in one step of the transport the rate limits, whether it
was taken before, and the enqueue. Nothing is answered 202 before the transport holds it. What is refused on the way uses up its
sender's share all the same. Plain ASGI: the framework's own way to a handler costs three times as much (design.md section 5).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from random import getrandbits
from typing import Any

from prometheus_client import Counter

from gateway.keys import IngestKey, KeyDirectory
from gateway.request_head import RequestHead, read_head
from gateway.signatures import (
    body_identity,
    check_signature,
    check_timestamp,
    idempotency_identity,
    replay_identity,
    unsigned,
)
from topics.content_encoding import decoded
from topics.errors import AegisError, RateLimited, Refused, Unavailable
from topics.intake import Allowance, Intake, Taken, Terms
from topics.raw import RawBatch
from web.client_address import ClientAddresses
from web.error_replies import error_reply
from web.request_body import BodiesInMemory, ClientGone, read_body

log = logging.getLogger(__name__)

HELD_BODIES = 50
"""So many bodies of the largest size may be on their way in at once."""

Scope = Any
Receive = Callable[[], Coroutine[Any, Any, Any]]
Send = Callable[[Any], Awaitable[None]]

REQUESTS = Counter("aegis_ingest_requests_total", "Ingestion requests by signal and outcome code", ["signal", "code"])
RECORDS = Counter("aegis_ingest_records_total", "Records accepted", ["signal"])
BODY_BYTES = Counter("aegis_ingest_body_bytes_total", "Bytes of accepted bodies, as received", ["signal"])


@dataclass(frozen=True, slots=True)
class WireFormat:
    """One way to send one signal: how a body is checked, and where it goes.

    `check` takes the decoded body and returns how many records it holds, or raises `Refused` naming the field at fault. With
    `from_browser` the message also says who sent the request: the address and the user agent.
    """

    signal: str
    name: str
    topic: str
    content_type: bytes
    check: Callable[[bytes], int]
    from_browser: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestLimits:
    """Bounds of one request and of one sender. `body_bytes_max` is of the body as sent, `decoded_bytes_max` decompressed."""

    body_bytes_max: int = 5 << 20
    decoded_bytes_max: int = 20 << 20
    timestamp_window_s: int = 300
    organization_per_minute: int = 10_000
    address_per_minute: int = 1_000
    idempotency_keys_max: int = 500_000


class _Signal:
    """A route's wire format and its counters, looked up once."""

    def __init__(self, wire: WireFormat) -> None:
        self.wire = wire
        self.accepted = REQUESTS.labels(wire.signal, "accepted")
        self.repeated = REQUESTS.labels(wire.signal, "repeated")
        self.records = RECORDS.labels(wire.signal)
        self.body_bytes = BODY_BYTES.labels(wire.signal)


@dataclass(slots=True)
class _Sender:
    """Who pays for a request: at first its address alone, and the organization too once the signature fits."""

    address: str
    bucket: str
    key: IngestKey | None = None


class Ingest:
    """The ingestion endpoints."""

    def __init__(
        self,
        *,
        formats: Mapping[str, WireFormat],
        keys: KeyDirectory,
        intake: Intake,
        addresses: ClientAddresses,
        limits: IngestLimits,
        keep_for_ever: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._routes = {path: _Signal(wire) for path, wire in formats.items()}
        self._keys = keys
        self._intake = intake
        self.addresses = addresses
        self._limits = limits
        self._keep_for_ever = keep_for_ever
        self._now = now
        self._held = BodiesInMemory(HELD_BODIES * limits.body_bytes_max)

    def takes(self, scope: Scope) -> bool:
        """Whether this is a request for the hot path."""
        return scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in self._routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request that `takes` said yes to."""
        signal = self._routes[scope["path"]]
        now_ms = int(self._now() * 1000)
        # Ids name requests and open nothing, so they need not be secret; the operating system's bytes cost a microsecond more.
        request_id = now_ms.to_bytes(6, "big") + getrandbits(80).to_bytes(10, "big")
        sender = _Sender("", "")
        try:
            count, size, taken = await self._accept(signal.wire, scope, receive, sender, now_ms, request_id)
        except ClientGone:
            REQUESTS.labels(signal.wire.signal, "client_gone").inc()
        except AegisError as exc:
            await self._refuse(signal.wire, await self._charged(exc, sender), request_id, send)
        except Exception:
            log.exception("cannot serve %s", scope["path"])
            await self._refuse(signal.wire, AegisError(), request_id, send)
        else:
            if taken.repeated:
                signal.repeated.inc()
            else:
                signal.accepted.inc()
                signal.records.inc(count)
                signal.body_bytes.inc(size)
            await _reply(send, 202, *_accepted(taken))

    async def _accept(
        self, wire: WireFormat, scope: Scope, receive: Receive, sender: _Sender, now_ms: int, request_id: bytes
    ) -> tuple[int, int, Taken]:
        limits = self._limits
        peer = (scope.get("client") or ("",))[0]
        sender.address, sender.bucket = peer, self.addresses.bucket(peer)
        head = read_head(scope["headers"], content_type=wire.content_type, body_bytes_max=limits.body_bytes_max)
        if self.addresses.reads_forwarded and head.forwarded_for:
            sender.address = self.addresses.address(peer, head.forwarded_for)
            sender.bucket = self.addresses.bucket(sender.address)
        if not (head.org_key and head.signature and head.timestamp):
            raise unsigned(x_org_key=head.org_key, x_signature=head.signature, x_timestamp=head.timestamp)
        timestamp_ms = check_timestamp(head.timestamp, now_ms=now_ms, window_s=limits.timestamp_window_s)
        prefix = head.org_key.decode("latin-1")
        key = self._keys.known(prefix) or await self._keys.find(prefix)
        if wire.signal not in key.signals:
            raise Refused(f"cannot accept: this API key may not send {wire.signal}", code="forbidden")
        body = await read_body(receive, bytes_max=limits.body_bytes_max, held=self._held)
        signature = check_signature(
            head.signature,
            secret=key.secret,
            timestamp=head.timestamp,
            body=body,
            require_time=key.require_signed_time,
        )
        sender.key = key
        count = wire.check(decoded(body, head.encoding, bytes_max=limits.decoded_bytes_max))
        terms = self._terms(sender, key, head, body, replay_identity(prefix, timestamp_ms, signature))
        batch = self._batch(wire, key, sender, head, body, now_ms, request_id)
        answer = request_id + b"%d" % count
        taken = await self._intake.take(wire.topic, body, batch.headers(), terms._replace(answer=answer))
        return count, len(body), taken

    def _terms(self, sender: _Sender, key: IngestKey, head: RequestHead, body: bytes, replay: bytes) -> Terms:
        limits, sent = self._limits, head.idempotency_key
        return Terms(
            organization=key.org_id,
            organization_per_minute=key.requests_per_minute or limits.organization_per_minute,
            address=sender.bucket,
            address_per_minute=limits.address_per_minute,
            replay=replay,
            idempotency=idempotency_identity(key.prefix, sent) if sent is not None else b"",
            body=body_identity(key.secret, body) if sent is not None else b"",
            keys_max=limits.idempotency_keys_max,
            answer=b"",
        )

    def _batch(
        self,
        wire: WireFormat,
        key: IngestKey,
        sender: _Sender,
        head: RequestHead,
        body: bytes,
        now_ms: int,
        request_id: bytes,
    ) -> RawBatch:
        return RawBatch(
            org_id=key.org_id,
            request_id=request_id.hex(),
            received_at_ms=now_ms,
            retention_days=0 if self._keep_for_ever else key.retention_days,
            body=body,
            format=wire.name,
            encoding=head.encoding,
            client_address=sender.address if wire.from_browser else "",
            user_agent=head.user_agent.decode("latin-1")[:1000] if wire.from_browser else "",
        )

    async def _charged(self, exc: AegisError, sender: _Sender) -> AegisError:
        """What to answer for a refused request once it has used up its share: the refusal, or that there is no share left."""
        if isinstance(exc, Unavailable):
            return exc
        limits, key = self._limits, sender.key
        # Without a fitting signature nobody but the address can be held to it; both buckets are then the same one.
        organization = key.org_id if key is not None else sender.bucket
        rate = limits.address_per_minute
        if key is not None:
            rate = key.requests_per_minute or limits.organization_per_minute
        terms = Terms(organization, rate, sender.bucket, limits.address_per_minute, b"", b"", b"", 0, b"")
        try:
            await self._intake.charge(terms)
        except RateLimited as limited:
            return limited
        except Unavailable:
            pass  # The refusal stands, whether it can be counted or not.
        return exc

    async def _refuse(self, wire: WireFormat, exc: AegisError, request_id: bytes, send: Send) -> None:
        reply = error_reply(exc)
        REQUESTS.labels(wire.signal, reply.code).inc()
        headers = [(name.encode(), value.encode()) for name, value in reply.headers.items()]
        headers.append((b"x-request-id", request_id.hex().encode()))
        if reply.status in (408, 413):
            # The rest of the body is not read; without this the next request would begin in the middle of it.
            headers.append((b"connection", b"close"))
        await _reply(send, reply.status, reply.body, headers)

    async def check(self) -> None:
        """For /health: raises `Unavailable` when the transport cannot take messages."""
        await self._intake.ping()


def _accepted(taken: Taken) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The body and headers of a 202. An answer is the request's 16 bytes of id and the number of its records."""
    request_id, count = taken.answer[:16].hex().encode(), taken.answer[16:]
    headers = [*_allowance_headers(taken.allowance), (b"x-request-id", request_id)]
    if taken.repeated:
        headers.append((b"x-idempotent-replay", b"true"))
    return b'{"accepted":%b,"request_id":"%b"}' % (count, request_id), headers


def _allowance_headers(allowance: Allowance) -> list[tuple[bytes, bytes]]:
    return [
        (b"ratelimit-limit", b"%d" % allowance.limit),
        (b"ratelimit-remaining", b"%d" % allowance.remaining),
        (b"ratelimit-reset", b"%d" % allowance.reset_s),
    ]


async def _reply(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    headers.append((b"content-type", b"application/json"))
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
