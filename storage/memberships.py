"""Memberships: an organization and a user in, the role of the one in the other out.

An organization that has members keeps at least one owner, also when two owners step down at the same moment: the database
sees to it, and refuses with code "conflict" and path "role".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from storage.control_plane_pool import ControlPlanePool, org_uuid, uuid_or_none
from storage.named_queries import load_queries
from storage.scope import OrgScope

_SQL = load_queries("memberships.sql")


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


class Memberships:
    """Who belongs where, and as what."""

    def __init__(self, pool: ControlPlanePool) -> None:
        self._pool = pool

    async def add(self, scope: OrgScope, user_id: str, role: str) -> Membership:
        """Make a user a member. `Refused` "conflict" when it is one already, with whatever role."""
        values = (org_uuid(scope), uuid_or_none(user_id), role)
        return _membership((await self._pool.fetch("add the member", _SQL["add"], *values))[0])

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

    async def change_role(self, scope: OrgScope, user_id: str, role: str) -> Membership:
        """Give a member another role."""
        return await self._one("change the role", "change_role", org_uuid(scope), uuid_or_none(user_id), role)

    async def remove(self, scope: OrgScope, user_id: str) -> None:
        """End a membership; the user stays."""
        values = (org_uuid(scope), uuid_or_none(user_id))
        await self._pool.fetch_one("remove the member", "user_id", _SQL["remove"], *values)

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
