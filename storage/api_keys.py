"""API keys: an organization and what a key may send in; credentials with sealed secrets out."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg

from storage.control_plane_pool import ControlPlanePool, org_uuid
from storage.named_queries import load_queries
from storage.organization_settings import IngestSettings, read_settings
from storage.scope import OrgScope
from storage.sealing import Sealer
from topics.errors import Refused

SIGNAL_SCOPES = ("logs:write", "metrics:write", "traces:write", "rum:write")

API_KEYS_MAX = 1000
"""Of one organization, revoked ones not counted: every gateway holds them all."""

_SQL = load_queries("api_keys.sql")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A sender's credential as it may be shown: without its secret."""

    organization_id: str
    prefix: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made, with its secret: the only time that it is shown."""

    key: ApiKey
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class UsableKey:
    """What a gateway needs to check one sender. `expires_at` may pass while the snapshot is held, so it is checked again."""

    organization_id: str
    prefix: str
    secret: str = field(repr=False)
    scopes: frozenset[str]
    expires_at: datetime | None
    retention_days: int
    ingest: IngestSettings


@dataclass(frozen=True, slots=True)
class KeySnapshot:
    """All keys that are neither revoked nor expired; `unreadable` names those whose secret did not open."""

    keys: tuple[UsableKey, ...]
    unreadable: tuple[str, ...]


class ApiKeys:
    """Credentials of programs. Without a `sealer` everything works that touches no secret."""

    def __init__(self, pool: ControlPlanePool, sealer: Sealer | None) -> None:
        self._pool = pool
        self._sealer = sealer
        # Opened secrets by their sealed bytes: a gateway rereads all keys every second, and few of them change.
        self._opened: dict[bytes, str] = {}

    async def create(
        self,
        scope: OrgScope,
        *,
        name: str = "",
        scopes: Sequence[str] = SIGNAL_SCOPES,
        expires_at: datetime | None = None,
    ) -> NewKey:
        """Create a key of this organization: a random prefix `obs_` + 16 hex digits and a random secret of 64 hex digits.

        The secret is text: senders use its 64 characters as the HMAC key, as `openssl dgst -hmac` does.
        """
        doing = "create the key"
        if expires_at is not None and expires_at.tzinfo is None:
            raise Refused(f"cannot {doing}: the expiry has no time zone", code="invalid_field", path="expires_at")
        prefix, secret = f"obs_{secrets.token_hex(8)}", secrets.token_hex(32)
        sealed = self._required_sealer().seal(secret, prefix)
        rows = await self._pool.fetch(
            doing, _SQL["create"], org_uuid(scope), prefix, name, sealed, list(scopes), expires_at, API_KEYS_MAX
        )
        if not rows:
            raise Refused(f"cannot {doing}: there are {API_KEYS_MAX}; revoke some first", code="conflict")
        return NewKey(_key(rows[0]), secret)

    async def list_in(self, scope: OrgScope) -> list[ApiKey]:
        """The organization's keys, revoked and expired ones included, oldest first."""
        return [_key(row) for row in await self._pool.fetch("list keys", _SQL["list"], org_uuid(scope))]

    async def revoke(self, scope: OrgScope, prefix: str) -> ApiKey:
        """Revoke a key of this organization. Twice is harmless; another's key is as unknown as one that never was."""
        return await self._revoke(prefix, scope)

    async def revoke_any(self, prefix: str) -> ApiKey:
        """Revoke a key of any organization: an operator's act. An unknown prefix is `Refused` "not_found"."""
        return await self._revoke(prefix, None)

    async def _revoke(self, prefix: str, scope: OrgScope | None) -> ApiKey:
        owner = None if scope is None else org_uuid(scope)
        rows = await self._pool.fetch("revoke the key", _SQL["revoke"], prefix, owner)
        if not rows:
            raise Refused(f"cannot revoke the key: there is no key {prefix!r}", code="not_found", path="prefix")
        return _key(rows[0])

    async def open_secret(self, prefix: str) -> str:
        """The secret of one key, for the development key that `aegis up` prints."""
        sealer = self._required_sealer()
        rows = await self._pool.fetch("open the secret", _SQL["get_sealed_secret"], prefix)
        if not rows:
            raise Refused(f"cannot open the secret: there is no key {prefix!r}", code="not_found", path="prefix")
        return sealer.open(rows[0]["secret_sealed"], prefix)

    async def load(self) -> KeySnapshot:
        """All usable keys of all organizations with their secrets, for a gateway.

        One key that does not open is left out and named; when none opens, the master key is wrong and that is `Refused`.
        """
        sealer = self._required_sealer()
        keys: list[UsableKey] = []
        unreadable: list[str] = []
        opened: dict[bytes, str] = {}
        failure: Refused | None = None
        for row in await self._pool.fetch("load the keys", _SQL["load"]):
            sealed = row["secret_sealed"]
            try:
                secret = opened[sealed] = self._opened.get(sealed) or sealer.open(sealed, row["prefix"])
            except Refused as exc:
                failure = exc
                unreadable.append(row["prefix"])
                continue
            keys.append(_usable_key(row, secret))
        if failure is not None and not keys:
            raise failure
        self._opened = opened
        return KeySnapshot(tuple(keys), tuple(unreadable))

    def _required_sealer(self) -> Sealer:
        if self._sealer is None:
            raise Refused("cannot use the secrets of API keys: AEGIS_MASTER_KEY is not set", code="bad_master_key")
        return self._sealer


def _key(row: asyncpg.Record) -> ApiKey:
    return ApiKey(
        organization_id=str(row["organization_id"]),
        prefix=row["prefix"],
        name=row["name"],
        scopes=tuple(row["scopes"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )


def _usable_key(row: asyncpg.Record, secret: str) -> UsableKey:
    return UsableKey(
        organization_id=str(row["organization_id"]),
        prefix=row["prefix"],
        secret=secret,
        scopes=frozenset(row["scopes"]),
        expires_at=row["expires_at"],
        retention_days=row["retention_days"],
        ingest=read_settings(row["settings"]).ingest,
    )
