"""Invitations: a token that is shown once, and what the control plane keeps of it."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from storage.memberships import Invite

INVITE_LIFETIME: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class NewInvite:
    """An invitation with its token, which is shown once."""

    token: str = field(repr=False)
    kept: Invite


def new_invite() -> NewInvite:
    """One that nobody has."""
    token = f"aei_{secrets.token_urlsafe(32)}"
    return NewInvite(token, Invite(invite_hash(token), datetime.now(UTC) + INVITE_LIFETIME))


def invite_hash(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
