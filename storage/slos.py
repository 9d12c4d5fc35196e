"""SLOs as they are kept: an objective over a window in, a versioned row out. What is good is for the definition's reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from storage.control_plane_pool import ControlPlanePool, from_json, org_uuid, to_json, uuid_or_none
from storage.named_queries import load_queries
from storage.scope import OrgScope
from topics.errors import Refused

_SQL = load_queries("slos.sql")


@dataclass(frozen=True, slots=True)
class StoredSlo:
    """An objective: the share of good events, more than 0 and less than 1, over `window_days`."""

    id: str
    organization_id: str
    name: str
    definition: Mapping[str, Any]
    objective: float
    window_days: int
    enabled: bool
    version: int
    created_at: datetime
    updated_at: datetime


class Slos:
    """What organizations promise."""

    def __init__(self, pool: ControlPlanePool) -> None:
        self._pool = pool

    async def create(
        self,
        scope: OrgScope,
        *,
        name: str,
        definition: Mapping[str, Any],
        objective: float,
        window_days: int = 30,
        enabled: bool = True,
    ) -> StoredSlo:
        """Create an SLO. `Refused` "conflict" when the organization has one of this name."""
        values = (org_uuid(scope), name, to_json(definition), objective, window_days, enabled)
        return _slo((await self._pool.fetch("create the SLO", _SQL["create"], *values))[0])

    async def list_in(self, scope: OrgScope) -> list[StoredSlo]:
        """The organization's SLOs by name."""
        return [_slo(row) for row in await self._pool.fetch("list SLOs", _SQL["list"], org_uuid(scope))]

    async def get(self, scope: OrgScope, slo_id: str) -> StoredSlo:
        """One SLO. `Refused` "not_found" when the organization has no such one."""
        values = (org_uuid(scope), uuid_or_none(slo_id))
        return _slo(await self._pool.fetch_one("get the SLO", "slo_id", _SQL["get"], *values))

    async def update(
        self,
        scope: OrgScope,
        slo_id: str,
        version: int,
        *,
        name: str | None = None,
        definition: Mapping[str, Any] | None = None,
        objective: float | None = None,
        window_days: int | None = None,
        enabled: bool | None = None,
    ) -> StoredSlo:
        """Change what is given. `Refused` "conflict" when the SLO is no longer at `version`: read it again first."""
        doing = "change the SLO"
        given = (name, None if definition is None else to_json(definition), objective, window_days, enabled)
        rows = await self._pool.fetch(doing, _SQL["update"], org_uuid(scope), uuid_or_none(slo_id), version, *given)
        if not rows:
            now = await self.get(scope, slo_id)
            raise Refused(f"cannot {doing}: it is at version {now.version} by now", code="conflict", path="version")
        return _slo(rows[0])

    async def delete(self, scope: OrgScope, slo_id: str) -> None:
        """Delete an SLO."""
        values = (org_uuid(scope), uuid_or_none(slo_id))
        await self._pool.fetch_one("delete the SLO", "slo_id", _SQL["delete"], *values)

    async def load_enabled(self) -> list[StoredSlo]:
        """The enabled SLOs of every organization, for the engine."""
        return [_slo(row) for row in await self._pool.fetch("load the SLOs", _SQL["load_enabled"])]


def _slo(row: asyncpg.Record) -> StoredSlo:
    return StoredSlo(
        id=str(row["id"]),
        organization_id=str(row["organization_id"]),
        name=row["name"],
        definition=from_json(row["definition"]),
        objective=row["objective"],
        window_days=row["window_days"],
        enabled=row["enabled"],
        version=row["version"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
