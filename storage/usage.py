"""Usage: counts by organization and day in, written as they are and not added; a range of days out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import asyncpg
import msgspec

from storage.control_plane_pool import ControlPlanePool, org_uuid, to_json
from storage.named_queries import load_queries
from storage.scope import OrgScope
from topics.errors import Refused

_SQL = load_queries("usage.sql")


@dataclass(frozen=True, slots=True)
class UsageDay:
    """What an organization sent on one day (UTC, of arrival). `scrubbed` is how often each rule of the scrubber was needed."""

    day: date
    logs_count: int = 0
    logs_bytes: int = 0
    metrics_count: int = 0
    spans_count: int = 0
    rum_events: int = 0
    scrubbed: Mapping[str, int] = field(default_factory=dict)


class Usage:
    """What organizations sent."""

    def __init__(self, pool: ControlPlanePool) -> None:
        self._pool = pool

    async def flush(self, days: Sequence[tuple[OrgScope, UsageDay]]) -> int:
        """Write the counts of these days as they are now; again is harmless. Returns how many rows were written.

        Not written: days of an organization that is gone, and counts below those that are there, as counts only grow within a
        day. Each (organization, day) may stand in `days` once; `Refused` otherwise.
        """
        doing = "write the usage"
        if len({(scope, day.day) for scope, day in days}) < len(days):
            raise Refused(f"cannot {doing}: a day is there twice", code="invalid_field", path="day")
        if not days:
            return 0
        columns = (
            [org_uuid(scope) for scope, _ in days],
            [day.day for _, day in days],
            [day.logs_count for _, day in days],
            [day.logs_bytes for _, day in days],
            [day.metrics_count for _, day in days],
            [day.spans_count for _, day in days],
            [day.rum_events for _, day in days],
            [to_json(day.scrubbed) for _, day in days],
        )
        return len(await self._pool.fetch(doing, _SQL["flush"], *columns))

    async def list_days(self, scope: OrgScope, start: date, end: date) -> list[UsageDay]:
        """The organization's days from `start` to before `end`, oldest first; a day on which nothing came is not there."""
        rows = await self._pool.fetch("read the usage", _SQL["list"], org_uuid(scope), start, end)
        return [_usage_day(row) for row in rows]


def _usage_day(row: asyncpg.Record) -> UsageDay:
    return UsageDay(
        day=row["day"],
        logs_count=row["logs_count"],
        logs_bytes=row["logs_bytes"],
        metrics_count=row["metrics_count"],
        spans_count=row["spans_count"],
        rum_events=row["rum_events"],
        scrubbed=msgspec.json.decode(row["scrubbed"], type=dict[str, int]),
    )
