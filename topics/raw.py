"""One accepted request <-> one message on `<signal>.raw`: the body exactly as received, what is known about it as headers.

Headers are (name, bytes) pairs, as Kafka and our Redis Streams entries both carry them, so that no body is re-encoded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from topics.errors import Refused

Headers = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class RawBatch:
    """A request as accepted.

    `received_at_ms` is unix milliseconds by the gateway's clock; `format` names the wire format (one file each in gateway/);
    `encoding` is the content encoding of `body` ("identity" for none); `retention_days` is what the organization keeps
    records for, 0 for ever. `client_address` and `user_agent` are those of the request, where it came from a browser.
    """

    org_id: str
    request_id: str
    received_at_ms: int
    retention_days: int
    body: bytes
    format: str = "native"
    encoding: str = "identity"
    client_address: str = ""
    user_agent: str = ""

    def headers(self) -> Headers:
        """The message headers that carry everything but the body."""
        headers = [
            ("org", self.org_id.encode()),
            ("request", self.request_id.encode()),
            ("received_at_ms", b"%d" % self.received_at_ms),
            ("retention_days", b"%d" % self.retention_days),
            ("format", self.format.encode()),
            ("encoding", self.encoding.encode()),
        ]
        if self.client_address or self.user_agent:
            headers.append(("client_address", self.client_address.encode()))
            headers.append(("user_agent", self.user_agent.encode()))
        return headers

    @classmethod
    def from_message(cls, body: bytes, headers: Iterable[tuple[str, bytes]]) -> RawBatch:
        """The other way round. Raises `Refused` when a header is missing or not a number where one must be."""
        known = dict(headers)
        try:
            return cls(
                org_id=known["org"].decode(),
                request_id=known["request"].decode(),
                received_at_ms=int(known["received_at_ms"]),
                retention_days=int(known["retention_days"]),
                body=body,
                format=known["format"].decode(),
                encoding=known["encoding"].decode(),
                client_address=known.get("client_address", b"").decode(),
                user_agent=known.get("user_agent", b"").decode(),
            )
        except (KeyError, ValueError) as exc:
            raise Refused(f"cannot read a raw message: header {exc}", code="bad_message") from exc
