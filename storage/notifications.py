"""Transitions of monitors in, alerts and who is told of them out, in one transaction: both are there, or neither.

Who is told the caller decides (`Decide`), from what is read in that transaction. A transition that comes again changes nothing:
the alert is unique by (monitor, group, sequence), a notification by its dedup key.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import msgspec

from storage.control_plane_pool import Connection, ControlPlanePool, from_json, org_uuid, to_json, uuid_or_none
from storage.downtimes import StoredDowntime, downtime_of
from storage.named_queries import load_queries
from storage.scope import OrgScope
from topics.transitions import AlertMessage

EXPIRES_S: Final = 24 * 3600.0
"""How long a notification is tried."""
SHOWN_MAX: Final = 1000
QUEUE_COUNTED_MAX: Final = 10_000
"""As far as is counted what waits for a channel."""

_SQL = load_queries("notifications.sql")
_ALERTS = load_queries("alerts.sql")
_DOWNTIMES = load_queries("downtimes.sql")


@dataclass(frozen=True, slots=True)
class WatchedMonitor:
    """A monitor as it is now; a deleted one counts as disabled."""

    id: str
    name: str
    kind: str
    definition: Mapping[str, Any]
    enabled: bool
    version: int


@dataclass(frozen=True, slots=True)
class AlertFacts:
    """What is known around one message. `told` are channels that know of the breach that it belongs to; `channels` are
    those that may be told of it: id -> (enabled, waiting, group_wait_s)."""

    message: AlertMessage
    alert_id: str
    goes_on: bool
    acknowledged: bool
    monitor: WatchedMonitor
    told: tuple[str, ...]
    channels: Mapping[str, tuple[bool, int, float]]
    downtimes: Sequence[StoredDowntime]


@dataclass(frozen=True, slots=True)
class NewNotification:
    """One channel and what it is told, as JSON text; with a `reason` it is not told, and looked at again at `look_again_at`."""

    channel_id: str
    dedup_key: str
    payload: str
    reason: str = ""
    look_again_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Suppressed:
    """A notification that a downtime has held back, and how its alert stands now."""

    id: int
    organization_id: str
    monitor: WatchedMonitor
    group: str
    channel_id: str
    state: str
    goes_on: bool


@dataclass(frozen=True, slots=True)
class SentNotification:
    """One notification of an alert, as it may be shown."""

    id: str
    channel_id: str
    channel_name: str
    channel_kind: str
    repeat: int
    dedup_key: str
    state: str
    reason: str
    attempts: int
    next_at: datetime | None
    last_error: str
    last_status: int | None
    created_at: datetime
    finished_at: datetime | None


Decide = Callable[[AlertFacts], Sequence[NewNotification]]
Settle = Callable[[Suppressed, Sequence[StoredDowntime]], tuple[str, datetime | None]]
"""Why a notification is still held back ("" when it is not), and when to look again."""


class Notifications:
    """Who was told of what."""

    def __init__(self, pool: ControlPlanePool) -> None:
        self._pool = pool

    async def record(self, messages: Sequence[AlertMessage], decide: Decide) -> list[AlertMessage]:
        """Record transitions and who is told. Returns those whose monitor the organization does not have; they are not kept.

        No two messages may be of the same group of a monitor: what is decided of one counts for the next.
        """
        doing = "record alerts"
        async with self._pool.transaction(doing) as connection:
            ids = [uuid_or_none(message.monitor_id) for message in messages]
            monitors = {str(row["id"]): row for row in await connection.fetch(_SQL["monitors"], list({*ids} - {None}))}
            known: list[AlertMessage] = []
            unknown: list[AlertMessage] = []
            for message in messages:
                row = monitors.get(message.monitor_id)
                is_known = row is not None and str(row["organization_id"]) == message.org_id
                (known if is_known else unknown).append(message)
            if not known:
                return unknown
            transitions = [_transition_row(message) for message in known if not message.repeat]
            await connection.executemany(_ALERTS["record"], transitions)
            facts = await self._facts(connection, known, {id_: _monitor(row) for id_, row in monitors.items()})
            rows = [_row(each, new) for each in facts for new in decide(each)]
            await connection.executemany(_SQL["insert"], rows)
        return unknown

    async def _facts(
        self, connection: Connection, known: Sequence[AlertMessage], monitors: Mapping[str, WatchedMonitor]
    ) -> list[AlertFacts]:
        keys = [(uuid.UUID(message.monitor_id), kept_text(message.group), message.sequence) for message in known]
        alerts = {
            (row["monitor_id"], row["group_key"], row["sequence"]): row
            for row in await connection.fetch(_SQL["alerts"], *map(list, zip(*keys, strict=True)))
        }
        organizations = list({uuid.UUID(message.org_id) for message in known})
        channels: dict[str, dict[str, tuple[bool, int, float]]] = {}
        named = {id_ for each in monitors.values() for id_ in each.definition.get("channels", ())}
        wanted = {uuid_or_none(str(id_)) for id_ in named} | {id_ for row in alerts.values() for id_ in row["told"]}
        values = (organizations, list(wanted - {None}), QUEUE_COUNTED_MAX)
        for row in await connection.fetch(_SQL["channels"], *values):
            of_organization = channels.setdefault(str(row["organization_id"]), {})
            of_organization[str(row["id"])] = (row["enabled"], row["waiting"], row["group_wait_s"] or 0.0)
        downtimes = await self._downtimes(connection, organizations)
        return [
            AlertFacts(
                message=message,
                alert_id=str(alert["id"]),
                goes_on=alert["ended_at"] is None,
                acknowledged=alert["acknowledged_at"] is not None,
                monitor=monitors[message.monitor_id],
                told=tuple(map(str, alert["told"])),
                channels=channels.get(message.org_id, {}),
                downtimes=downtimes.get(message.org_id, ()),
            )
            for key, message in zip(keys, known, strict=True)
            # A reminder of an alert that is no longer kept reminds of nothing.
            if (alert := alerts.get(key)) is not None
        ]

    async def _downtimes(
        self, connection: Connection, organizations: Sequence[uuid.UUID]
    ) -> dict[str, list[StoredDowntime]]:
        found: dict[str, list[StoredDowntime]] = {}
        for row in await connection.fetch(_DOWNTIMES["of_organizations"], organizations):
            found.setdefault(str(row["organization_id"]), []).append(downtime_of(row))
        return found

    async def settle_suppressed(self, settle: Settle, *, limit: int = 200) -> int:
        """Look again at what downtimes have held back: what `settle` says so is told now. Returns how many are."""
        async with self._pool.transaction("look at what was suppressed") as connection:
            rows = await connection.fetch(_SQL["suppressed_due"], limit)
            if not rows:
                return 0
            found = await connection.fetch(_SQL["monitors"], list({row["monitor_id"] for row in rows}))
            monitors = {row["id"]: _monitor(row) for row in found}
            downtimes = await self._downtimes(connection, list({row["organization_id"] for row in rows}))
            settled = []
            for row in rows:
                of_organization = downtimes.get(str(row["organization_id"]), [])
                reason, look_again_at = settle(_suppressed(row, monitors[row["monitor_id"]]), of_organization)
                settled.append((row["id"], reason, look_again_at, EXPIRES_S))
            await connection.executemany(_SQL["settle"], settled)
        return sum(not reason for _, reason, _, _ in settled)

    async def of_alert(self, scope: OrgScope, alert_id: str) -> list[SentNotification]:
        """The first thousand notifications of an alert, in the order in which they were decided."""
        values = (org_uuid(scope), uuid_or_none(alert_id), SHOWN_MAX)
        return [_sent(row) for row in await self._pool.fetch("list notifications", _SQL["of_alert"], *values)]


def kept_text(text: str) -> str:
    """A text as PostgreSQL can keep it: without the character NUL."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def kept_json(text: str) -> str:
    """The same of JSON text. An escaped backslash before `u0000` is no NUL, so the text is read and not searched."""
    if "\\u0000" not in text:
        return text
    return to_json(_without_nul(msgspec.json.decode(text)))


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return kept_text(value)
    if isinstance(value, list):
        return [_without_nul(each) for each in value]
    if isinstance(value, dict):
        return {kept_text(name): _without_nul(each) for name, each in value.items()}
    return value


