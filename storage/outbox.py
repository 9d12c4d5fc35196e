"""The outbox: what waits for channels in, bundles of it leased to whoever sends out, and what became of them back in.

A lease lasts as long as a try can take. Whoever holds it says how the try ended; when nobody has until then, the process is gone
and the bundle is claimed again, the same notifications under the same key. Claims of one channel come one after the other,
because they lock its row of `channel_queues`, so its limits hold for all workers together.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import asyncpg

from storage.channels import open_secrets
from storage.control_plane_pool import ControlPlanePool, from_json, org_uuid, uuid_or_none
from storage.named_queries import load_queries
from storage.scope import OrgScope
from storage.sealing import Sealer
from topics.errors import Refused

LEASE_S: Final = 60.0
BUNDLE_MAX: Final = 100
_AGAIN_MAX: Final = 4

_SQL = load_queries("outbox.sql")


@dataclass(frozen=True, slots=True)
class Due:
    """One notification that may go out; `payload` is there once it does.

    Not `due` are those that a channel which gathers may take along.
    """

    id: int
    monitor_id: str
    dedup_key: str
    attempts: int
    due: bool = True
    payload: str = ""


@dataclass(frozen=True, slots=True)
class Queue:
    """A channel with something due. `tokens` were in its bucket `since_s` ago, None is a full one; `under_way` are bundles.

    `problem` says why its secrets cannot be opened, "" when they are there.
    """

    channel_id: str
    organization_id: str
    name: str
    kind: str
    config: Mapping[str, Any]
    secrets: Mapping[str, Any] = field(repr=False)
    problem: str
    tokens: float | None
    since_s: float
    failures: int
    under_way: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """What goes out in one message, and the lease on it. `attempts` were made before."""

    id: str
    lease: str
    queue: Queue
    notifications: tuple[Due, ...]
    attempts: int


@dataclass(frozen=True, slots=True)
class OutboxOverview:
    """All of it, for the operator: what waits and since when, and what was given up in the last day."""

    waiting: int
    oldest_s: float
    dead: int


Plan = Callable[[Queue, Sequence[Sequence[Due]], Sequence[Due]], tuple[Sequence[Sequence[Due]], float]]
"""A queue, bundles that were tried before and what was not -> bundles to send now, and the tokens that are left."""


class Outbox:
    """What is on its way to people. `sealer` opens the secrets of channels."""

    def __init__(self, pool: ControlPlanePool, sealer: Sealer | None) -> None:
        self._pool = pool
        self._sealer = sealer

    async def claim(
        self, plan: Plan, *, channels_max: int, busy: Collection[str] = (), lease_s: float = LEASE_S
    ) -> list[Bundle]:
        """Lease what `plan` chooses of up to `channels_max` channels; none of the organizations `busy`."""
        lease = uuid.uuid4()
        async with self._pool.transaction("claim notifications") as connection:
            await connection.fetch(_SQL["in_order"])
            rows = await connection.fetch(_SQL["queues"], [uuid.UUID(each) for each in busy], channels_max)
            if not rows:
                return []
            ids = [row["channel_id"] for row in rows]
            fresh = _by_id(
                await connection.fetch(_SQL["fresh"], ids, [row["group_wait_s"] for row in rows], BUNDLE_MAX)
            )
            again = _by_id(await connection.fetch(_SQL["again"], ids, _AGAIN_MAX))
            bundles: list[Bundle] = []
            left: list[float] = []
            for row in rows:
                queue = self._queue(row)
                tried, names = _by_bundle(again, row["channel_id"])
                unsent = [_due(each) for each in fresh if each["channel_id"] == row["channel_id"]]
                chosen, tokens = plan(queue, tried, unsent)
                left.append(tokens)
                for members in chosen:
                    id_ = names.get(members[0].id) or str(uuid.uuid4())
                    bundles.append(Bundle(id_, str(lease), queue, tuple(members), members[0].attempts))
            taken = [(due.id, uuid.UUID(bundle.id)) for bundle in bundles for due in bundle.notifications]
            leased = await connection.fetch(
                _SQL["lease"], [id_ for id_, _ in taken], [b for _, b in taken], lease, lease_s
            )
            await connection.execute(_SQL["pay"], ids, left)
        payloads = {row["id"]: row["payload"] for row in leased}
        return [
            replace(bundle, notifications=tuple(replace(due, payload=payloads[due.id]) for due in bundle.notifications))
            for bundle in bundles
        ]

    async def sent(self, bundle: Bundle, *, status: int | None) -> None:
        """The receiver has taken it."""
        await self._pool.fetch("finish notifications", _SQL["sent"], *_fence(bundle, status))

    async def failed(
        self, bundle: Bundle, *, error: str, status: int | None, again_in_s: float, blocks_channel: bool
    ) -> None:
        """It was not taken. Past its time it is given up."""
        values = (*_fence(bundle, status), again_in_s, error[:500], blocks_channel)
        await self._pool.fetch("finish notifications", _SQL["failed"], *values)

    async def sweep(self) -> None:
        """Give up what is past its time or has lost its channel, and forget what was finished a month ago."""
        for name in ("expire", "drop", "forget"):
            await self._pool.fetch("sweep the outbox", _SQL[name])

    async def unblock(self, scope: OrgScope, channel_id: str) -> None:
        """A channel is known to work again: try what waits for it now."""
        await self._pool.fetch("unblock the channel", _SQL["unblock"], org_uuid(scope), uuid_or_none(channel_id))

    async def overview(self) -> OutboxOverview:
        """Of all organizations together."""
        return OutboxOverview(**dict((await self._pool.fetch("look at the outbox", _SQL["overview"]))[0]))

    def _queue(self, row: asyncpg.Record) -> Queue:
        secrets: Mapping[str, Any] = {}
        problem = ""
        try:
            secrets = open_secrets(self._sealer, row["secrets_sealed"], str(row["channel_id"]))
        except Refused as exc:
            problem = exc.reason
        return Queue(
            channel_id=str(row["channel_id"]),
            organization_id=str(row["organization_id"]),
            name=row["name"],
            kind=row["kind"],
            config=from_json(row["config"]),
            secrets=secrets,
            problem=problem,
            tokens=row["tokens"],
            since_s=row["since_s"],
            failures=row["failures"],
            under_way=row["under_way"],
        )


def _fence(bundle: Bundle, status: int | None) -> tuple[object, ...]:
    return uuid.UUID(bundle.id), uuid.UUID(bundle.lease), status, uuid.UUID(bundle.queue.channel_id)


def _by_bundle(rows: Sequence[asyncpg.Record], channel_id: uuid.UUID) -> tuple[list[list[Due]], dict[int, str]]:
    """Bundles of one channel, and the name of each by the id of its members."""
    found: dict[str, list[Due]] = {}
    names: dict[int, str] = {}
    for row in rows:
        if row["channel_id"] == channel_id:
            name = names[row["id"]] = str(row["bundle"])
            found.setdefault(name, []).append(_due(row))
    return list(found.values()), names


def _by_id(rows: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
    """The order in which they were decided; sorted here, as the statements are planned without sorting."""
    return sorted(rows, key=lambda row: int(row["id"]))


def _due(row: asyncpg.Record) -> Due:
    return Due(
        id=row["id"],
        monitor_id=str(row["monitor_id"]),
        dedup_key=row["dedup_key"],
        attempts=row["attempts"],
        due=row.get("due", True),
    )
