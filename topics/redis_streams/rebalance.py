"""Partitions come and go: heartbeats and claims in, Faust's rebalance out, with nothing lost and nothing done twice.

Two tasks. One beats: it renews the leases and sees what was lost. The other moves: it gives up what others should have,
takes what is free, and walks Faust through a rebalance. The beat goes on while a move waits for slow agents.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from faust.assignor.client_assignment import ClientAssignment
from faust.types import TP

from topics.errors import Unavailable
from topics.redis_streams.lease_keeper import LeaseKeeper
from topics.redis_streams.leases import Leases, View, decide_share
from topics.redis_streams.loading import read_lanes
from topics.redis_streams.wire import ReplyError, backoff_s

if TYPE_CHECKING:
    from topics.redis_streams.consumer import Consumer

_LAG_EVERY = 4
"""Lag is read once in so many heartbeats."""


class Ownership:
    """Keeps a consumer's partitions: which it has, when it gets more, when it must stop."""

    def __init__(self, consumer: Consumer, leases: Leases, keeper: LeaseKeeper) -> None:
        self.connected = False
        self.lag: dict[tuple[str, int], int] = {}
        self._consumer = consumer
        self._leases = leases
        self._keeper = keeper
        self._run_id = ""
        self._wake = asyncio.Event()
        self._lost: set[int] = set()
        self._assigned_once = False
        self._resubscribed = False
        self._beating: asyncio.Task[None] | None = None
        self._moving: asyncio.Task[None] | None = None

    @property
    def _app(self) -> Any:
        return self._consumer.app

    @property
    def _config(self) -> Any:
        return self._consumer.transport.config

    def subscribed(self) -> None:
        """The topics are known now: begin, or read other topics from now on."""
        if self._beating is None:
            self._keeper.start()
            self._beating = asyncio.create_task(self._guard(self._beat()), name="redis-streams-heartbeat")
            self._moving = asyncio.create_task(self._guard(self._move()), name="redis-streams-rebalance")
        else:
            self._resubscribed = True
            self._wake.set()

    def lost(self, partition: int) -> None:
        """A partition is not ours any more, or has to be read again."""
        self._lost.add(partition)
        self._wake.set()

    async def pause(self) -> None:
        """Begin no more moves; the leases stay."""
        if self._moving is not None and self._moving is not asyncio.current_task():
            await _end(self._moving)

    async def stop(self) -> None:
        """Give up everything, as far as Redis can be told within a second; the leases run out otherwise."""
        await self.pause()
        self._keeper.stop()
        if self._beating is not None:
            await _end(self._beating)
        try:
            async with asyncio.timeout(1.0):
                if self._run_id:
                    await self._leases.release(sorted(self._consumer.lanes))
                    await self._leases.leave()
        except (Unavailable, TimeoutError) as error:
            self._consumer.log.warning("cannot give up partitions, their leases will run out: %s", error)
        self.connected = False
        await self._leases.close()

    async def _guard(self, work: Any) -> None:
        """A member that cannot keep its partitions must not go on as if it could."""
        try:
            await work
        except asyncio.CancelledError:
            raise
        except Exception as error:
            await self._app.crash(error)

    # -- the beat

    def _partitions(self) -> int:
        catalogue = self._consumer.transport.catalogue
        return max((catalogue.known(topic) or 0 for topic in self._consumer.topics), default=0)

    async def _beat(self) -> None:
        failures = beats = 0
        while True:
            self._keeper.progressed()
            try:
                await self._beat_once()
                if beats % _LAG_EVERY == 0:
                    await self._read_lag()
                beats += 1
                if failures:
                    self._consumer.log.warning("Redis is back after %d attempts", failures)
                failures = 0
                self.connected = True
            except Unavailable as error:
                if self.connected or failures == 0:
                    self._consumer.log.warning("cannot renew leases: %s", error)
                self.connected = False
                failures += 1
            await asyncio.sleep(self._config.heartbeat_s if not failures else backoff_s(failures - 1))

    async def _beat_once(self) -> View:
        before = [(lane, lane.epoch) for lane in self._consumer.lanes.values()]
        view = await self._leases.heartbeat(self._partitions())
        if self._leases.run_id != self._run_id:
            self._consumer.transport.incarnation = await self._consumer.transport.catalogue.incarnation()
            self._run_id = self._leases.run_id
        for lane, epoch in before:
            if lane.run_id != self._run_id:
                self._consumer.lose(lane, "Redis was restarted")
            elif lane.epoch == epoch and view.epochs.get(lane.partition) != epoch:
                self._consumer.lose(lane, "its lease ran out and it was taken over")
        self._wake.set()
        return view

    async def _read_lag(self) -> None:
        consumer = self._consumer
        tps = list(consumer.read_tracks())
        if not tps:
            self.lag = {}
            return
        replies = await self._leases.ask(
            *(("XINFO", "GROUPS", consumer.transport.keys.stream(topic, p)) for topic, p in tps)
        )
        self.lag = {tp: _lag(reply, consumer.group) for tp, reply in zip(tps, replies, strict=True)}

    # -- the moves

    async def _move(self) -> None:
        while not self._app.should_stop:
            await self._wake.wait()
            self._wake.clear()
            try:
                if not self._assigned_once:
                    await self._rebalance(set(), await self._first_claim())
                    self._assigned_once = True
                    continue
                if self._app.rebalancing and not self._lost:
                    continue
                await self._move_once()
            except Unavailable as error:
                self._consumer.log.warning("cannot move partitions yet: %s", error)
                await asyncio.sleep(0.2)
                self._wake.set()

    async def _first_claim(self) -> dict[int, bytes]:
        """Take our share, waiting for the leases of the dead: an assignment that begins empty recovers empty tables."""
        claimed: dict[int, bytes] = {}
        until: float | None = None
        while True:
            view = await self._leases.heartbeat(self._partitions())
            if until is None:
                until = time.monotonic() + 1.5 * self._config.lease_s
            ours = {p: epoch for p, epoch in claimed.items() if view.epochs.get(p) == epoch}
            wanted = decide_share(view, self._leases.member)
            again = set(view.epochs) - set(ours)
            claimed = ours | dict(await self._leases.claim([*again, *wanted.free], len(again) + wanted.take_at_most))
            if len(claimed) >= len(ours) + len(again) + wanted.take_at_most or time.monotonic() > until:
                return claimed
            await asyncio.sleep(min(0.1, self._config.heartbeat_s))

    async def _move_once(self) -> None:
        held = set(self._consumer.lanes)
        view = await self._leases.heartbeat(self._partitions())
        wanted = decide_share(view, self._leases.member)
        surplus = wanted.surplus & held
        again = set(view.epochs) - held - wanted.surplus
        if useless := (set(view.epochs) & wanted.surplus) - held:
            await self._leases.release(sorted(useless))
        claimed = await self._leases.claim([*sorted(again), *wanted.free], len(again) + wanted.take_at_most)
        if surplus or claimed or self._lost or self._resubscribed:
            await self._rebalance(surplus, dict(claimed))

    async def _rebalance(self, surplus: Collection[int], claimed: Mapping[int, bytes]) -> None:
        consumer, app = self._consumer, self._app
        consumer.counts.rebalances += 1
        self._resubscribed = False
        app.on_rebalance_start()
        await self._quiesce()
        going = {tp for tp in consumer.assignment() if tp.partition in surplus or tp.partition in self._lost}
        clean = {lane.partition: lane for lane in consumer.lanes.values() if lane.clean}
        await consumer.on_partitions_revoked(going)
        await self._persist(lambda: self._leases.release(sorted(surplus)))
        epochs = {p: lane.epoch for p, lane in consumer.lanes.items() if p not in surplus} | dict(claimed)
        # A partition may be claimed anew before anybody noticed that it was lost: another owner may have written its tables.
        clean = {p: lane for p, lane in clean.items() if epochs.get(p) == lane.epoch}
        self._lost.clear()
        lanes = await self._persist(lambda: read_lanes(consumer, epochs, clean))
        assigned = consumer.begin_generation(lanes)
        self._tell_assignor(assigned)
        consumer.log.info("%s owns partitions %s", consumer.group, sorted(lanes))
        await consumer.run_hooks(consumer.after_assign, assigned)
        consumer.free_flow()
        await consumer.on_partitions_assigned(set(assigned), app.consumer_generation_id)

    async def _quiesce(self) -> None:
        """Give agents nothing new, tell the hooks, and let what has begun end."""
        consumer, app = self._consumer, self._app
        assigned = set(consumer.assignment())
        # Also with nothing assigned: the fetcher may run, and must not read before the agents know the new partitions.
        consumer.hold_flow()
        app.flow_control.suspend()
        consumer.pause_partitions(assigned)
        app.flow_control.clear()
        gone = {tp for tp in assigned if tp.partition not in consumer.lanes}
        await consumer.run_hooks(consumer.after_loss, gone)
        await consumer.run_hooks(consumer.before_revoke, assigned - gone)
        await consumer.wait_empty()
        # Seen next is which tables hold only what is committed; nothing may change one between that and the new generation.
        consumer.end_generation()

    async def _persist(self, ask: Any) -> Any:
        """Ask Redis until it answers: half a rebalance cannot be left."""
        attempt = 0
        while True:
            try:
                return await ask()
            except Unavailable as error:
                if attempt == 0:
                    self._consumer.log.warning("cannot finish the rebalance yet: %s", error)
                await asyncio.sleep(backoff_s(attempt))
                attempt += 1

    def _tell_assignor(self, assigned: set[TP]) -> None:
        """Fill in what Faust would have learned from a Kafka group: tables ask it for their partitions."""
        app, topics = self._app, self._consumer.topics
        actives: dict[str, list[int]] = defaultdict(list)
        for tp in sorted(assigned):
            actives[tp.topic].append(tp.partition)
        assignor = app.assignor
        assignor._assignment = ClientAssignment(actives=dict(actives), standbys={})
        assignor._active_tps, assignor._standby_tps = set(assigned), set()
        assignor._topic_groups = dict.fromkeys(topics, 0)
        url, changelogs = str(app.conf.canonical_url), app.tables.changelog_topics
        assignor.changelog_distribution = {url: {t: ps for t, ps in actives.items() if t in changelogs}}
        assignor.external_topic_distribution = {url: {t: ps for t, ps in actives.items() if t not in changelogs}}


def _lag(reply: Any, group: str) -> int:
    if isinstance(reply, ReplyError):
        return -1
    for flat in reply:
        facts = {flat[at]: flat[at + 1] for at in range(0, len(flat), 2)}
        if facts.get(b"name") == group.encode():
            lag = facts.get(b"lag")
            return -1 if lag is None else int(lag)
    return -1


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
