"""Messages from the gateway -> Redis Streams, confirmed one by one, refused while a bound is near.

The streams' lengths and Redis' memory are looked at every `LOOK_S` seconds; between two looks the bounds may be passed by
what arrives in that time, which is why they stand below what Redis can hold.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress

import hiredis

from topics.errors import Unavailable
from topics.raw import Headers
from topics.redis_streams.entries import encode_entry
from topics.redis_streams.keys import Keys
from topics.redis_streams.pipelined_connection import PipelinedConnection

log = logging.getLogger(__name__)

LOOK_S = 0.25
MEMORY_RATIO_MAX = 0.8
"""Share of Redis' maxmemory from which on nothing is taken: agents need the rest to work off what is there."""


class StreamProducer:
    """The `Producer` of topics/producer.py on Redis Streams."""

    def __init__(
        self,
        url: str,
        *,
        topics: Sequence[str],
        namespace: str = "aegis",
        stream_messages_max: int = 100_000,
        topic_bytes_max: int = 256 << 20,
    ) -> None:
        self.connection = self._connection = PipelinedConnection(url)
        self.namespace = namespace
        self._keys = Keys(namespace)
        self._topics = topics
        self._stream_messages_max = stream_messages_max
        self._topic_bytes_max = topic_bytes_max
        self._streams: dict[str, list[str]] = {}
        self._next = 0
        self._full: dict[str, str] = {}
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect and begin to watch the bounds. A Redis that is away does not stop the start."""
        await self._connection.start()
        with suppress(Unavailable):
            await self._look()
        self._looking = asyncio.create_task(self._keep_looking())

    async def add(self, topic: str, value: bytes, headers: Headers) -> None:
        """See `Producer.add`."""
        streams = self._streams.get(topic) or await self._find_streams(topic)
        if topic in self._full:
            raise Unavailable(self._full[topic], retry_after_s=2.0)
        self._next += 1
        stream = streams[self._next % len(streams)]
        entry = encode_entry(value, headers=headers, timestamp_ms=int(time.time() * 1000))
        try:
            await self._connection.call("XADD", stream, "0-*", *entry)
        except hiredis.ReplyError as exc:
            # Out of memory, loading, read-only, failing to write the AOF: Redis did not take it, and may later.
            raise Unavailable(f"cannot enqueue: Redis says {exc}", retry_after_s=2.0) from exc

    def next_stream(self, topic: str) -> str | None:
        """The stream that a topic's next message goes to; None until `find_next_stream` was asked. Raises `Unavailable` when full."""
        streams = self._streams.get(topic)
        if streams is None:
            return None
        if topic in self._full:
            raise Unavailable(self._full[topic], retry_after_s=2.0)
        self._next += 1
        return streams[self._next % len(streams)]

    async def find_next_stream(self, topic: str) -> str:
        """The same after a look at the catalogue."""
        await self._find_streams(topic)
        stream = self.next_stream(topic)
        assert stream is not None
        return stream

    async def ping(self) -> None:
        """See `Producer.ping`; a full pipeline counts as not able to take messages."""
        try:
            await self._connection.call("PING")
        except hiredis.ReplyError as exc:
            raise Unavailable(f"cannot use Redis: {exc}") from exc
        if self._full:
            raise Unavailable(next(iter(self._full.values())))

    async def close(self) -> None:
        """See `Producer.close`."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
        await self._connection.close()

    async def _find_streams(self, topic: str) -> list[str]:
        """The streams of a topic's partitions, from the topic catalogue that the agents share."""
        try:
            count = await self._connection.call("HGET", self._keys.topics, topic)
        except hiredis.ReplyError as exc:
            raise Unavailable(f"cannot enqueue: Redis says {exc}", retry_after_s=2.0) from exc
        if count is None:
            raise Unavailable(f"cannot enqueue: topic {topic} is not declared yet", retry_after_s=1.0)
        streams = self._streams[topic] = [self._keys.stream(topic, partition) for partition in range(int(count))]
        return streams

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self._look()
            except Unavailable:
                self._streams.clear()  # Whoever comes back may be another Redis.
            except Exception:
                # Without this look the bounds would not hold any more, so say it each time rather than stop.
                log.exception("cannot look at the streams' bounds")

    async def _look(self) -> None:
        """Refresh what is full: topic -> why."""
        full: dict[str, str] = {}
        memory = _info_fields(await self._connection.call("INFO", "memory"))
        used, bound = int(memory.get("used_memory", "0")), int(memory.get("maxmemory", "0"))
        if bound and used > bound * MEMORY_RATIO_MAX:
            why = f"cannot enqueue: the pipeline is full, Redis holds {used >> 20} of {bound >> 20} MiB"
            full = dict.fromkeys(self._topics, why)
        for topic in self._topics:
            with suppress(Unavailable):
                why = await self._why_full(topic)
                if why:
                    full[topic] = f"cannot enqueue: the pipeline is full, {why} wait on {topic}"
        if bool(full) != bool(self._full):
            log.warning("%s", next(iter(full.values())) if full else "the pipeline takes requests again")
        self._full = full

    async def _why_full(self, topic: str) -> str:
        """What of a topic is past its bound, "" when nothing is. Bytes are Redis' own estimate, from a few samples."""
        streams = self._streams.get(topic) or await self._find_streams(topic)
        lengths = [await self._connection.call("XLEN", stream) for stream in streams]
        if max(lengths) >= self._stream_messages_max:
            return f"{max(lengths)} requests of one partition"
        size = sum([await self._connection.call("MEMORY", "USAGE", stream) or 0 for stream in streams])
        return f"{size >> 20} MiB" if size >= self._topic_bytes_max else ""


def _info_fields(text: bytes) -> dict[str, str]:
    """Redis' INFO text -> name to value."""
    pairs = (line.partition(":") for line in text.decode().splitlines() if ":" in line)
    return {name: value for name, _, value in pairs}
