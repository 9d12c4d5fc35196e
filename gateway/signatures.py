"""Request headers + raw body -> the key that signed it, or a refusal.

x-org-key: <key prefix>    x-timestamp: <unix ms>    x-signature: sha256=<hex HMAC-SHA256 of the raw body>
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from topics.errors import Refused

_SCHEME = b"sha256="
_HEX_LENGTH = 64


@dataclass(slots=True)
class SignedHeaders:
    """The headers that sign a request, None where missing, as the bytes that were sent."""

    org_key: bytes | None = None
    signature: bytes | None = None
    timestamp: bytes | None = None


def check_signed(headers: SignedHeaders) -> str:
    """The key prefix that a request claims. Raises `Refused` (unsigned) naming the header that is missing."""
    for name, value in (
        ("x-org-key", headers.org_key),
        ("x-signature", headers.signature),
        ("x-timestamp", headers.timestamp),
    ):
        if not value:
            raise Refused(f"cannot accept: the request is not signed, header {name} is missing", code="unsigned")
    assert headers.org_key is not None
    return headers.org_key.decode("latin-1")


def check_timestamp(value: bytes | None, *, now_ms: int, window_s: int) -> None:
    """Raise `Refused` unless `value` is unix milliseconds within `window_s` seconds of `now_ms`, either way."""
    if value is None or not value.isdigit() or len(value) > 15:
        raise Refused("cannot accept: x-timestamp must be unix milliseconds, digits only", code="bad_timestamp_header")
    off_ms = int(value) - now_ms
    if abs(off_ms) > window_s * 1000:
        when = "ahead of" if off_ms > 0 else "behind"
        raise Refused(
            f"cannot accept: x-timestamp is {abs(off_ms) / 1000:.0f} s {when} our clock, more than {window_s} s",
            code="stale_timestamp",
        )


def check_signature(value: bytes | None, *, secret: bytes, body: bytes) -> None:
    """Raise `Refused` unless `value` is the HMAC-SHA256 of `body` under `secret`. Compares in constant time."""
    if value is None or not value.startswith(_SCHEME) or len(value) != len(_SCHEME) + _HEX_LENGTH:
        raise Refused("cannot accept: x-signature must be sha256=<64 hex digits>", code="bad_signature")
    expected = hmac.digest(secret, body, "sha256").hex().encode()
    if not hmac.compare_digest(expected, value[len(_SCHEME) :].lower()):
        raise Refused("cannot accept: the signature does not fit the body and the key's secret", code="bad_signature")
