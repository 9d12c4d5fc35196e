"""Monitors as they are kept: a definition in, a versioned row out. What a definition means is not known here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from storage.control_plane_pool import ControlPlanePool, from_json, org_uuid, to_json, uuid_or_none
from storage.named_queries import load_queries
from storage.scope import OrgScope
from topics.errors import Refused, TooExpensive

MONITORS_MAX: Final = 10_000

_SQL = load_queries("monitors.sql")


@dataclass(frozen=True, slots=True)
class StoredMonitor:
    """A monitor of an organization. `version` grows by one with each change."""

    id: str
    organization_id: str
    name: str
    kind: str
    definition: Mapping[str, Any]
    enabled: bool
    version: int
    created_at: datetime
    updated_at: datetime


class Monitors:
    """What organizations watch."""

    def __init__(self, pool: ControlPlanePool) -> None:
        self._pool = pool

    async def create(
        self, scope: OrgScope, *, name: str, kind: str, definition: Mapping[str, Any], enabled: bool = True
    ) -> StoredMonitor:
        """Create a monitor. `Refused` "conflict" when the organization has one of this name, `TooExpensive` past 10,000."""
        values = (org_uuid(scope), name, kind, to_json(definition), enabled, MONITORS_MAX)
        rows = await self._pool.fetch("create the monitor", _SQL["create"], *values)
        if not rows:
            raise TooExpensive(f"{MONITORS_MAX} monitors", "one monitor more")
        return _monitor(rows[0])

    async def list_in(self, scope: OrgScope) -> list[StoredMonitor]:
        """The organization's monitors by name; deleted ones are gone."""
        return [_monitor(row) for row in await self._pool.fetch("list monitors", _SQL["list"], org_uuid(scope))]

    async def page(self, scope: OrgScope, *, behind_name: str | None = None, limit: int = 100) -> list[StoredMonitor]:
        """The same, `limit` of them behind a name."""
        rows = await self._pool.fetch("list monitors", _SQL["page"], org_uuid(scope), behind_name, limit)
        return [_monitor(row) for row in rows]

    async def get(self, scope: OrgScope, monitor_id: str) -> StoredMonitor:
        """One monitor. `Refused` "not_found" when the organization has no such one."""
        values = (org_uuid(scope), uuid_or_none(monitor_id))
        return _monitor(await self._pool.fetch_one("get the monitor", "monitor_id", _SQL["get"], *values))

    async def update(
        self,
        scope: OrgScope,
        monitor_id: str,
        version: int,
        *,
        name: str | None = None,
        kind: str | None = None,
        definition: Mapping[str, Any] | None = None,
        enabled: bool | None = None,
    ) -> StoredMonitor:
        """Change what is given. `Refused` "conflict" when the monitor is no longer at `version`: read it again first."""
        doing = "change the monitor"
        given = (name, kind, None if definition is None else to_json(definition), enabled)
        rows = await self._pool.fetch(doing, _SQL["update"], org_uuid(scope), uuid_or_none(monitor_id), version, *given)
        if not rows:
            now = await self.get(scope, monitor_id)
            raise Refused(f"cannot {doing}: it is at version {now.version} by now", code="conflict", path="version")
        return _monitor(rows[0])

    async def delete(self, scope: OrgScope, monitor_id: str) -> None:
        """Delete a monitor; its alerts stay and can be read."""
        values = (org_uuid(scope), uuid_or_none(monitor_id))
        await self._pool.fetch_one("delete the monitor", "monitor_id", _SQL["delete"], *values)

    async def load_enabled(self) -> list[StoredMonitor]:
        """The enabled monitors of every organization, for the engine."""
        return [_monitor(row) for row in await self._pool.fetch("load the monitors", _SQL["load_enabled"])]


def _monitor(row: asyncpg.Record) -> StoredMonitor:
    return StoredMonitor(
        id=str(row["id"]),
        organization_id=str(row["organization_id"]),
        name=row["name"],
        kind=row["kind"],
        definition=from_json(row["definition"]),
        enabled=row["enabled"],
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
