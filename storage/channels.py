"""Channels as they are kept: a kind, a config and secrets in; the row without its secrets, and sealed ones opened to send, out.

What a kind means is not known here (channels/definitions.py). The secrets of a channel are one JSON object, sealed with the
channel's id as what it is bound to, so that those of one channel do not open as another's.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from storage.control_plane_pool import ControlPlanePool, from_json, org_uuid, to_json, uuid_or_none
from storage.named_queries import load_queries
from storage.scope import OrgScope
from storage.sealing import Sealer
from topics.errors import Refused, TooExpensive

CHANNELS_MAX: Final = 200

_SQL = load_queries("channels.sql")


@dataclass(frozen=True, slots=True)
class StoredChannel:
    """A channel as it may be shown. `failures` counts tries that have failed since the last one that did not."""

    id: str
    organization_id: str
    name: str
    kind: str
    config: Mapping[str, Any]
    secret_names: tuple[str, ...]
    enabled: bool
    version: int
    created_at: datetime
    updated_at: datetime
    failures: int
    last_sent_at: datetime | None
    last_failed_at: datetime | None
    last_error: str
    waiting: int


@dataclass(frozen=True, slots=True)
class FailingChannel:
    """A channel that does not take what it is sent, for the operator."""

    organization: str
    name: str
    failures: int
    last_error: str
    waiting: int


class Channels:
    """Where organizations are told. Without a `sealer` everything works that touches no secret."""

    def __init__(self, pool: ControlPlanePool, sealer: Sealer | None) -> None:
        self._pool = pool
        self._sealer = sealer

    async def create(
        self, scope: OrgScope, *, name: str, kind: str, config: Mapping[str, Any], secrets: Mapping[str, Any]
    ) -> StoredChannel:
        """Create a channel. `Refused` "conflict" when the organization has one of this name, `TooExpensive` past 200."""
        id_ = uuid.uuid4()
        values = (id_, org_uuid(scope), name, kind, to_json(config), self._sealed(secrets, id_), sorted(secrets))
        rows = await self._pool.fetch("create the channel", _SQL["create"], *values, CHANNELS_MAX)
        if not rows:
            raise TooExpensive(f"{CHANNELS_MAX} channels", "one channel more")
        return _channel(rows[0])

    async def list_in(self, scope: OrgScope) -> list[StoredChannel]:
        """The organization's channels by name; deleted ones are gone."""
        return [_channel(row) for row in await self._pool.fetch("list channels", _SQL["list"], org_uuid(scope))]

    async def get(self, scope: OrgScope, channel_id: str) -> StoredChannel:
        """One channel. `Refused` "not_found" when the organization has no such one."""
        return _channel(await self._get(scope, channel_id))

    async def open_secrets(self, scope: OrgScope, channel_id: str) -> dict[str, Any]:
        """The secrets of one channel, to send or to be put together with new ones. Never for an answer."""
        row = await self._get(scope, channel_id)
        return open_secrets(self._sealer, row["secrets_sealed"], str(row["id"]))

    async def update(
        self,
        scope: OrgScope,
        channel_id: str,
        version: int,
        *,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        secrets: Mapping[str, Any] | None = None,
        enabled: bool | None = None,
    ) -> StoredChannel:
        """Change what is given; what waits is tried again at once. `Refused` "conflict" when it is no longer at `version`."""
        doing = "change the channel"
        id_ = uuid_or_none(channel_id)
        sealed = None if secrets is None or id_ is None else self._sealed(secrets, id_)
        rows = await self._pool.fetch(
            doing,
            _SQL["update"],
            org_uuid(scope),
            id_,
            version,
            name,
            None if config is None else to_json(config),
            enabled,
            secrets is not None,
            sealed,
            sorted(secrets or ()),
        )
        now = await self.get(scope, channel_id)
        if not rows:
            raise Refused(f"cannot {doing}: it is at version {now.version} by now", code="conflict", path="version")
        return now

    async def delete(self, scope: OrgScope, channel_id: str) -> None:
        """Delete a channel and its secrets. `Refused` "conflict" while monitors use it, naming some."""
        values = (org_uuid(scope), uuid_or_none(channel_id))
        used = await self._pool.fetch("delete the channel", _SQL["monitors_using"], values[0], channel_id)
        if used:
            names = ", ".join(row["name"] for row in used)
            raise Refused(f"cannot delete the channel: monitors use it: {names}", code="conflict", path="channel_id")
        await self._pool.fetch_one("delete the channel", "channel_id", _SQL["delete"], *values)

    async def find_ids(self, scope: OrgScope, named: Sequence[str]) -> list[str]:
        """Ids or names of channels -> their ids, in this order. `Refused` for the first that is none, as `channels[i]`."""
        if not named:
            return []
        rows = await self._pool.fetch("find the channels", _SQL["ids_of"], org_uuid(scope), list(named))
        known = {row["name"]: row["id"] for row in rows} | {row["id"]: row["id"] for row in rows}
        for i, text in enumerate(named):
            if text not in known:
                raise Refused("there is no such channel", code="invalid_field", path=f"channels[{i}]")
        return list(dict.fromkeys(known[text] for text in named))

    async def failing(self) -> list[FailingChannel]:
        """Channels of every organization that fail now, for the operator."""
        rows = await self._pool.fetch("look at the channels", _SQL["failing"])
        return [FailingChannel(**dict(row)) for row in rows]

    async def _get(self, scope: OrgScope, channel_id: str) -> asyncpg.Record:
        values = (org_uuid(scope), uuid_or_none(channel_id))
        return await self._pool.fetch_one("get the channel", "channel_id", _SQL["get"], *values)

    def _sealed(self, secrets: Mapping[str, Any], id_: uuid.UUID) -> bytes | None:
        if not secrets:
            return None
        if self._sealer is None:
            raise Refused("cannot keep a channel's secrets: AEGIS_MASTER_KEY is not set", code="bad_master_key")
        return self._sealer.seal(to_json(secrets), bound_to(str(id_)))


def bound_to(channel_id: str) -> str:
    """What a channel's secrets are sealed for; no API key has such a prefix."""
    return f"channel {channel_id}"


def open_secrets(sealer: Sealer | None, sealed: bytes | None, channel_id: str) -> dict[str, Any]:
    """Sealed secrets -> secrets. Raises `Refused` when the master key is missing or another one."""
    if sealed is None:
        return {}
    if sealer is None:
        raise Refused("cannot use a channel's secrets: AEGIS_MASTER_KEY is not set", code="bad_master_key")
    return msgspec.json.decode(sealer.open(sealed, bound_to(channel_id)), type=dict[str, Any])


def _channel(row: asyncpg.Record) -> StoredChannel:
    return StoredChannel(
        id=str(row["id"]),
        organization_id=str(row["organization_id"]),
        name=row["name"],
        kind=row["kind"],
        config=from_json(row["config"]),
        secret_names=tuple(row["secret_names"]),
        enabled=row["enabled"],
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        failures=row["failures"],
        last_sent_at=row["last_sent_at"],
        last_failed_at=row["last_failed_at"],
        last_error=row["last_error"],
        waiting=row["waiting"],
    )
