"""Bearer tokens <-> who asks: a JWT names an organization and a role, the role grants permissions.

The algorithm is pinned (query/signing.py), an expiry is required, and the organization comes from nowhere else:
`Principal.scope` is what every store call is made with. There are three kinds. Access tokens of a login name a user and a
session, and what the control plane says of the two now counts (query/callers.py). API tokens are no JWTs and stand in the control
plane. Those of `aegis token` name neither, and are good until they expire.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, cast, get_args

import jwt

from query.api_token_text import read_api_token
from query.callers import Callers
from query.signing import SigningKey, cannot_issue, shared_secret
from storage.actor import Actor
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

_ISSUER: Final = "aegis"
_LEEWAY_S: Final = 5
TOKEN_BYTES_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, and for which organization. `limits` is what each statement of the question may cost (query/limits.py).

    `subject` is the id of a user or of an API token, or what `aegis token` wrote; `kind` says which, and `name` is how people
    know it. `session_id` is a login's, `address` from where the request came.
    """

    subject: str
    scope: OrgScope
    role: Role
    kind: Literal["user", "api_token", "token"] = "token"
    name: str = ""
    session_id: str = ""
    address: str = ""
    limits: SearchLimits = field(default_factory=SearchLimits)

    def require(self, permission: Permission) -> None:
        """Raise `Refused` (forbidden) unless the role grants `permission`."""
        if permission not in PERMISSIONS[self.role]:
            raise Refused(f"cannot answer: role {self.role} does not have {permission}", code="forbidden")

    @property
    def is_owner(self) -> bool:
        """Whether it may make and remove owners."""
        return self.role == "owner"

    def actor(self) -> Actor:
        """Who the audit log says did it."""
        return Actor(self.kind, self.subject, self.name or self.subject, self.address)


class Tokens:
    """Makes tokens, and tells who bears one. A text as the key is a secret of at least 32 bytes (HS256).

    Without `callers` only the tokens of `aegis token` are known.
    """

    def __init__(
        self, key: str | SigningKey, *, callers: Callers | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self.key = shared_secret(key) if isinstance(key, str) else key
        self._callers = callers
        self._now = now

    def issue(self, scope: OrgScope, *, role: Role, subject: str, lifetime_s: int, session_id: str = "") -> str:
        """A JWT for `lifetime_s` seconds; with a session `subject` is a user's id.

        Raises `Refused` (not_configured) where there is only a public key.
        """
        if self.key.private is None:
            raise cannot_issue()
        now = int(self._now())
        claims = {
            "iss": _ISSUER,
            "sub": subject,
            "org_id": scope.org_id,
            "role": role,
            "iat": now,
            "exp": now + lifetime_s,
        }
        if session_id:
            claims["sid"] = session_id
        return jwt.encode(claims, self.key.private, algorithm=self.key.algorithm)

    async def identify(self, header: str | None) -> Principal:
        """The Authorization header -> who asks, as it stands now.

        Raises `Refused` (bad_token), or `Unavailable` when nobody can say.
        """
        text = _bearer(header)
        api_token = read_api_token(text)
        if api_token is not None:
            known = None if self._callers is None else await self._callers.api_token(api_token)
            if known is None:
                raise _bad("it is unknown, revoked or expired")
            scope = OrgScope(known.organization_id)
            return Principal(known.id, scope, cast(Role, known.role), kind="api_token", name=known.name)
        found = self.read(text)
        if found.kind != "user":
            return found
        if self._callers is None:
            raise _bad("users are not known here")
        member = await self._callers.member(found.scope.org_id, found.subject, found.session_id)
        if member is None:
            raise _bad("its user is no member any more, is disabled, or has logged out")
        return replace(found, role=cast(Role, member.role), name=member.email)

    def read(self, token: str) -> Principal:
        """Who a JWT was issued to. Raises `Refused` (bad_token) for anything that is not ours, whole and current.

        Of a user this says what was so when it was issued: `identify` says what is so now.
        """
        if len(token) > TOKEN_BYTES_MAX:
            raise _bad("it is too long")
        try:
            # No key is looked up by what a header names, and one that names more (kid, jku, jwk, crit) is none that we wrote.
            if not jwt.get_unverified_header(token).keys() <= {"alg", "typ"}:
                raise ValueError("header")
            claims = jwt.decode(
                token,
                self.key.public,
                algorithms=[self.key.algorithm],
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
            session_id = _session(claims)
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError, OverflowError, Refused):
            raise _bad("it is not one of ours") from None
        if not math.isfinite(expires) or expires + _LEEWAY_S <= self._now():
            raise _bad("it has expired")
        if role not in ROLES:
            raise _bad("it names no known role")
        kind: Literal["user", "token"] = "user" if session_id else "token"
        return Principal(subject=str(claims["sub"]), scope=scope, role=role, kind=kind, session_id=session_id)


def _session(claims: dict[str, Any]) -> str:
    """The session of a login's token, "" for one without. One that is there and empty would pass for none."""
    if "sid" not in claims:
        return ""
    if not isinstance(claims["sid"], str) or not claims["sid"]:
        raise ValueError("sid")
    return claims["sid"]


def _bearer(header: str | None) -> str:
    if not header:
        raise _bad("header Authorization: Bearer <token> is missing")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _bad("the Authorization header must be: Bearer <token>")
    return token.strip()


def _bad(why: str) -> Refused:
    return Refused(f"cannot accept the token: {why}; log in, or make one with `aegis token ORG`", code="bad_token")
