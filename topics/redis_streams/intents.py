"""What a sink is about to write: an intent in before the insert, the open one out after a crash.

It lives beside the ownership of its partition and is written under the same fence, so a worker that lost the partition
cannot leave one behind.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import msgspec

from topics.redis_streams.errors import Fenced
from topics.redis_streams.keys import Keys
from topics.redis_streams.lane import Lane
from topics.redis_streams.wire import ReplyError, Wire, later_or_never


class Intent(NamedTuple):
    """A range of offsets of one topic partition, both ends included, and the token its insert carries."""

    first_offset: int
    last_offset: int
    token: str


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Intent)


class Intents:
    """Reads and writes the intents of the partitions that a group's member owns."""

    def __init__(self, wire: Wire, keys: Keys, group: str) -> None:
        self._wire = wire
        self._keys = keys
        self._group = group
        self._lock = asyncio.Lock()

    async def read(self, topic: str, partition: int) -> Intent | None:
        """Return the open intent, or None when there is none or its range is committed already. Raises Unavailable."""
        async with self._lock:
            stored, committed = await self._wire.call(
                ("HGET", self._keys.intents(self._group, partition), topic),
                ("HGET", self._keys.committed(topic, partition), self._group),
            )
        if stored is None:
            return None
        intent = _decoder.decode(stored)
        return intent if intent.last_offset >= int(committed or 1) else None

    async def write(self, topic: str, partition: int, intent: Intent, lane: Lane | None) -> None:
        """Store the intent, replacing the one before. Writing the same one again is harmless.

        Raises Fenced when the partition is not owned as `lane` says any more, and Unavailable when Redis cannot be reached
        (the intent may have been stored: write the same one again).
        """
        if lane is None:
            raise Fenced(f"cannot write an intent for {topic} {partition}: the partition is not ours")
        epoch = self._keys.epoch(self._group, partition)
        store = ("HSET", self._keys.intents(self._group, partition), topic, _encoder.encode(intent))
        async with self._lock:
            _, current = await self._wire.call(("WATCH", epoch), ("GET", epoch))
            if current != lane.epoch or self._wire.run_id != lane.run_id:
                await self._wire.call(("UNWATCH",))
                raise Fenced(f"cannot write an intent for {topic} {partition}: the partition is not ours any more")
            replies = await self._wire.call(("MULTI",), store, ("EXEC",), strict=False, session=self._wire.session)
        if replies[-1] is None:
            raise Fenced(f"cannot write an intent for {topic} {partition}: the partition was taken over")
        for reply in replies:
            if isinstance(reply, ReplyError):
                raise later_or_never(reply)

    async def close(self) -> None:
        """Close the wire."""
        await self._wire.close()
