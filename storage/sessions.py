"""Sessions: hashes of refresh tokens in, who they speak for out. The tokens themselves never come here."""

from __future__ import annotations

from dataclasses import dataclass, field

import asyncpg

from storage.control_plane_pool import ControlPlanePool, org_uuid, user_turn, uuid_or_none
from storage.named_queries import load_queries
from storage.scope import OrgScope
from topics.errors import Refused

SESSIONS_OF_USER_MAX = 50
"""Logins that a user may have in an organization; the oldest end when there are more."""

_SQL = load_queries("sessions.sql")


@dataclass(frozen=True, slots=True)
class Session:
    """A login that goes on. `token_hash` is that of the one refresh token which is good, `spent_hash` of the one before it."""

    id: str
    organization_id: str
    user_id: str
    email: str
    role: str
    token_hash: bytes = field(repr=False)
    spent_hash: bytes | None = field(repr=False)
    rotated_s_ago: float

    @property
    def scope(self) -> OrgScope:
        """The value that opens the organization's data."""
        return OrgScope(self.organization_id)


class Sessions:
    """Who is logged in. A session of a disabled user, of one who is no member any more, or past its time is as none."""

    def __init__(self, pool: ControlPlanePool) -> None:
        self._pool = pool

    async def begin(
        self,
        scope: OrgScope,
        user_id: str,
        *,
        family_hash: bytes,
        token_hash: bytes,
        lifetime_s: int,
        password_hash: str | None,
    ) -> str:
        """Log a member in; the session's id. `Refused` when the user is no member, and bad_login when it is disabled or
        `password_hash` is not its hash any more."""
        values = (org_uuid(scope), uuid_or_none(user_id), family_hash, token_hash, lifetime_s, SESSIONS_OF_USER_MAX)
        rows = await self._pool.fetch_in_turn("log in", user_turn(user_id), _SQL["begin"], *values, password_hash)
        if not rows:
            raise Refused("cannot log in: the password was changed just now", code="bad_login")
        return str(rows[0]["id"])

    async def find(self, family_hash: bytes) -> Session | None:
        """The session of a family of refresh tokens, None when there is none that goes on."""
        rows = await self._pool.fetch("find the session", _SQL["find"], family_hash)
        return _session(rows[0]) if rows else None

    async def rotate(self, session_id: str, token_hash: bytes, next_hash: bytes, *, lifetime_s: int) -> bool:
        """Put the next token in the place of the one that is good; False when that is not `token_hash` any more."""
        values = (uuid_or_none(session_id), token_hash, next_hash, lifetime_s)
        return bool(await self._pool.fetch("refresh the session", _SQL["rotate"], *values))

    async def end(self, session_id: str) -> None:
        """Log out. Twice is harmless."""
        await self._pool.fetch("end the session", _SQL["end"], uuid_or_none(session_id))

    async def load_ended(self, within_s: float) -> frozenset[str]:
        """Ids of the sessions that ended in the last seconds, or went with a membership: their access tokens may still be out."""
        rows = await self._pool.fetch("load ended sessions", _SQL["load_ended"], within_s)
        return frozenset(str(row["id"]) for row in rows)

    async def trim(self) -> int:
        """Delete what ended or expired more than a day ago; how many went."""
        return len(await self._pool.fetch("trim the sessions", _SQL["trim"]))


def _session(row: asyncpg.Record) -> Session:
    return Session(
        id=str(row["id"]),
        organization_id=str(row["organization_id"]),
        user_id=str(row["user_id"]),
        email=row["email"],
        role=row["role"],
        token_hash=row["token_hash"],
        spent_hash=row["spent_hash"],
        rotated_s_ago=float(row["rotated_s_ago"]),
    )
