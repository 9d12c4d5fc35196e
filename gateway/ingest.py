"""A signed request -> one message on `<signal>.raw` -> 202. The hot path, as bare ASGI.

In order: media type and announced length, signature, schema, enqueue. Nothing is answered 202 before the transport holds it.
Plain ASGI, because the framework's own way to a handler costs three times as much as everything here (design.md section 5).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter

from gateway.keys import KeyDirectory
from gateway.signatures import SignedHeaders, check_signature, check_signed, check_timestamp
from topics.errors import AegisError, Refused
from topics.producer import Producer
from topics.raw import RawBatch
from web.error_replies import ErrorReply, error_reply
from web.request_body import BodiesInMemory, ClientGone, body_too_large, read_body

log = logging.getLogger(__name__)

HELD_BODIES = 50
"""So many bodies of the largest size may be on their way in at once."""

Scope = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

REQUESTS = Counter("aegis_ingest_requests_total", "Ingestion requests by signal and outcome code", ["signal", "code"])
RECORDS = Counter("aegis_ingest_records_total", "Records accepted", ["signal"])
BODY_BYTES = Counter("aegis_ingest_body_bytes_total", "Bytes of accepted bodies, as received", ["signal"])


@dataclass(frozen=True, slots=True)
class WireFormat:
    """One way to send one signal: how a body is checked, and where it goes.

    `check` takes the body and returns how many records it holds, or raises `Refused` naming the field at fault.
    """

    signal: str
    name: str
    topic: str
    content_type: bytes
    check: Callable[[bytes], int]


class Ingest:
    """The ingestion endpoints."""

    def __init__(
        self,
        *,
        formats: Mapping[str, WireFormat],
        keys: KeyDirectory,
        producer: Producer,
        body_bytes_max: int,
        timestamp_window_s: int,
        keep_for_ever: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._routes = {
            path: (
                wire,
                RECORDS.labels(wire.signal),
                BODY_BYTES.labels(wire.signal),
                REQUESTS.labels(wire.signal, "accepted"),
            )
            for path, wire in formats.items()
        }
        self._keys = keys
        self._producer = producer
        self._body_bytes_max = body_bytes_max
        self._timestamp_window_s = timestamp_window_s
        self._keep_for_ever = keep_for_ever
        self._now = now
        self._held = BodiesInMemory(HELD_BODIES * body_bytes_max)

    def takes(self, scope: Scope) -> bool:
        """Whether this is a request for the hot path."""
        return scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in self._routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request that `takes` said yes to."""
        wire, records, body_bytes, accepted = self._routes[scope["path"]]
        now = self._now()
        request_id = f"{int(now * 1000):012x}{os.urandom(10).hex()}"
        try:
            body, count = await self._accept(wire, scope, receive, now, request_id)
        except ClientGone:
            REQUESTS.labels(wire.signal, "client_gone").inc()
            return
        except AegisError as exc:
            await self._refuse(wire, error_reply(exc), request_id, send)
            return
        except Exception:
            log.exception("cannot serve %s", scope["path"])
            await self._refuse(wire, error_reply(AegisError()), request_id, send)
            return
        accepted.inc()
        records.inc(count)
        body_bytes.inc(len(body))
        await _reply(send, 202, b'{"accepted":%d,"request_id":"%b"}' % (count, request_id.encode()), request_id)

    async def _accept(
        self, wire: WireFormat, scope: Scope, receive: Receive, now: float, request_id: str
    ) -> tuple[bytes, int]:
        signed = self._read_headers(wire, scope["headers"])
        prefix = check_signed(signed)
        check_timestamp(signed.timestamp, now_ms=int(now * 1000), window_s=self._timestamp_window_s)
        key = self._keys.known(prefix) or await self._keys.find(prefix)
        if wire.signal not in key.signals:
            raise Refused(f"cannot accept: this API key may not send {wire.signal}", code="forbidden")
        body = await read_body(receive, bytes_max=self._body_bytes_max, held=self._held)
        check_signature(signed.signature, secret=key.secret, body=body)
        count = wire.check(body)
        batch = RawBatch(
            org_id=key.org_id,
            request_id=request_id,
            received_at_ms=int(now * 1000),
            retention_days=0 if self._keep_for_ever else key.retention_days,
            body=body,
            format=wire.name,
        )
        await self._producer.add(wire.topic, body, batch.headers())
        return body, count

    def _read_headers(self, wire: WireFormat, headers: list[tuple[bytes, bytes]]) -> SignedHeaders:
        """The signing headers; refuses a wrong media type, encoding or announced length on the way."""
        signed = SignedHeaders()
        content_type = b""
        for name, value in headers:
            if name == b"x-org-key":
                signed.org_key = _once(name, signed.org_key, value)
            elif name == b"x-signature":
                signed.signature = _once(name, signed.signature, value)
            elif name == b"x-timestamp":
                signed.timestamp = _once(name, signed.timestamp, value)
            elif name == b"content-type":
                content_type = value
            elif name == b"content-length":
                if int(value) > self._body_bytes_max:
                    raise body_too_large(self._body_bytes_max)
            elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
                raise Refused(
                    f"cannot accept content-encoding {value[:40].decode('latin-1')!r}: send the body uncompressed",
                    code="unsupported_encoding",
                )
        if not _is_media_type(content_type, wire.content_type):
            sent, wanted = content_type[:60].decode("latin-1"), wire.content_type.decode()
            raise Refused(f"cannot accept content-type {sent!r}: send {wanted}", code="unsupported_media_type")
        return signed

    async def _refuse(self, wire: WireFormat, reply: ErrorReply, request_id: str, send: Send) -> None:
        REQUESTS.labels(wire.signal, reply.code).inc()
        extra = [(name.encode(), value.encode()) for name, value in reply.headers.items()]
        if reply.status in (408, 413):
            # The rest of the body is not read; without this the next request would begin in the middle of it.
            extra.append((b"connection", b"close"))
        await _reply(send, reply.status, reply.body, request_id, extra)

    async def check(self) -> None:
        """For /health: raises `Unavailable` when the transport cannot take messages."""
        await self._producer.ping()


def _is_media_type(content_type: bytes, wanted: bytes) -> bool:
    """Whether a Content-Type is the wanted one, in UTF-8 if it names a charset at all."""
    if content_type == wanted:
        return True
    media_type, *parameters = (part.strip().lower() for part in content_type.split(b";"))
    charsets = [value.strip(b'"') for name, _, value in (p.partition(b"=") for p in parameters) if name == b"charset"]
    return media_type == wanted and all(charset == b"utf-8" for charset in charsets)


def _once(name: bytes, seen: bytes | None, value: bytes) -> bytes:
    if seen is not None:
        raise Refused(f"cannot accept: header {name.decode()} is there twice", code="duplicate_header")
    return value


async def _reply(
    send: Send, status: int, body: bytes, request_id: str, extra: list[tuple[bytes, bytes]] | None = None
) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id.encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers + extra if extra else headers})
    await send({"type": "http.response.body", "body": body})
