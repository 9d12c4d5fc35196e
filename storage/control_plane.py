"""Organizations and their API keys: names and ids in, rows of the control-plane PostgreSQL out.

Every operation raises `Unavailable` while PostgreSQL is away (also at start: nothing connects before it is used), and `Refused`
for input that can never be stored, with the path of the parameter at fault. SQL stands in queries/control_plane.sql.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType, TracebackType
from typing import Any, Self

import asyncpg
import msgspec

from storage.named_queries import load_queries
from storage.postgres import close_pool, open_pool, postgres_errors
from storage.scope import OrgScope
from storage.sealing import Sealer
from topics.errors import Refused

SIGNAL_SCOPES = ("logs:write", "metrics:write", "traces:write", "rum:write")

_SQL = load_queries("control_plane.sql")
_CONSTRAINTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "organizations_name_key": ("name", "another organization has this name"),
        "organizations_name_check": (
            "name",
            "a name is 1 to 100 characters, without control characters or outer spaces",
        ),
        "organizations_retention_days_check": ("retention_days", "retention is 1 to 3650 days"),
        "api_keys_organization_id_fkey": ("organization_id", "there is no such organization"),
        "api_keys_prefix_key": ("prefix", "another key has this prefix"),
        "api_keys_name_check": ("name", "a key's name is at most 100 characters, without control characters"),
        "api_keys_scopes_check": ("scopes", f"scopes are one or more of {', '.join(SIGNAL_SCOPES)}"),
        "api_keys_expires_at_check": ("expires_at", "the expiry is in the past"),
    }
)


@dataclass(frozen=True, slots=True)
class Organization:
    """A tenant. `retention_days` is 1 to 3650; `settings` is the organization's own JSON object."""

    id: str
    name: str
    retention_days: int
    created_at: datetime
    settings: Mapping[str, Any]

    @property
    def scope(self) -> OrgScope:
        """The value that opens this organization's data."""
        return OrgScope(self.id)


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


@dataclass(frozen=True, slots=True)
class KeySnapshot:
    """All keys that are neither revoked nor expired; `unreadable` names those whose secret did not open."""

    keys: tuple[UsableKey, ...]
    unreadable: tuple[str, ...]


class ControlPlane:
    """Organizations and API keys in PostgreSQL. Make one with `ControlPlane.open`; close it, or use `async with`."""

    def __init__(self, pool: asyncpg.Pool, sealer: Sealer | None) -> None:
        self._pool = pool
        self._sealer = sealer
        # Opened secrets by their sealed bytes: a gateway rereads all keys every second, and few of them change.
        self._opened: dict[bytes, str] = {}

    @classmethod
    async def open(
        cls,
        dsn: str,
        sealer: Sealer | None = None,
        *,
        pool_size_max: int = 4,
        connect_timeout_s: float = 5.0,
        command_timeout_s: float = 10.0,
        statement_cache_size: int = 100,
    ) -> Self:
        """Make the pool; PostgreSQL may be away. Without a `sealer` everything works that touches no secret."""
        with postgres_errors("open the control plane"):
            pool = await open_pool(
                dsn,
                size_max=pool_size_max,
                connect_timeout_s=connect_timeout_s,
                command_timeout_s=command_timeout_s,
                statement_cache_size=statement_cache_size,
            )
        return cls(pool, sealer)

    async def close(self) -> None:
        """Close every connection, within seconds."""
        await close_pool(self._pool)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def ping(self) -> None:
        """Return when PostgreSQL answers and the migrations have run; raise `Unavailable` otherwise."""
        await self._fetch("reach the control plane", _SQL["ping"])

    async def create_organization(self, name: str, *, retention_days: int = 30) -> Organization:
        """Create a tenant. `Refused` with code "conflict" when the name is taken."""
        rows = await self._fetch("create the organization", _SQL["create_organization"], name, retention_days)
        return _organization(rows[0])

    async def list_organizations(self) -> list[Organization]:
        """All organizations, oldest first."""
        return [_organization(row) for row in await self._fetch("list organizations", _SQL["list_organizations"])]

    async def get_organization(self, id_or_name: str) -> Organization:
        """One organization by its id, or else by its name. `Refused` with code "not_found" when there is none."""
        doing = "get the organization"
        rows = await self._fetch(doing, _SQL["get_organization"], _uuid_or_none(id_or_name), id_or_name)
        if not rows:
            raise Refused(
                f"cannot {doing}: none has the id or name {id_or_name!r}", code="not_found", path="organization"
            )
        return _organization(rows[0])

    async def create_key(
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
        rows = await self._fetch(
            doing, _SQL["create_key"], uuid.UUID(scope.org_id), prefix, name, sealed, list(scopes), expires_at
        )
        return NewKey(_key(rows[0]), secret)

    async def list_keys(self, scope: OrgScope) -> list[ApiKey]:
        """The organization's keys, revoked and expired ones included, oldest first."""
        return [_key(row) for row in await self._fetch("list keys", _SQL["list_keys"], uuid.UUID(scope.org_id))]

    async def revoke_key(self, prefix: str) -> ApiKey:
        """Revoke a key of any organization: an operator's act. Twice is harmless; an unknown prefix is `Refused` "not_found"."""
        rows = await self._fetch("revoke the key", _SQL["revoke_key"], prefix)
        if not rows:
            raise Refused(f"cannot revoke the key: there is no key {prefix!r}", code="not_found", path="prefix")
        return _key(rows[0])

    async def open_secret(self, prefix: str) -> str:
        """The secret of one key, for the development key that `aegis up` prints."""
        sealer = self._required_sealer()
        rows = await self._fetch("open the secret", _SQL["get_sealed_secret"], prefix)
        if not rows:
            raise Refused(f"cannot open the secret: there is no key {prefix!r}", code="not_found", path="prefix")
        return sealer.open(rows[0]["secret_sealed"], prefix)

    async def load_keys(self) -> KeySnapshot:
        """All usable keys with their secrets.

        One key that does not open is left out and named; when none opens, the master key is wrong and that is `Refused`.
        """
        sealer = self._required_sealer()
        keys: list[UsableKey] = []
        unreadable: list[str] = []
        opened: dict[bytes, str] = {}
        failure: Refused | None = None
        for row in await self._fetch("load the keys", _SQL["load_keys"]):
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

    async def _fetch(self, doing: str, sql: str, *values: object) -> list[asyncpg.Record]:
        with postgres_errors(doing, _CONSTRAINTS):
            return await self._pool.fetch(sql, *values)


def _organization(row: asyncpg.Record) -> Organization:
    settings = msgspec.json.decode(row["settings"], type=dict[str, Any])
    return Organization(
        str(row["id"]), row["name"], row["retention_days"], row["created_at"], MappingProxyType(settings)
    )


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
    )


def _uuid_or_none(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
