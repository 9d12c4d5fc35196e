"""Messages from the gateway and from tools -> Redis Streams, confirmed one by one, refused while a bound is near.

The streams' lengths and Redis' memory are looked at every `LOOK_S` seconds (room.py). The stream store adds through this too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import hiredis

from topics.errors import Unavailable
from topics.raw import Headers
from topics.redis_streams.entries import encode_entry, partition_of
from topics.redis_streams.keys import Keys
from topics.redis_streams.pipelined_connection import PipelinedConnection
from topics.redis_streams.room import GATEWAY_MEMORY_RATIO, LOOK_S, read_memory, read_size

log = logging.getLogger(__name__)


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

    async def add(self, topic: str, value: bytes, headers: Headers | None = None, *, key: bytes | None = None) -> None:
        """See `Producer.add`."""
        streams = self._streams.get(topic) or await self._find_streams(topic)
        try:
            await self._begin(topic, streams, value, headers, key)
        except hiredis.ReplyError as exc:
            raise _refusal(exc) from exc

    async def add_batch(self, topic: str, values: Sequence[bytes], headers: Headers | None = None) -> None:
        """See `Producer.add_batch`. Goes out in one write; more than the connection buffers (64 MiB) is Unavailable."""
        streams = self._streams.get(topic) or await self._find_streams(topic)
        added: list[asyncio.Future[Any]] = []
        failure: BaseException | None = None
        try:
            for value in values:
                added.append(self._begin(topic, streams, value, headers, None))
        except Unavailable as exc:
            failure = exc
        outcomes = await asyncio.gather(*added, return_exceptions=True)
        failure = failure or next((each for each in outcomes if isinstance(each, BaseException)), None)
        if isinstance(failure, hiredis.ReplyError):
            raise _refusal(failure) from failure
        if failure is not None:
            raise failure

    def _begin(
        self, topic: str, streams: list[str], value: bytes, headers: Headers | None, key: bytes | None
    ) -> asyncio.Future[Any]:
        """Queue one message; what is queued in one turn of the event loop goes out in one write."""
        if topic in self._full:
            raise Unavailable(self._full[topic], retry_after_s=2.0)
        if key is None:
            self._next += 1
            stream = streams[self._next % len(streams)]
        else:
            stream = streams[partition_of(key, len(streams))]
        entry = encode_entry(value, key=key, headers=headers or (), timestamp_ms=int(time.time() * 1000))
        return self._connection.call("XADD", stream, "0-*", *entry)

    def next_stream(self, topic: str) -> str | None:
        """The stream that a topic's next message goes to; None until it was looked up. Raises `Unavailable` when full."""
        streams = self._streams.get(topic)
        if streams is None:
            return None
        if topic in self._full:
            raise Unavailable(self._full[topic], retry_after_s=2.0)
        self._next += 1
        return streams[self._next % len(streams)]

    async def find_next_stream(self, topic: str) -> str:
        """The same after looking the topic up."""
        await self._find_streams(topic)
        stream = self.next_stream(topic)
        assert stream is not None
        return stream

    async def ping(self) -> None:
        """See `Producer.ping`; full counts as not able when every topic is: one that waits for its store leaves the others."""
        try:
            await self._connection.call("PING")
        except hiredis.ReplyError as exc:
            raise Unavailable(f"cannot use Redis: {exc}") from exc
        if len(self._full) == len(self._topics):
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
            raise _refusal(exc) from exc
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
        memory = await read_memory(self._connection.call)
        if memory.is_past(GATEWAY_MEMORY_RATIO):
            full = dict.fromkeys(self._topics, f"cannot enqueue: the pipeline is full, {memory}")
        for topic in self._topics:
            with suppress(Unavailable):
                why = await self._why_full(topic)
                if why:
                    full[topic] = f"cannot enqueue: the pipeline is full, {why} wait on {topic}"
        if bool(full) != bool(self._full):
            log.warning("%s", next(iter(full.values())) if full else "the pipeline takes requests again")
        self._full = full

    async def _why_full(self, topic: str) -> str:
        """What of a topic is past its bound, "" when nothing is."""
        streams = self._streams.get(topic) or await self._find_streams(topic)
        lengths = [await self._connection.call("XLEN", stream) for stream in streams]
        if max(lengths) >= self._stream_messages_max:
            return f"{max(lengths)} requests of one partition"
        size = await read_size(self._connection.call, streams)
        return f"{size >> 20} MiB" if size >= self._topic_bytes_max else ""


def _refusal(exc: hiredis.ReplyError) -> Unavailable:
    """Out of memory, loading, read-only, failing to write the AOF: Redis did not take it, and may later."""
    return Unavailable(f"cannot enqueue: Redis says {exc}", retry_after_s=2.0)
