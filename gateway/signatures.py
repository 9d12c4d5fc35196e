"""Signing headers + raw body -> checked, or a refusal; and the identities that a request is remembered by.

x-org-key: <key prefix>    x-timestamp: <unix ms>    x-signature: sha256=<hex HMAC-SHA256 of the raw body>
                                                     x-signature: v2=<hex HMAC-SHA256 of "<x-timestamp>." + the raw body>

The second scheme covers the time too, so a captured request cannot be sent again later; an organization can require it.
"""

from __future__ import annotations

import hmac
from hashlib import blake2b

from topics.errors import Refused

_BODY_ONLY = b"sha256="
_WITH_TIME = b"v2="
_HEX_LENGTH = 64
_TIMESTAMP_DIGITS_MAX = 15


def unsigned(**headers: bytes | None) -> Refused:
    """The refusal of a request that lacks a header that signs it, naming the first; `x_org_key` is the header x-org-key."""
    missing = next(name for name, value in headers.items() if not value).replace("_", "-")
    return Refused(f"cannot accept: the request is not signed, header {missing} is missing", code="unsigned")


def check_timestamp(value: bytes, *, now_ms: int, window_s: int) -> int:
    """The x-timestamp as a number; raises `Refused` unless it is unix milliseconds within `window_s` seconds of `now_ms`."""
    if not value.isdigit() or len(value) > _TIMESTAMP_DIGITS_MAX:
        raise Refused("cannot accept: x-timestamp must be unix milliseconds, digits only", code="bad_timestamp_header")
    timestamp_ms = int(value)
    off_ms = timestamp_ms - now_ms
    if abs(off_ms) > window_s * 1000:
        when = "ahead of" if off_ms > 0 else "behind"
        raise Refused(
            f"cannot accept: x-timestamp is {abs(off_ms) / 1000:.0f} s {when} our clock, more than {window_s} s",
            code="stale_timestamp",
        )
    return timestamp_ms


def check_signature(value: bytes, *, secret: bytes, timestamp: bytes, body: bytes, require_time: bool = False) -> bytes:
    """The 32 bytes of a signature that fits; raises `Refused` for any other. Compares in constant time.

    `timestamp` is the header as it was sent. With `require_time` only the second scheme is accepted.
    """
    if value.startswith(_BODY_ONLY) and len(value) == len(_BODY_ONLY) + _HEX_LENGTH:
        if require_time:
            raise Refused(
                "cannot accept: this organization requires signatures that cover the time, x-signature: v2=<hex>",
                code="bad_signature",
            )
        digest, sent = hmac.digest(secret, body, "sha256"), value[len(_BODY_ONLY) :]
    elif value.startswith(_WITH_TIME) and len(value) == len(_WITH_TIME) + _HEX_LENGTH:
        digest, sent = hmac.digest(secret, b"%b.%b" % (timestamp, body), "sha256"), value[len(_WITH_TIME) :]
    else:
        raise Refused(
            "cannot accept: x-signature must be sha256=<64 hex digits> or v2=<64 hex digits>", code="bad_signature"
        )
    # Compared as text, since what was sent need not be hexadecimal.
    if not hmac.compare_digest(digest.hex().encode(), sent.lower()):
        raise Refused("cannot accept: the signature does not fit the body and the key's secret", code="bad_signature")
    return digest


def replay_identity(prefix: str, timestamp_ms: int, signature: bytes) -> bytes:
    """16 bytes that name a signed request: the same for every copy of it, however its headers are written."""
    return blake2b(b"%b\0%d\0%b" % (prefix.encode(), timestamp_ms, signature), digest_size=16).digest()


def idempotency_identity(prefix: str, key: bytes) -> bytes:
    """16 bytes that name an idempotency key of one API key."""
    return blake2b(b"%b\0%b" % (prefix.encode(), key), digest_size=16).digest()


def body_identity(secret: bytes, body: bytes) -> bytes:
    """8 bytes that tell whether a body is the same one."""
    return hmac.digest(secret, body, "sha256")[:8]
