"""API tokens: an organization, a role and the hash of a secret in; what a bearer of the token may do out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg

from storage.control_plane_pool import ControlPlanePool, org_uuid, uuid_or_none
from storage.named_queries import load_queries
from storage.scope import OrgScope
from topics.errors import Refused

API_TOKENS_MAX = 1000
"""Of one organization, revoked ones not counted: every process that answers questions holds them all."""

_SQL = load_queries("api_tokens.sql")


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A program's bearer token as it may be shown: without its secret. `last_used_at` is coarse, a minute or so."""

    id: str
    organization_id: str
    prefix: str
    name: str
    role: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class UsableToken:
    """What is needed to check a bearer. `expires_at` may pass while a copy of it is held, so it is checked again."""

    id: str
    organization_id: str
    name: str
    role: str
    secret_hash: bytes = field(repr=False)
    expires_at: datetime | None


class ApiTokens:
    """Bearer tokens of programs."""

    def __init__(self, pool: ControlPlanePool) -> None:
        self._pool = pool

    async def create(
        self, scope: OrgScope, *, name: str, role: str, prefix: str, secret_hash: bytes, expires_at: datetime | None
    ) -> ApiToken:
        """Keep a token that was made (query/api_token_text.py)."""
        doing = "create the token"
        if expires_at is not None and expires_at.tzinfo is None:
            raise Refused(f"cannot {doing}: the expiry has no time zone", code="invalid_field", path="expires_at")
        values = (org_uuid(scope), prefix, name, role, secret_hash, expires_at, API_TOKENS_MAX)
        rows = await self._pool.fetch(doing, _SQL["create"], *values)
        if not rows:
            raise Refused(f"cannot {doing}: there are {API_TOKENS_MAX}; revoke some first", code="conflict")
        return _token(rows[0])

    async def list_in(self, scope: OrgScope) -> list[ApiToken]:
        """The organization's tokens, revoked and expired ones included, oldest first."""
        return [_token(row) for row in await self._pool.fetch("list tokens", _SQL["list"], org_uuid(scope))]

    async def get(self, scope: OrgScope, token_id: str) -> ApiToken:
        """One token. `Refused` "not_found" when the organization has no such one."""
        return await self._one("get the token", "get", org_uuid(scope), uuid_or_none(token_id))

    async def revoke(self, scope: OrgScope, token_id: str) -> ApiToken:
        """Revoke a token of this organization. Twice is harmless; another's is as unknown as one that never was."""
        return await self._one("revoke the token", "revoke", org_uuid(scope), uuid_or_none(token_id))

    async def load(self) -> dict[str, UsableToken]:
        """The tokens of all organizations that are neither revoked nor expired, by prefix."""
        rows = await self._pool.fetch("load the tokens", _SQL["load"])
        return {
            row["prefix"]: UsableToken(
                str(row["id"]),
                str(row["organization_id"]),
                row["name"],
                row["role"],
                row["secret_hash"],
                row["expires_at"],
            )
            for row in rows
        }

    async def note_uses(self, used_at: Mapping[str, datetime]) -> None:
        """Remember when tokens were last used, by id; an earlier time than the known one changes nothing."""
        ids = [uuid_or_none(token_id) for token_id in used_at]
        await self._pool.fetch("note the use of tokens", _SQL["note_uses"], ids, list(used_at.values()))

    async def _one(self, doing: str, name: str, *values: object) -> ApiToken:
        return _token(await self._pool.fetch_one(doing, "token_id", _SQL[name], *values))


def _token(row: asyncpg.Record) -> ApiToken:
    return ApiToken(
        id=str(row["id"]),
        organization_id=str(row["organization_id"]),
        prefix=row["prefix"],
        name=row["name"],
        role=row["role"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
        revoked_at=row["revoked_at"],
    )
