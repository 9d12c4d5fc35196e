"""The audit log: pages of who changed what, newest first, and its bounds. Triggers write it (0008_create_audit_log.sql)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from storage.control_plane_pool import ControlPlanePool, from_json, optional_text, org_uuid
from storage.named_queries import load_queries
from storage.scope import OrgScope
from topics.errors import Refused

_SQL = load_queries("audit.sql")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change of one object. `before` and `after` are the columns that differ; secrets are told by the word "(secret)"."""

    id: str
    organization_id: str | None
    at: datetime
    actor_kind: str
    actor_id: str
    actor_name: str
    address: str
    action: str
    object_kind: str
    object_id: str
    object_name: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSelection:
    """Which entries: None does not narrow. `start` is included, `end` excluded; `cursor` is the id of the last entry seen."""

    start: datetime | None = None
    end: datetime | None = None
    actor_id: str | None = None
    action: str | None = None
    object_kind: str | None = None
    object_id: str | None = None
    limit: int = 100
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Entries, newest first; `next_cursor` is None on the last page."""

    entries: list[AuditEntry]
    next_cursor: str | None


class Audit:
    """What was changed, and by whom."""

    def __init__(self, pool: ControlPlanePool) -> None:
        self._pool = pool

    async def list_in(self, scope: OrgScope, selection: AuditSelection) -> AuditPage:
        """A page of an organization's entries. `Refused` for a cursor that is none."""
        values = (
            org_uuid(scope),
            selection.start,
            selection.end,
            selection.actor_id,
            selection.action,
            selection.object_kind,
            selection.object_id,
            _position(selection.cursor),
            selection.limit + 1,
        )
        found = [_entry(row) for row in await self._pool.fetch("read the audit log", _SQL["list"], *values)]
        page = found[: selection.limit]
        return AuditPage(page, page[-1].id if len(found) > len(page) else None)

    async def trim(self, *, days: int, rows_max: int) -> int:
        """Delete what is older than `days` days, and of each organization all but its newest `rows_max`; how many went."""
        return len(await self._pool.fetch("trim the audit log", _SQL["trim"], days, rows_max))


def _position(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise Refused("it is not a cursor of this list", code="invalid_field", path="cursor")
    return int(cursor)


def _entry(row: asyncpg.Record) -> AuditEntry:
    return AuditEntry(
        id=str(row["id"]),
        organization_id=optional_text(row["organization_id"]),
        at=row["at"],
        actor_kind=row["actor_kind"],
        actor_id=row["actor_id"],
        actor_name=row["actor_name"],
        address=row["address"],
        action=row["action"],
        object_kind=row["object_kind"],
        object_id=row["object_id"],
        object_name=row["object_name"],
        before=from_json(row["before"]),
        after=from_json(row["after"]),
    )
