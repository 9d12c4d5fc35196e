"""Bearer tokens <-> who asks: a JWT (HS256) names an organization and a role, the role grants permissions.

The algorithm is pinned, an expiry is required, and the organization comes from nowhere else: `Principal.scope` is what
every store call is made with.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

import jwt

from storage.scope import OrgScope
from storage.search_limits import SearchLimits
from topics.errors import Refused

Role = Literal["owner", "admin", "member", "viewer"]
Permission = Literal[
    "logs:read",
    "metrics:read",
    "traces:read",
    "rum:read",
    "monitors:read",
    "monitors:write",
    "usage:read",
    "org:admin",
]

_READ: Final[frozenset[Permission]] = frozenset(
    {"logs:read", "metrics:read", "traces:read", "rum:read", "monitors:read", "usage:read"}
)
PERMISSIONS: Final[dict[Role, frozenset[Permission]]] = {
    "viewer": _READ,
    "member": _READ | {"monitors:write"},
    "admin": _READ | {"monitors:write", "org:admin"},
    "owner": _READ | {"monitors:write", "org:admin"},
}

ROLES: Final[tuple[Role, ...]] = get_args(Role)

_ALGORITHM: Final = "HS256"
_ISSUER: Final = "aegis"
_LEEWAY_S: Final = 5
TOKEN_BYTES_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, and for which organization. `limits` is what each statement of the question may cost (query/limits.py)."""

    subject: str
    scope: OrgScope
    role: Role
    limits: SearchLimits = field(default_factory=SearchLimits)

    def require(self, permission: Permission) -> None:
        """Raise `Refused` (forbidden) unless the role grants `permission`."""
        if permission not in PERMISSIONS[self.role]:
            raise Refused(f"cannot answer: role {self.role} does not have {permission}", code="forbidden")


class Tokens:
    """Makes and reads tokens under one secret of at least 32 bytes."""

    def __init__(self, secret: str, *, now: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._now = now

    def issue(self, scope: OrgScope, *, role: Role, subject: str, lifetime_s: int) -> str:
        """A token for `lifetime_s` seconds."""
        now = int(self._now())
        claims = {
            "iss": _ISSUER,
            "sub": subject,
            "org_id": scope.org_id,
            "role": role,
            "iat": now,
            "exp": now + lifetime_s,
        }
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM)

    def read(self, token: str) -> Principal:
        """Who a token speaks for. Raises `Refused` (bad_token) for anything that is not ours, whole and current."""
        if len(token) > TOKEN_BYTES_MAX:
            raise _bad("it is too long")
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                issuer=_ISSUER,
                options={
                    "require": ["exp", "iat", "sub", "iss"],
                    # Expiry is looked at below, by the clock that was passed in.
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
            expires, role = float(claims["exp"]), claims["role"]
            scope = OrgScope(str(claims["org_id"]))
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError, Refused):
            raise _bad("it is not one of ours") from None
        if expires + _LEEWAY_S <= self._now():
            raise _bad("it has expired")
        if role not in ROLES:
            raise _bad("it names no known role")
        return Principal(subject=str(claims["sub"]), scope=scope, role=role)


def read_bearer(header: str | None, tokens: Tokens) -> Principal:
    """The Authorization header -> who asks. Raises `Refused` (bad_token)."""
    if not header:
        raise _bad("header Authorization: Bearer <token> is missing")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _bad("the Authorization header must be: Bearer <token>")
    return tokens.read(token.strip())


def _bad(why: str) -> Refused:
    return Refused(f"cannot accept the token: {why}; make one with `aegis token ORG`", code="bad_token")
