"""API tokens as programs send them: `aet_<16 hex digits>_<64 hex digits>`, a prefix that names the token and its secret."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

_FORM: Final = re.compile(r"(aet_[0-9a-f]{16})_([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class ApiTokenText:
    """A token's two parts. The secret is 32 random bytes, so that a fast hash keeps it."""

    prefix: str
    secret: str = field(repr=False)

    @property
    def secret_hash(self) -> bytes:
        """What the control plane keeps of the secret."""
        return hashlib.sha256(self.secret.encode()).digest()

    def __str__(self) -> str:
        return f"{self.prefix}_{self.secret}"


def new_api_token() -> ApiTokenText:
    """One that nobody has."""
    return ApiTokenText(f"aet_{secrets.token_hex(8)}", secrets.token_hex(32))


def read_api_token(text: str) -> ApiTokenText | None:
    """The token of a bearer; None for what is none, as a JWT."""
    match = _FORM.fullmatch(text)
    return None if match is None else ApiTokenText(match[1], match[2])