def _transition_row(message: AlertMessage) -> tuple[object, ...]:
    return (
        uuid.UUID(message.org_id),
        uuid.UUID(message.monitor_id),
        kept_text(message.group),
        message.sequence,
        message.state,
        message.previous_state,
        message.value,
        message.threshold,
        datetime.fromtimestamp(message.at_ms / 1000, UTC),
        kept_json(to_json(message.evidence)),
    )


def _row(facts: AlertFacts, new: NewNotification) -> tuple[object, ...]:
    message = facts.message
    return (
        uuid.UUID(message.org_id),
        uuid.UUID(facts.alert_id),
        uuid.UUID(message.monitor_id),
        kept_text(message.group),
        message.sequence,
        message.repeat,
        uuid.UUID(new.channel_id),
        new.dedup_key,
        kept_json(new.payload),
        new.reason,
        facts.channels[new.channel_id][2],
        new.look_again_at,
        EXPIRES_S,
    )


def _monitor(row: asyncpg.Record) -> WatchedMonitor:
    return WatchedMonitor(
        id=str(row["id"]),
        name=row["name"],
        kind=row["kind"],
        definition=from_json(row["definition"]),
        enabled=row["enabled"],
        version=row["version"],
    )


def _suppressed(row: asyncpg.Record, monitor: WatchedMonitor) -> Suppressed:
    return Suppressed(
        id=row["id"],
        organization_id=str(row["organization_id"]),
        monitor=monitor,
        group=row["group_key"],
        channel_id=str(row["channel_id"]),
        state=row["state"],
        goes_on=row["goes_on"],
    )


def _sent(row: asyncpg.Record) -> SentNotification:
    return SentNotification(**dict(row) | {"id": str(row["id"]), "channel_id": str(row["channel_id"])})
