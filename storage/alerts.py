"""Alerts: a transition of a monitor's group in, recorded once; pages of them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import asyncpg

from storage.control_plane_pool import (
    ControlPlanePool,
    PageEnd,
    from_json,
    optional_text,
    org_uuid,
    to_json,
    uuid_or_none,
)
from storage.named_queries import load_queries
from storage.scope import OrgScope

OPEN_COUNTED_MAX: Final = 10_000

_SQL = load_queries("alerts.sql")


@dataclass(frozen=True, slots=True)
class Transition:
    """A group of a monitor enters a state. `sequence` counts the transitions of the group from 1, and names this one for ever.

    States are OK, WARN, ALERT and NO_DATA. `evidence` is what the decision was made from, as a JSON object.
    """

    monitor_id: str
    group: str
    sequence: int
    state: str
    previous_state: str
    at: datetime
    value: float | None = None
    threshold: float | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alert:
    """One stay of a group in a state: it ends when the next begins, or when somebody resolves it."""

    id: str
    organization_id: str
    monitor_id: str
    monitor_name: str
    group: str
    sequence: int
    state: str
    previous_state: str
    value: float | None
    threshold: float | None
    started_at: datetime
    ended_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    resolved_by: str | None
    evidence: Mapping[str, Any]


class Alerts:
    """What monitors have decided."""

    def __init__(self, pool: ControlPlanePool) -> None:
        self._pool = pool

    async def record(self, scope: OrgScope, transition: Transition) -> bool:
        """Record a transition and end the state before it. False when it is recorded already, which changes nothing.

        Raises `Refused` when the organization has no such monitor.
        """
        rows = await self._pool.fetch(
            "record the alert",
            _SQL["record"],
            org_uuid(scope),
            uuid_or_none(transition.monitor_id),
            transition.group,
            transition.sequence,
            transition.state,
            transition.previous_state,
            transition.value,
            transition.threshold,
            transition.at,
            to_json(transition.evidence),
        )
        return bool(rows)

    async def list_in(
        self,
        scope: OrgScope,
        *,
        monitor_id: str | None = None,
        state: str | None = None,
        open_only: bool = False,
        behind: PageEnd | None = None,
        limit: int = 100,
    ) -> list[Alert]:
        """A page of alerts, newest first; the next one is `behind` the (started_at, id) of the last alert.

        `open_only` leaves what goes on now and is not OK.
        """
        monitor = None
        if monitor_id is not None and (monitor := uuid_or_none(monitor_id)) is None:
            return []
        after, id_ = (None, None) if behind is None else (behind.after, uuid_or_none(behind.id))
        values = (org_uuid(scope), monitor, state, open_only, after, id_, limit)
        return [_alert(row) for row in await self._pool.fetch("list alerts", _SQL["list"], *values)]

    async def newest_of_groups(
        self, scope: OrgScope, monitor_id: str, *, behind_group: str | None = None, limit: int = 100
    ) -> list[Alert]:
        """The newest alert of each group of a monitor that ever had one, by group; the next page is behind the last group."""
        values = (org_uuid(scope), uuid_or_none(monitor_id), behind_group, limit)
        return [_alert(row) for row in await self._pool.fetch("read states", _SQL["newest_of_groups"], *values)]

    async def count_open(self, scope: OrgScope, monitor_id: str) -> dict[str, int]:
        """How many groups of a monitor are in each state but OK, counted as far as `OPEN_COUNTED_MAX`."""
        values = (org_uuid(scope), uuid_or_none(monitor_id), OPEN_COUNTED_MAX)
        rows = await self._pool.fetch("count states", _SQL["count_open"], *values)
        return {row["state"]: row["groups"] for row in rows}

    async def get(self, scope: OrgScope, alert_id: str) -> Alert:
        """One alert. `Refused` "not_found" when the organization has no such one."""
        values = (org_uuid(scope), uuid_or_none(alert_id))
        return _alert(await self._pool.fetch_one("get the alert", "alert_id", _SQL["get"], *values))

    async def acknowledge(self, scope: OrgScope, alert_id: str, *, by_user: str | None) -> Alert:
        """Say that somebody has seen it; the first one stays. `by_user` None is a program."""
        return await self._mark("acknowledge", scope, alert_id, by_user)

    async def resolve(self, scope: OrgScope, alert_id: str, *, by_user: str | None) -> Alert:
        """End it by hand; one that has ended stays as it is."""
        return await self._mark("resolve", scope, alert_id, by_user)

    async def _mark(self, what: str, scope: OrgScope, alert_id: str, by_user: str | None) -> Alert:
        user = None if by_user is None else uuid_or_none(by_user)
        values = (org_uuid(scope), uuid_or_none(alert_id), user)
        await self._pool.fetch_one(f"{what} the alert", "alert_id", _SQL[what], *values)
        return await self.get(scope, alert_id)


def _alert(row: asyncpg.Record) -> Alert:
    return Alert(
        id=str(row["id"]),
        organization_id=str(row["organization_id"]),
        monitor_id=str(row["monitor_id"]),
        monitor_name=row["monitor_name"],
        group=row["group_key"],
        sequence=row["sequence"],
        state=row["state"],
        previous_state=row["previous_state"],
        value=row["value"],
        threshold=row["threshold"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        acknowledged_at=row["acknowledged_at"],
        acknowledged_by=optional_text(row["acknowledged_by"]),
        resolved_by=optional_text(row["resolved_by"]),
        evidence=from_json(row["evidence"]),
    )
