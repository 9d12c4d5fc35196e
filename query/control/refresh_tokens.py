"""Refresh tokens: random bytes in, the text that a client keeps and the hashes that the control plane keeps, out.

`aer_` and 56 bytes in base64url: 24 that all tokens of a session share, and 32 of this one. The next one's are an HMAC of this
one's under a key that only the issuer has, so that a client whose answer was lost gets the same answer again, and nothing but
hashes is stored (RFC 9700 section 4.14.2 asks for rotation).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

_FORM: Final = re.compile(r"aer_([A-Za-z0-9_-]{75})")
_FAMILY_BYTES: Final = 24
_OWN_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """One token of a session."""

    family: bytes = field(repr=False)
    own: bytes = field(repr=False)

    def __str__(self) -> str:
        return "aer_" + base64.urlsafe_b64encode(self.family + self.own).decode().rstrip("=")

    @property
    def family_hash(self) -> bytes:
        """Names the session."""
        return hashlib.sha256(self.family).digest()

    @property
    def own_hash(self) -> bytes:
        """Names this token of it."""
        return hashlib.sha256(self.own).digest()

    def successor(self, key: bytes) -> RefreshToken:
        """The one that is good once this one is spent."""
        return RefreshToken(self.family, hmac.digest(key, self.family + self.own, "sha256"))


def new_refresh_token() -> RefreshToken:
    """The first one of a session."""
    return RefreshToken(secrets.token_bytes(_FAMILY_BYTES), secrets.token_bytes(_OWN_BYTES))


def read_refresh_token(text: str) -> RefreshToken | None:
    """The token of a text; None for what is none."""
    match = _FORM.fullmatch(text)
    if match is None:
        return None
    try:
        whole = base64.urlsafe_b64decode(match[1] + "=")
    except binascii.Error:
        return None
    return RefreshToken(whole[:_FAMILY_BYTES], whole[_FAMILY_BYTES:])
