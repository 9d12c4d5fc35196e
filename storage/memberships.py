"""Memberships: an organization and a user in, the role of the one in the other out.

An organization that has members keeps at least one owner, also when two owners step down at the same moment: the database
sees to it, and refuses with code "conflict" and path "role".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import asyncpg

from storage.control_plane_pool import ControlPlanePool, org_uuid, uuid_or_none
from storage.named_queries import load_queries
from storage.scope import OrgScope
from topics.errors import Refused

_SQL = load_queries("memberships.sql")
MEMBERS_MAX = 10_000
"""Of one organization: every process that answers questions holds them all."""
_ADDING = "add members"
"""One at a time: of two organizations that add the same person at once, one only may set the password."""


@dataclass(frozen=True, slots=True)
class Membership:
    """A user in an organization; `role` is owner, admin, member or viewer."""

    organization_id: str
    user_id: str
    role: str
    created_at: datetime
    email: str
    name: str
    disabled: bool


@dataclass(frozen=True, slots=True)
class Invite:
    """With what a person chooses a password, once and until then: the SHA-256 of a random token."""

    token_hash: bytes = field(repr=False)
    expires_at: datetime


class Memberships:
    """Who belongs where, and as what."""

    def __init__(self, pool: ControlPlanePool) -> None:
        self._pool = pool

    async def add(self, scope: OrgScope, user_id: str, role: str) -> Membership:
        """Make a user a member. `Refused` "conflict" when it is one already, with whatever role."""
        values = (org_uuid(scope), uuid_or_none(user_id), role)
        return _membership((await self._pool.fetch_in_turn("add the member", _ADDING, _SQL["add"], *values))[0])

    async def list_in(self, scope: OrgScope) -> list[Membership]:
        """The organization's members, oldest first."""
        return [_membership(row) for row in await self._pool.fetch("list members", _SQL["list"], org_uuid(scope))]

    async def get(self, scope: OrgScope, user_id: str) -> Membership:
        """One member. `Refused` "not_found" for a user who is none here."""
        return await self._one("get the member", "get", org_uuid(scope), uuid_or_none(user_id))

    async def list_of_user(self, user_id: str) -> list[Membership]:
        """Where a user may log in, oldest membership first. For that user alone: it crosses organizations."""
        rows = await self._pool.fetch("list the organizations", _SQL["list_of_user"], uuid_or_none(user_id))
        return [_membership(row) for row in rows]

    async def add_person(
        self,
        scope: OrgScope,
        email: str,
        role: str,
        *,
        name: str = "",
        password_hash: str | None = None,
        invite: Invite | None = None,
    ) -> Membership:
        """Make the person of an address a member, and a user where the address has none, in one step.

        `Refused` "conflict" for a member, and for a user of another organization: whoever set that one's password must not
        come in with it, so that only an operator adds such a user (`add`).
        """
        doing = "add the member"
        invited = (None, None) if invite is None else (invite.token_hash, invite.expires_at)
        values = (org_uuid(scope), email, name, role, password_hash, *invited, MEMBERS_MAX)
        rows = await self._pool.fetch_in_turn(doing, _ADDING, _SQL["add_person"], *values)
        if not rows:
            if len(await self.list_in(scope)) >= MEMBERS_MAX:
                raise Refused(f"cannot {doing}: there are {MEMBERS_MAX}", code="conflict")
            known = await self._pool.fetch(doing, _SQL["find"], org_uuid(scope), email)
            why = "this user is a member already" if known else "the address is in use; `aegis user add` can add it"
            raise Refused(f"cannot {doing}: {why}", code="conflict", path="email")
        return _membership(rows[0])

    async def change_role(self, scope: OrgScope, user_id: str, role: str, *, by_owner: bool = True) -> Membership:
        """Give a member another role. `Refused` "forbidden" for an owner's unless an owner does it."""
        doing = "change the role"
        rows = await self._pool.fetch(
            doing, _SQL["change_role"], org_uuid(scope), uuid_or_none(user_id), role, by_owner
        )
        if not rows:
            raise await self._why_not(doing, scope, user_id)
        return _membership(rows[0])

    async def remove(self, scope: OrgScope, user_id: str, *, by_owner: bool = True) -> None:
        """End a membership, and its sessions; the user stays. `Refused` "forbidden" as above."""
        doing = "remove the member"
        if not await self._pool.fetch(doing, _SQL["remove"], org_uuid(scope), uuid_or_none(user_id), by_owner):
            raise await self._why_not(doing, scope, user_id)

    async def load(self) -> dict[tuple[str, str], tuple[str, str]]:
        """(organization, user) -> (role, e-mail) of all members who are not disabled, for whoever checks access tokens."""
        return {
            (str(row["organization_id"]), str(row["user_id"])): (row["role"], row["email"])
            for row in await self._pool.fetch("load the members", _SQL["load"])
        }

    async def _why_not(self, doing: str, scope: OrgScope, user_id: str) -> Refused:
        """Nothing was changed: there is no such member, which this raises, or it is an owner."""
        await self._one(doing, "get", org_uuid(scope), uuid_or_none(user_id))
        return Refused(f"cannot {doing}: only an owner changes owners", code="forbidden", path="role")

    async def _one(self, doing: str, name: str, *values: object) -> Membership:
        return _membership(await self._pool.fetch_one(doing, "user_id", _SQL[name], *values))


def _membership(row: asyncpg.Record) -> Membership:
    return Membership(
        organization_id=str(row["organization_id"]),
        user_id=str(row["user_id"]),
        role=row["role"],
        created_at=row["created_at"],
        email=row["email"],
        name=row["name"],
        disabled=row["disabled"],
    )
