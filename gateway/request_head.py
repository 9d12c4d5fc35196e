"""The headers of an ingestion request -> what signs it, how its body is to be read, and what names its sender."""

from __future__ import annotations

import re
from dataclasses import dataclass

from topics.content_encoding import ENCODINGS, IDENTITY, unsupported_encoding
from topics.errors import Refused
from web.request_body import body_too_large

IDEMPOTENCY_KEY_BYTES_MAX = 255

_ENCODINGS = {name.encode(): name for name in ENCODINGS} | {b"x-gzip": "gzip"}
_IDEMPOTENCY_KEY = re.compile(rb"[!-~]{1,%d}" % IDEMPOTENCY_KEY_BYTES_MAX)


@dataclass(slots=True)
class RequestHead:
    """What the hot path needs of the headers, None where missing, as the bytes that were sent."""

    org_key: bytes | None = None
    signature: bytes | None = None
    timestamp: bytes | None = None
    idempotency_key: bytes | None = None
    forwarded_for: bytes = b""
    user_agent: bytes = b""
    encoding: str = IDENTITY


def read_head(headers: list[tuple[bytes, bytes]], *, content_type: bytes, body_bytes_max: int) -> RequestHead:
    """Read ASGI headers, whose names are lower case.

    Raises `Refused` for a media type other than `content_type`, an encoding that is none of ours, an announced length past the
    bound, a header that may stand once and is there twice, and an idempotency key that is none.
    """
    head = RequestHead()
    media_type: bytes | None = None
    encoding: bytes | None = None
    for name, value in headers:
        if name == b"x-org-key":
            head.org_key = _once(name, head.org_key, value)
        elif name == b"x-signature":
            head.signature = _once(name, head.signature, value)
        elif name == b"x-timestamp":
            head.timestamp = _once(name, head.timestamp, value)
        elif name == b"content-type":
            media_type = _once(name, media_type, value)
        elif name == b"content-length":
            if int(value) > body_bytes_max:
                raise body_too_large(body_bytes_max)
        elif name == b"x-idempotency-key":
            head.idempotency_key = _idempotency_key(_once(name, head.idempotency_key, value))
        elif name == b"content-encoding":
            encoding = _once(name, encoding, value)
        elif name == b"x-forwarded-for":
            # A list may be spread over several headers (RFC 9110 section 5.3).
            head.forwarded_for = b"%b,%b" % (head.forwarded_for, value) if head.forwarded_for else value
        elif name == b"user-agent":
            head.user_agent = value
    if media_type != content_type and not _is_media_type(media_type or b"", content_type):
        sent, wanted = (media_type or b"")[:60].decode("latin-1"), content_type.decode()
        raise Refused(f"cannot accept content-type {sent!r}: send {wanted}", code="unsupported_media_type")
    if encoding is not None:
        found = _ENCODINGS.get(encoding.strip().lower())
        if found is None:
            raise unsupported_encoding(encoding.decode("latin-1"))
        head.encoding = found
    return head


def _idempotency_key(value: bytes) -> bytes:
    if _IDEMPOTENCY_KEY.fullmatch(value) is None:
        raise Refused(
            f"cannot accept: x-idempotency-key must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters",
            code="malformed_request",
            path="x-idempotency-key",
        )
    return value


def _is_media_type(content_type: bytes, wanted: bytes) -> bool:
    """Whether a Content-Type is the wanted one, in UTF-8 if it names a charset at all."""
    media_type, *parameters = (part.strip().lower() for part in content_type.split(b";"))
    charsets = [value.strip(b'"') for name, _, value in (p.partition(b"=") for p in parameters) if name == b"charset"]
    return media_type == wanted and all(charset == b"utf-8" for charset in charsets)


def _once(name: bytes, seen: bytes | None, value: bytes) -> bytes:
    if seen is not None:
        raise Refused(f"cannot accept: header {name.decode()} is there twice", code="duplicate_header")
    return value
