"""The way into an agent: stream entries in, Faust messages out; acknowledged ones go back as commits.

Replaces what Faust's consumer does in ways that lose or repeat messages: the tracking of offsets, the commit, the wait
for agents before partitions go away, and the loop between fetch and agents. Everything runs in the loop of the app.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from faust.types import TP, ConsumerMessage, Message
from faust.types.transports import TPorTopicSet
from mode import Service

from topics.errors import Unavailable
from topics.redis_streams.commits import Commits
from topics.redis_streams.declaring import DeclaresTopics
from topics.redis_streams.delivery import Delivery
from topics.redis_streams.errors import Fenced
from topics.redis_streams.fetch import Fetch, Record
from topics.redis_streams.intents import Intent, Intents
from topics.redis_streams.lane import Lane, Track
from topics.redis_streams.lease_keeper import LeaseKeeper
from topics.redis_streams.leases import Leases
from topics.redis_streams.ledger import PartitionLedger
from topics.redis_streams.reading_positions import Positions
from topics.redis_streams.rebalance import Ownership
from topics.redis_streams.wire import backoff_s
from topics.streaming import Counts, PartitionHook, Status

if TYPE_CHECKING:
    from topics.redis_streams.producer import Producer
    from topics.redis_streams.transport import Transport

_ABANDONED = -1


class _NoList(list[int]):
    """Faust appends every acknowledged offset here too; the set beside it says all that is needed."""

    def append(self, offset: int, /) -> None:
        """Keep nothing."""


class Consumer(DeclaresTopics, Positions):
    """Reads the partitions that this worker owns and commits what its agents have finished.

    `before_revoke`: called with every partition held, before any is given up and after agents get nothing new; flush and
    acknowledge, or drop. What is not acknowledged `drain_s` later comes again. `after_loss`: called with partitions
    that are lost already; drop what is held for them. `after_assign`: called with every partition held from now on,
    before the first message. Faust reads all partitions again from their committed offsets after every rebalance, so
    the hooks name all of them, not only those that move.
    """

    transport: Transport
    app: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        config = self.transport.config
        self.group = str(self.app.conf.id)
        self.member = f"{socket.gethostname()}-{secrets.token_hex(6)}"
        self.before_revoke: list[PartitionHook] = []
        self.after_loss: list[PartitionHook] = []
        self.after_assign: list[PartitionHook] = []
        self.topics: set[str] = set()
        self._assigned: set[TP] = set()
        self._flow_held = False
        self._delivery = Delivery(self, Fetch(self.transport.wire("fetch"), self.transport.keys, config), config)
        keys = self.transport.keys
        self._commits = Commits(
            self.transport.wire("commit"), keys, self.group, config, on_committed=self._committed, on_lost=self.lose
        )
        self._intents = Intents(self.transport.wire("intents"), keys, self.group)
        leases = Leases(
            self.transport.wire("leases"),
            self.transport.keys,
            group=self.group,
            member=self.member,
            lease_ms=config.lease_ms,
        )
        keeper = LeaseKeeper(
            config.url,
            keys,
            group=self.group,
            member=self.member,
            held=lambda: list(self.lanes),
            lease_ms=config.lease_ms,
            heartbeat_s=config.heartbeat_s,
            stall_max_s=config.stall_max_s,
        )
        self.ownership = Ownership(self, leases, keeper)

    @property
    def lanes(self) -> dict[int, Lane]:
        """See `Positions.lanes`."""
        return self._commits.lanes

    @property
    def counts(self) -> Counts:
        """What has happened since the start."""
        return self._commits.counts

    # -- start and stop

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Read these topics from now on."""
        attempt = 0
        names = set(topics)
        changelogs = names & self.app.tables.changelog_topics
        while not self.should_stop:
            try:
                # First of all, so that a Redis that drops data is refused before anything is read from it.
                await self.transport.catalogue.incarnation()
                await self.transport.catalogue.register(self.group, sorted(names - changelogs))
                for changelog in changelogs:
                    await self.transport.catalogue.require_equal(changelog, names - changelogs)
                break
            except Unavailable as error:
                self.log.warning("cannot subscribe yet: %s", error)
                await self.sleep(backoff_s(attempt))
                attempt += 1
        self.topics = names
        self.ownership.subscribed()

    async def on_stop(self) -> None:
        """Commit what is finished, then give everything up."""
        await self.ownership.stop()
        self._commits.begin({})
        self._assigned = set()
        await self._delivery.close()
        await self._commits.close()
        await self._intents.close()
        await self.transport.catalogue.close()

    def close(self) -> None:
        """Nothing to do: `on_stop` closes."""

    # -- what Faust asks

    def assignment(self) -> set[TP]:
        """Return the topic partitions owned now."""
        return self._assigned

    def topic_partitions(self, topic: str) -> int | None:
        """Return the number of partitions of a topic, None while it is unknown."""
        return self.transport.catalogue.known(topic)

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        """Return the partition of a key."""
        if partition is not None or key is None:
            return partition
        return int(cast("Producer", self.app.producer).key_partition(topic, key).partition)

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    # -- from Redis to the agents

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> dict[TP, list[Record]]:  # noqa: ASYNC109  # Faust's signature
        return await self._delivery.read(active_partitions or set(), timeout)

    def _to_message(self, tp: TP, record: Record) -> ConsumerMessage:
        return self._delivery.message(tp, record)

    async def _drain_messages(self, fetcher: Any) -> None:
        await self._delivery.run(fetcher)

    def on_buffer_full(self, tp: TP) -> None:
        """Leave bounding to `Delivery`, which counts what is unacknowledged too."""

    def on_buffer_drop(self, tp: TP) -> None:
        """As `on_buffer_full`."""

    # -- from the agents to Redis

    def lane_of(self, message: Message) -> Lane | None:
        """Return the lane that holds what this message produces, None when the message was abandoned."""
        if message.generation_id != self.app.consumer_generation_id:
            return None
        lane = self.lanes.get(message.partition)
        return lane if lane is not None and message.topic in lane.tracks else None

    @Service.task
    async def _commit_handler(self) -> None:
        """Commit soon after something was acknowledged."""
        interval = self.transport.config.commit_interval_s
        attempt = 0
        while not self.should_stop:
            await asyncio.sleep(interval if attempt == 0 else backoff_s(attempt))
            try:
                await self._commits.commit()
                attempt = 0
            except Unavailable as error:
                if attempt == 0:
                    self.log.warning("cannot commit yet: %s", error)
                attempt += 1

    @Service.task
    async def _commit_livelock_detector(self) -> None:
        """Nothing: `status` shows what does not move."""

    async def commit(self, topics: TPorTopicSet | None = None, start_new_transaction: bool = True) -> bool:
        """Commit whatever is finished; False when Redis is away or there was nothing."""
        try:
            return await self._commits.commit()
        except Unavailable:
            return False

    async def commit_now(self) -> bool:
        """Commit what is finished without waiting for the interval; return whether anything was. Raises Unavailable."""
        return await self._commits.commit()

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        raise NotImplementedError("commits of offsets alone do not exist here: see `Commits`")

    def _committed(self, topic: str, partition: int, offset: int) -> None:
        self._committed_offset[TP(topic, partition)] = offset

    def lose(self, lane: Lane, reason: str) -> None:
        """Drop a lane that may not commit any more; what it held comes again, to whoever owns it next."""
        if self.lanes.get(lane.partition) is not lane:
            return
        self.log.warning("lost partition %s of %s: %s", lane.partition, self.group, reason)
        self.counts.fenced += 1
        del self.lanes[lane.partition]
        self.abandon(lane.partition)
        self.ownership.lost(lane.partition)

    def abandon(self, partition: int | None = None) -> int:
        """Make late acknowledgements and products of unfinished messages count for nothing; return how many there are."""
        messages = [m for m in self._unacked_messages if partition is None or m.partition == partition]
        for message in messages:
            if not message.acked:
                message.acked = True
                message.generation_id = _ABANDONED
            self._unacked_messages.discard(message)
        return len(messages)

    # -- partitions come and go

    async def wait_empty(self) -> None:
        """Let agents finish what they have begun, for `drain_s` at most, and commit it."""
        if self.app.should_stop:
            await self.ownership.pause()
            await self.run_hooks(self.before_revoke, set(self._assigned))
        try:
            async with asyncio.timeout(self.transport.config.drain_s):
                while any(not message.acked for message in self._unacked_messages):
                    await self.commit()
                    await asyncio.sleep(0.01)
                while self._commits.pending:
                    if not await self.commit():
                        await asyncio.sleep(0.01)
        except TimeoutError:
            self.log.warning("%d messages were not finished in time and will come again", len(self._unacked_messages))
        self.abandon()

    async def run_hooks(self, hooks: list[PartitionHook], partitions: set[TP]) -> None:
        """Call hooks one after another, for `drain_s` at most each; a failing one is logged and changes nothing."""
        for hook in list(hooks) if partitions else ():
            try:
                async with asyncio.timeout(self.transport.config.drain_s):
                    await hook(set(partitions))
            except TimeoutError:
                self.log.warning("a hook took longer than %.1f s and was left", self.transport.config.drain_s)
            except Exception:
                self.log.exception("a hook failed")

    def hold_flow(self) -> None:
        """Deliver nothing until `free_flow`, whoever resumes: Faust's recovery of the assignment before may still run."""
        self._flow_held = True
        self.stop_flow()

    def free_flow(self) -> None:
        """Let Faust resume from now on."""
        self._flow_held = False

    def resume_flow(self) -> None:
        """Deliver again, unless it is held."""
        if not self._flow_held:
            super().resume_flow()

    def end_generation(self) -> None:
        """Make what is unfinished, or still on its way to an agent, count for nothing: no agent may write a table then."""
        self.abandon()
        self.app.consumer_generation_id += 1

    def begin_generation(self, lanes: Mapping[int, Lane]) -> set[TP]:
        """Start over with these lanes: fresh offsets, nothing delivered yet. Returns the topic partitions."""
        self._commits.begin(dict(lanes))
        for state in (self._gap, self._acked, self._acked_index, self._read_offset, self._committed_offset):
            state.clear()
        self._unacked_messages.clear()
        self._assigned = {TP(topic, lane.partition) for lane in lanes.values() for topic in lane.tracks}
        for tp in self._assigned:
            track = lanes[tp.partition].tracks[tp.topic]
            self._acked[tp] = _NoList()
            self._acked_index[tp] = track.acked
            self._committed_offset[tp] = track.committed
        return self._assigned

    # -- for agents, sinks and operators

    async def learn_topics(self, topics: Iterable[str]) -> None:
        """See `Streams.learn_topics`."""
        for topic in topics:
            await self.transport.catalogue.partitions(topic)

    def ledger(self, tp: TP) -> PartitionLedger:
        """See `Streams.ledger`."""
        return PartitionLedger(self, tp)

    async def read_intent(self, tp: TP) -> Intent | None:
        """Return the open insert intent of an owned topic partition. Raises Unavailable."""
        return await self._intents.read(tp.topic, tp.partition)

    async def write_intent(self, tp: TP, intent: Intent) -> None:
        """Store what is about to be inserted. Raises Unavailable (write it again) and Fenced (drop the buffer).

        Fenced gives the partition up here too: what the sink drops is read again only by whoever is assigned it next.
        """
        lane = self.lanes.get(tp.partition)
        try:
            await self._intents.write(tp.topic, tp.partition, intent, lane)
        except Fenced as error:
            if lane is not None:
                self.lose(lane, str(error))
            raise

    def read_tracks(self) -> dict[tuple[str, int], Track]:
        """Return the tracks of everything that agents read: all but the changelogs."""
        changelogs = self.app.tables.changelog_topics
        return {
            (topic, partition): track
            for partition, lane in self.lanes.items()
            for topic, track in lane.tracks.items()
            if topic not in changelogs
        }

    def status(self) -> Status:
        """Return what this consumer holds and has done; reads nothing from Redis."""
        tracks = self.read_tracks()
        return Status(
            group=self.group,
            member=self.member,
            connected=self.ownership.connected,
            incarnation=self.transport.incarnation,
            partitions=sorted(self.lanes),
            lag=dict(self.ownership.lag),
            pending_messages={tp: len(track.delivered) for tp, track in tracks.items()},
            pending_bytes=sum(track.pending_bytes for track in tracks.values()),
            counts=self.counts,
        )
