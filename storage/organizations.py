"""Organizations: names in, tenants of the control plane out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from privacy.policy import Policy
from storage.control_plane_pool import ControlPlanePool, from_json, org_uuid, to_json, uuid_or_none
from storage.named_queries import load_queries
from storage.organization_settings import check_settings, read_settings
from storage.query_settings import QuerySettings
from storage.scope import OrgScope
from topics.errors import Refused

_SQL = load_queries("organizations.sql")


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


class Organizations:
    """The tenants."""

    def __init__(self, pool: ControlPlanePool) -> None:
        self._pool = pool

    async def create(self, name: str, *, retention_days: int = 30) -> Organization:
        """Create a tenant. `Refused` with code "conflict" when the name is taken."""
        rows = await self._pool.fetch("create the organization", _SQL["create"], name, retention_days)
        return _organization(rows[0])

    async def list_all(self) -> list[Organization]:
        """All organizations, oldest first: an operator's view."""
        return [_organization(row) for row in await self._pool.fetch("list organizations", _SQL["list"])]

    async def get(self, id_or_name: str) -> Organization:
        """One organization by its id, or else by its name. `Refused` with code "not_found" when there is none."""
        doing = "get the organization"
        rows = await self._pool.fetch(doing, _SQL["get"], uuid_or_none(id_or_name), id_or_name)
        if not rows:
            raise Refused(
                f"cannot {doing}: none has the id or name {id_or_name!r}", code="not_found", path="organization"
            )
        return _organization(rows[0])

    async def privacy_policies(self) -> dict[str, Policy]:
        """Every organization's policy on personal data, by its id, for a worker."""
        rows = await self._pool.fetch("read the privacy policies", _SQL["list_settings"])
        return {str(row["id"]): read_settings(row["settings"]).privacy for row in rows}

    async def query_limits(self) -> dict[str, QuerySettings]:
        """The limits of questions that organizations have of their own, by the id of each that has some."""
        rows = await self._pool.fetch("read the limits of questions", _SQL["list_settings"])
        own = {str(row["id"]): read_settings(row["settings"]).query for row in rows}
        return {org_id: settings for org_id, settings in own.items() if settings != QuerySettings()}

    async def update(
        self,
        scope: OrgScope,
        *,
        name: str | None = None,
        retention_days: int | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Organization:
        """Change what is given; `settings` replaces the whole object (storage/organization_settings.py), and is refused with the
        path of what is wrong in it. Records that are stored keep their retention."""
        if settings is not None:
            check_settings(settings)
        row = await self._pool.fetch_one(
            "change the organization",
            "organization",
            _SQL["update"],
            org_uuid(scope),
            name,
            retention_days,
            None if settings is None else to_json(settings),
        )
        return _organization(row)

    async def change(
        self,
        scope: OrgScope,
        *,
        name: str | None = None,
        retention_days: int | None = None,
        sections: Mapping[str, Mapping[str, Any] | None],
    ) -> Organization:
        """Change what is given; of the settings the `sections` named, each as a whole, None for its defaults.

        In one step, so that who changes another section at the same time is not undone.
        """
        given = {section: value for section, value in sections.items() if value is not None}
        check_settings(given)
        row = await self._pool.fetch_one(
            "change the organization",
            "organization",
            _SQL["change"],
            org_uuid(scope),
            name,
            retention_days,
            to_json(given),
            [section for section, value in sections.items() if value is None],
        )
        return _organization(row)

    async def delete(self, scope: OrgScope) -> None:
        """Delete the organization and all that the control plane has of it. Its records expire in their time."""
        await self._pool.fetch_one("delete the organization", "organization", _SQL["delete"], org_uuid(scope))


def _organization(row: asyncpg.Record) -> Organization:
    return Organization(
        str(row["id"]), row["name"], row["retention_days"], row["created_at"], from_json(row["settings"])
    )
