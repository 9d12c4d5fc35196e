"""Statements of the control plane in, rows out: the pool that its stores share, and what their constraints mean.

Every call raises `Unavailable` while PostgreSQL is away (also at start: nothing connects before it is used), and `Refused` for
input that can never be stored, with the path of the parameter at fault.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

import asyncpg
import msgspec

from storage.actor import Actor
from storage.named_queries import load_queries
from storage.postgres import close_pool, open_pool, postgres_errors
from storage.scope import OrgScope
from topics.errors import Refused

_SQL = load_queries("control_plane.sql")

_MANY_DIGITS: Final = re.compile(r"\d{19}")
_NAME = "a name is 1 to {} characters, without control characters or outer spaces"
_NO_ORGANIZATION = ("organization_id", "there is no such organization")
_ROLE = "a role is owner, admin, member or viewer"
_NOT_AN_OBJECT = "it is not a JSON object"

_CONSTRAINTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "organizations_name_key": ("name", "another organization has this name"),
        "organizations_name_check": ("name", _NAME.format(100)),
        "organizations_retention_days_check": ("retention_days", "retention is 1 to 3650 days"),
        "organizations_settings_check": ("settings", _NOT_AN_OBJECT),
        "api_keys_organization_id_fkey": _NO_ORGANIZATION,
        "api_keys_prefix_key": ("prefix", "another key has this prefix"),
        "api_keys_name_check": ("name", "a key's name is at most 100 characters, without control characters"),
        "api_keys_scopes_check": (
            "scopes",
            "scopes are one or more of logs:write, metrics:write, traces:write, rum:write",
        ),
        "api_keys_expires_at_check": ("expires_at", "the expiry is in the past"),
        "api_tokens_organization_id_fkey": _NO_ORGANIZATION,
        "api_tokens_name_check": ("name", _NAME.format(100)),
        "api_tokens_role_check": ("role", _ROLE),
        "api_tokens_expires_at_check": ("expires_at", "the expiry is in the past"),
        "sessions_membership_fkey": ("organization_id", "this user is no member of it"),
        "users_email_key": ("email", "another user has this e-mail address"),
        "users_email_check": ("email", "it is not an e-mail address of at most 254 characters"),
        "users_name_check": ("name", "a user's name is at most 100 characters, without control characters"),
        "users_password_hash_check": ("password_hash", "it is not an argon2 hash in its text form"),
        "memberships_pkey": ("user_id", "this user is a member already"),
        "memberships_organization_id_fkey": _NO_ORGANIZATION,
        "memberships_user_id_fkey": ("user_id", "there is no such user"),
        "memberships_role_check": ("role", _ROLE),
        "memberships_owner_check": ("role", "an organization keeps at least one owner"),
        "monitors_name_key": ("name", "another monitor of the organization has this name"),
        "monitors_organization_id_fkey": _NO_ORGANIZATION,
        "monitors_name_check": ("name", _NAME.format(200)),
        "monitors_kind_check": ("kind", "a kind is a word of lower-case letters, digits and _"),
        "monitors_definition_check": ("definition", _NOT_AN_OBJECT),
        "alerts_monitor_id_fkey": ("monitor_id", "there is no such monitor"),
        "alerts_acknowledged_by_fkey": ("acknowledged_by", "there is no such user"),
        "alerts_resolved_by_fkey": ("resolved_by", "there is no such user"),
        "alerts_group_key_check": ("group", "a group is at most 1024 bytes"),
        "alerts_sequence_check": ("sequence", "sequences begin at 1"),
        "alerts_state_check": ("state", "a state is OK, WARN, ALERT or NO_DATA"),
        "alerts_previous_state_check": ("previous_state", "it is OK, WARN, ALERT or NO_DATA, and not the new state"),
        "alerts_ended_at_check": ("ended_at", "an alert cannot end before it began"),
        "alerts_evidence_check": ("evidence", _NOT_AN_OBJECT),
        "channels_name_key": ("name", "another channel of the organization has this name"),
        "channels_organization_id_fkey": _NO_ORGANIZATION,
        "channels_name_check": ("name", _NAME.format(200)),
        "channels_kind_check": ("kind", "a kind is a word of lower-case letters, digits and _"),
        "channels_config_check": ("config", _NOT_AN_OBJECT),
        "channels_secrets_sealed_check": ("config", "its secrets are more than 64 KiB"),
        "downtimes_organization_id_fkey": _NO_ORGANIZATION,
        "downtimes_muted_monitor_id_fkey": ("monitor_id", "there is no such monitor"),
        "downtimes_name_check": ("name", _NAME.format(200)),
        "downtimes_definition_check": ("definition", _NOT_AN_OBJECT),
        "slos_name_key": ("name", "another SLO of the organization has this name"),
        "slos_organization_id_fkey": _NO_ORGANIZATION,
        "slos_name_check": ("name", _NAME.format(200)),
        "slos_definition_check": ("definition", _NOT_AN_OBJECT),
        "slos_objective_check": ("objective", "an objective is more than 0 and less than 1"),
        "slos_window_days_check": ("window_days", "a window is 1 to 365 days"),
        "usage_daily_counts_check": ("", "a count is negative"),
        "usage_daily_scrubbed_check": ("scrubbed", _NOT_AN_OBJECT),
    }
)


Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


class PageEnd(NamedTuple):
    """Where a page of a list ended, so that the next one goes on behind it."""

    after: Any
    id: str


class ControlPlanePool:
    """A bounded pool of connections that all stores of the control plane share."""

    def __init__(self, pool: asyncpg.Pool, actor: Actor | None = None) -> None:
        self._pool = pool
        self._actor = actor

    @classmethod
    async def open(
        cls,
        dsn: str,
        *,
        size_max: int,
        connect_timeout_s: float,
        command_timeout_s: float,
        statement_cache_size: int,
    ) -> ControlPlanePool:
        """Make it; nothing connects yet."""
        with postgres_errors("open the control plane"):
            pool = await open_pool(
                dsn,
                size_max=size_max,
                connect_timeout_s=connect_timeout_s,
                command_timeout_s=command_timeout_s,
                statement_cache_size=statement_cache_size,
            )
        return cls(pool)

    def acting(self, actor: Actor) -> ControlPlanePool:
        """The same connections, whose changes the audit log ascribes to `actor`."""
        return ControlPlanePool(self._pool, actor)

    async def close(self) -> None:
        """Close every connection, within seconds."""
        await close_pool(self._pool)

    async def fetch(self, doing: str, sql: str, *values: object) -> list[asyncpg.Record]:
        """Run one statement; `doing` completes "cannot <doing>: ..."."""
        with postgres_errors(doing, _CONSTRAINTS):
            if self._actor is None:
                return await self._pool.fetch(sql, *values)
            async with self._transaction() as connection:
                return await connection.fetch(sql, *values)

    async def fetch_in_turn(self, doing: str, turn: str, sql: str, *values: object) -> list[asyncpg.Record]:
        """`fetch`, when no other statement of the same `turn` runs: it sees all that those before it have done."""
        with postgres_errors(doing, _CONSTRAINTS):
            async with self._transaction() as connection:
                await connection.execute(_SQL["take_turn"], turn)
                return await connection.fetch(sql, *values)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        async with self._pool.acquire() as connection, connection.transaction():
            if self._actor is not None:
                await connection.execute(_SQL["act_as"], self._actor.setting())
            yield connection

    @asynccontextmanager
    async def transaction(self, doing: str) -> AsyncIterator[Connection]:
        """A connection for several statements that count together; `doing` as above."""
        with postgres_errors(doing, _CONSTRAINTS):
            async with self._transaction() as connection:
                yield connection

    async def fetch_one(self, doing: str, path: str, sql: str, *values: object) -> asyncpg.Record:
        """The only row; when there is none, `Refused` "not_found" that blames `path`."""
        rows = await self.fetch(doing, sql, *values)
        if not rows:
            raise Refused(f"cannot {doing}: there is none", code="not_found", path=path)
        return rows[0]


def user_turn(user_id: str) -> str:
    """The turn (`ControlPlanePool.fetch_in_turn`) of what begins a user's sessions and of what ends them all: a login that is
    under way while the password changes must not survive the change."""
    return f"sessions of {user_id}"


def org_uuid(scope: OrgScope) -> uuid.UUID:
    """The scope as PostgreSQL's uuid."""
    return uuid.UUID(scope.org_id)


def uuid_or_none(text: str) -> uuid.UUID | None:
    """An id from outside; what is none equals no row, so the caller finds nothing."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def optional_text(value: object) -> str | None:
    """A nullable uuid column as text."""
    return None if value is None else str(value)


def to_json(value: Mapping[str, Any]) -> str:
    """A jsonb parameter. A number that JSON does not have (NaN, infinity) becomes null."""
    return msgspec.json.encode(value, enc_hook=dict).decode()  # What is read-only is of no type that it knows.


def from_json(text: str) -> Mapping[str, Any]:
    """A jsonb column that holds an object, read-only.

    PostgreSQL writes 1e25 with all its digits. What is no integer of 64 bits becomes the floating-point number that it was, since
    JSON with larger ones can be made by few and read by few.
    """
    found: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
    return MappingProxyType(_with_floats(found) if _MANY_DIGITS.search(text) else found)


def _with_floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_floats(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_with_floats(each) for each in value]
    return float(value) if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63 else value
