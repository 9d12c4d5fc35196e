"""Downtimes and mutes as they are kept: a definition in, a versioned row out. What a schedule means is not known here.

Every change lets the outbox look again at what downtimes have suppressed, as it may be told now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from storage.control_plane_pool import ControlPlanePool, from_json, optional_text, org_uuid, to_json, uuid_or_none
from storage.named_queries import load_queries
from storage.scope import OrgScope
from topics.errors import Refused, TooExpensive

DOWNTIMES_MAX: Final = 500

_SQL = load_queries("downtimes.sql")


@dataclass(frozen=True, slots=True)
class StoredDowntime:
    """A downtime of an organization; with `muted_monitor_id` it is the mute of that monitor."""

    id: str
    organization_id: str
    name: str
    muted_monitor_id: str | None
    definition: Mapping[str, Any]
    version: int
    created_at: datetime
    updated_at: datetime


class Downtimes:
    """When organizations are not told."""

    def __init__(self, pool: ControlPlanePool) -> None:
        self._pool = pool

    async def create(self, scope: OrgScope, *, name: str, definition: Mapping[str, Any]) -> StoredDowntime:
        """Create a downtime. `TooExpensive` past 500 of an organization."""
        values = (org_uuid(scope), name, to_json(definition), DOWNTIMES_MAX)
        rows = await self._pool.fetch("create the downtime", _SQL["create"], *values)
        if not rows:
            raise TooExpensive(f"{DOWNTIMES_MAX} downtimes", "one downtime more")
        return downtime_of(rows[0])

    async def mute(self, scope: OrgScope, monitor_id: str, *, definition: Mapping[str, Any]) -> StoredDowntime:
        """Mute a monitor, in place of the mute before. `Refused` when the organization has no such monitor."""
        values = (org_uuid(scope), "mute", uuid_or_none(monitor_id), to_json(definition))
        made = downtime_of((await self._pool.fetch("mute the monitor", _SQL["mute"], *values))[0])
        await self._look_again(scope)
        return made

    async def unmute(self, scope: OrgScope, monitor_id: str) -> None:
        """End a monitor's mute; without one nothing happens."""
        await self._pool.fetch("unmute the monitor", _SQL["unmute"], org_uuid(scope), uuid_or_none(monitor_id))
        await self._look_again(scope)

    async def list_in(self, scope: OrgScope) -> list[StoredDowntime]:
        """The organization's downtimes and mutes, oldest first."""
        return [downtime_of(row) for row in await self._pool.fetch("list downtimes", _SQL["list"], org_uuid(scope))]

    async def get(self, scope: OrgScope, downtime_id: str) -> StoredDowntime:
        """One downtime. `Refused` "not_found" when the organization has no such one."""
        values = (org_uuid(scope), uuid_or_none(downtime_id))
        return downtime_of(await self._pool.fetch_one("get the downtime", "downtime_id", _SQL["get"], *values))

    async def update(
        self, scope: OrgScope, downtime_id: str, version: int, *, name: str, definition: Mapping[str, Any]
    ) -> StoredDowntime:
        """Replace it. `Refused` "conflict" when it is no longer at `version`."""
        doing = "change the downtime"
        values = (org_uuid(scope), uuid_or_none(downtime_id), version, name, to_json(definition))
        rows = await self._pool.fetch(doing, _SQL["update"], *values)
        if not rows:
            now = await self.get(scope, downtime_id)
            raise Refused(f"cannot {doing}: it is at version {now.version} by now", code="conflict", path="version")
        await self._look_again(scope)
        return downtime_of(rows[0])

    async def delete(self, scope: OrgScope, downtime_id: str) -> None:
        """End it for good."""
        values = (org_uuid(scope), uuid_or_none(downtime_id))
        await self._pool.fetch_one("delete the downtime", "downtime_id", _SQL["delete"], *values)
        await self._look_again(scope)

    async def _look_again(self, scope: OrgScope) -> None:
        await self._pool.fetch("look at what was suppressed", _SQL["look_again"], org_uuid(scope))


def downtime_of(row: asyncpg.Record) -> StoredDowntime:
    """A row as it is kept -> a downtime."""
    return StoredDowntime(
        id=str(row["id"]),
        organization_id=str(row["organization_id"]),
        name=row["name"],
        muted_monitor_id=optional_text(row["muted_monitor_id"]),
        definition=from_json(row["definition"]),
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
