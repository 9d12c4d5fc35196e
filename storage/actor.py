"""Who changes something in the control plane: a caller's identity in, what its transaction tells the audit log, out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

ActorKind = Literal["user", "api_token", "token", "command", "system"]


@dataclass(frozen=True, slots=True)
class Actor:
    """A user or an API token by its id, a bearer token that `aegis token` made by its subject, the command line by its account.

    `name` is how people know it (an e-mail address, a token's name), `address` from where it came, "" when not over HTTP.
    """

    kind: ActorKind
    id: str = ""
    name: str = ""
    address: str = ""

    def setting(self) -> str:
        """The value of `aegis.actor`, which the triggers of 0008_create_audit_log.sql read."""
        told = {"kind": self.kind, "id": self.id[:200], "name": self.name[:300], "address": self.address[:100]}
        return msgspec.json.encode({name: text.replace("\0", "") for name, text in told.items()}).decode()
