"""From Redis to the agents: fetched entries in, Faust messages handed over in turn, as many as there is room for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from faust.types import TP, ConsumerMessage

from topics.errors import Unavailable
from topics.redis_streams.config import TransportConfig
from topics.redis_streams.entries import decode_any_entry
from topics.redis_streams.fetch import Fetch, Record, record_bytes
from topics.redis_streams.lane import Track
from topics.redis_streams.wire import backoff_s

if TYPE_CHECKING:
    from topics.redis_streams.consumer import Consumer

_YIELD_EVERY = 100


class Delivery:
    """Reads for one consumer. Faust's own loop makes two tasks a message; this one awaits the agents' queue directly,
    which never blocks, because what is read is bounded here."""

    def __init__(self, consumer: Consumer, fetch: Fetch, config: TransportConfig) -> None:
        self._consumer = consumer
        self._fetch = fetch
        self._config = config

    @property
    def _app(self) -> Any:
        return self._consumer.app

    async def read(self, active: set[TP], wait_s: float) -> dict[TP, list[Record]]:
        """Return what follows in the active partitions that have room for more. Raises Unavailable."""
        positions: dict[tuple[str, int], int] = {}
        full = False
        for tp in active:
            track = self._consumer.track(tp)
            if track is None or self._consumer._is_changelog_tp(tp):
                continue
            if self._has_room(track):
                positions[tp] = track.position
            else:
                full = True
        if not positions:
            await asyncio.sleep(min(wait_s, 0.02))
            return {}
        # With a partition left out for want of room the wait is short, so that it is taken up again soon.
        block_s = min(wait_s, 0.02 if full else 0.5)
        generation = self._app.consumer_generation_id
        found = await self._fetch.read(positions, block_s)
        kept: dict[TP, list[Record]] = {}
        for name, records in found.items():
            tp = TP(*name)
            track = self._consumer.track(tp)
            # A seek or a rebalance while the fetch was under way makes what it brought the wrong thing.
            if track is None or generation != self._app.consumer_generation_id or track.position != positions[tp]:
                continue
            kept[tp] = records
        return kept

    def _has_room(self, track: Track) -> bool:
        if track.position <= track.read_through:
            return True
        return track.pending_bytes < self._config.buffer_bytes and len(track.delivered) < self._config.buffer_messages

    def message(self, tp: TP, record: Record) -> ConsumerMessage:
        """Return the Faust message of an entry."""
        offset, fields = record
        entry = decode_any_entry(fields)
        key, value = entry.key, entry.value
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            offset,
            entry.timestamp_ms / 1000.0,
            0,
            cast(Any, entry.headers),
            key,
            value,
            None,
            len(key) if key is not None else 0,
            len(value) if value is not None else 0,
            tp,
            generation_id=self._app.consumer_generation_id,
        )

    async def run(self, fetcher: Any) -> None:
        """Hand what is fetched to the agents until the fetcher stops. Any failure but Redis being away ends the worker."""
        attempt = 0
        try:
            while not (self._consumer.should_stop or fetcher.should_stop):
                try:
                    await self._deliver_once()
                    attempt = 0
                except Unavailable as error:
                    if attempt == 0:
                        self._consumer.log.warning("cannot read: %s", error)
                    await asyncio.sleep(backoff_s(attempt))
                    attempt += 1
        except asyncio.CancelledError:
            raise
        except Exception as error:
            # A worker that reads nothing and keeps its leases would stop everybody's data.
            await self._app.crash(error)
            raise

    async def _deliver_once(self) -> None:
        if not self._consumer.flow_active:
            await self._consumer.wait(self._consumer.can_resume_flow.wait())
            return
        generation = self._app.consumer_generation_id
        records = await self.read(self._consumer._get_active_partitions(), 1.0)
        flow_control = self._app.flow_control
        to_agents = self._consumer.callback
        handed = 0
        for tp, record in _in_turn(records):
            # Agents accept nothing while partitions move; and nothing may be counted as delivered that they do not get.
            if (
                not (self._consumer.flow_active and flow_control.is_active())
                or self._app.consumer_generation_id != generation
            ):
                return
            track = self._consumer.track(tp)
            if track is None:
                continue
            offset = record[0]
            message = self.message(tp, record)
            track.position = offset + 1
            track.highest = max(track.highest, offset)
            track.deliver(offset, record_bytes(record[1]))
            self._consumer._read_offset[tp] = offset
            await to_agents(message)
            handed += 1
            if handed % _YIELD_EVERY == 0:
                await asyncio.sleep(0)

    async def close(self) -> None:
        """Close the wire."""
        await self._fetch.close()


def _in_turn(records: Mapping[TP, list[Record]]) -> Iterable[tuple[TP, Record]]:
    """Yield one record of each partition after the other, so that none waits for a long one."""
    longest = max(map(len, records.values()), default=0)
    for at in range(longest):
        for tp, some in records.items():
            if at < len(some):
                yield tp, some[at]
