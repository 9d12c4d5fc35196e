"""One member of a group without Faust: claims in, messages out; the same leases, fences and bounds as the driver."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence

from topics.errors import Unavailable
from topics.ledger import PartitionLost
from topics.redis_streams.commits import Commits
from topics.redis_streams.config import TransportConfig
from topics.redis_streams.entries import decode_any_entry
from topics.redis_streams.fetch import Fetch, record_bytes
from topics.redis_streams.keys import Keys
from topics.redis_streams.lane import Lane
from topics.redis_streams.leases import Leases, decide_share
from topics.redis_streams.positions import begin_track
from topics.redis_streams.wire import Wire
from topics.stream_store import StoredMessage


class RedisGroupReader:
    """The `GroupReader` of topics/stream_store.py. Not for concurrent use."""

    def __init__(self, config: TransportConfig, group: str, topic: str, *, partitions: int, lease_s: float) -> None:
        self.member = f"reader-{secrets.token_hex(6)}"
        self._group = group
        self._topic = topic
        self._partitions = partitions
        self._lease_s = lease_s
        self._keys = Keys(config.namespace)
        self._config = config
        self._claimed_s = float("-inf")
        self._leases = Leases(
            Wire(config.url, name="aegis-reader-leases"),
            self._keys,
            group=group,
            member=self.member,
            lease_ms=int(lease_s * 1000),
        )
        self._fetch = Fetch(Wire(config.url, name="aegis-reader-fetch"), self._keys, config)
        self._lost: list[str] = []
        self._claims = 0
        # Partition -> the number of its last claim. Epochs would not do: a flushed Redis counts them from one again.
        self._claim_of: dict[int, int] = {}
        self._commits = Commits(
            Wire(config.url, name="aegis-reader-commit"),
            self._keys,
            group,
            config,
            on_committed=lambda topic, partition, offset: None,
            on_lost=self._lose,
        )

    async def claim(self) -> set[int]:
        """See `GroupReader.claim`."""
        lanes = self._commits.lanes
        view = await self._leases.heartbeat(self._partitions)
        for partition, lane in list(lanes.items()):
            if view.epochs.get(partition) != lane.epoch or lane.run_id != self._leases.run_id:
                self._lose(lane, "it was taken over, or Redis was restarted")
        wanted = decide_share(view, self.member)
        surplus = sorted(wanted.surplus)
        for partition in surplus:
            lanes.pop(partition, None)
        await self._leases.release(surplus)
        again = set(view.epochs) - set(lanes) - wanted.surplus
        claimed = await self._leases.claim([*sorted(again), *wanted.free], len(again) + wanted.take_at_most)
        for partition, epoch in claimed.items():
            track = await begin_track(self._leases.ask, self._keys, self._group, self._topic, partition)
            lane = lanes[partition] = Lane(partition, epoch, self._leases.run_id)
            lane.tracks[self._topic] = track
            self._claims += 1
            self._claim_of[partition] = self._claims
        self._claimed_s = time.monotonic()
        return set(lanes)

    async def read(self, *, limit: int = 100, wait_s: float = 0.0) -> list[StoredMessage]:
        """See `GroupReader.read`."""
        until = time.monotonic() + wait_s
        while True:
            # No longer than a part of the lease at a time, which is to be renewed in between.
            left_s = min(max(0.0, until - time.monotonic()), self._lease_s / 4)
            messages = await self._read_some(limit, left_s)
            if messages or time.monotonic() >= until:
                return messages

    async def _read_some(self, limit: int, wait_s: float) -> list[StoredMessage]:
        if time.monotonic() - self._claimed_s > self._lease_s / 4:
            await self.claim()
        tracks = {partition: lane.tracks[self._topic] for partition, lane in self._commits.lanes.items()}
        room = {
            (self._topic, partition): track.position
            for partition, track in tracks.items()
            if track.pending_bytes < self._config.buffer_bytes and len(track.delivered) < self._config.buffer_messages
        }
        if not room:
            await asyncio.sleep(wait_s)
            return []
        found = await self._fetch.read(room, wait_s)
        messages: list[StoredMessage] = []
        for (topic, partition), records in found.items():
            track = tracks[partition]
            for offset, fields in records[: limit - len(messages)]:
                entry = decode_any_entry(fields)
                track.position = offset + 1
                track.deliver(offset, record_bytes(fields))
                messages.append(
                    StoredMessage(
                        topic,
                        partition,
                        offset,
                        entry.key,
                        entry.value,
                        tuple(entry.headers),
                        entry.timestamp_ms,
                        self._claim_of[partition],
                    )
                )
        return messages

    async def ack(self, messages: Sequence[StoredMessage]) -> None:
        """See `GroupReader.ack`."""
        missing = set()
        for message in messages:
            lane = self._commits.lanes.get(message.partition)
            if lane is None or message.claim != self._claim_of[message.partition]:
                missing.add(message.partition)
            elif message.offset >= lane.tracks[self._topic].committed:
                lane.tracks[self._topic].acked.add(message.offset)
        before = len(self._lost)
        await self._commits.commit()
        reasons = [f"partition {partition} is not ours any more" for partition in sorted(missing)]
        if reasons := reasons + self._lost[before:]:
            raise PartitionLost(f"cannot acknowledge on {self._topic}: {'; '.join(reasons)}")

    async def close(self) -> None:
        """See `GroupReader.close`."""
        try:
            await self._leases.release(sorted(self._commits.lanes))
            await self._leases.leave()
        except Unavailable:
            pass  # The leases run out by themselves.
        finally:
            self._commits.begin({})
            await self._leases.close()
            await self._fetch.close()
            await self._commits.close()

    def _lose(self, lane: Lane, reason: str) -> None:
        if self._commits.lanes.get(lane.partition) is lane:
            del self._commits.lanes[lane.partition]
            self._lost.append(f"partition {lane.partition}: {reason}")
