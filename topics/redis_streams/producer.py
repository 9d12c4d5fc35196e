"""The way out of an agent: messages in; held for their event's commit, or sent at once when there is no event."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Awaitable, Generator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from faust.streams import current_event
from faust.transport.producer import Producer as FaustProducer
from faust.transport.producer import ProducerBuffer
from faust.types import TP, EventT, RecordMetadata
from faust.types.core import HeadersArg
from faust.types.tuples import FutureMessage
from mode import Service

from topics.errors import Unavailable
from topics.redis_streams.declaring import DeclaresTopics
from topics.redis_streams.entries import Field, encode_entry, entry_bytes, offset_of, partition_of
from topics.redis_streams.room import LOOK_S, AgentsRoom
from topics.redis_streams.wire import ReplyError, later_or_never

if TYPE_CHECKING:
    from topics.redis_streams.consumer import Consumer
    from topics.redis_streams.transport import Transport

_FLUSH_BYTES = 8 << 20


class Sent(asyncio.Future[Any]):
    """Where a message went. One that belongs to an event is out only after the event's commit: awaiting it within
    an event would wait for itself, so that raises instead."""

    attached = False

    def place(self, topic: str, partition: int, offset: int) -> None:
        """Tell whoever waits where the message is; -1 when the offset is not known."""
        self.set_result(RecordMetadata(topic, partition, TP(topic, partition), offset))

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait until the message is out."""
        if self.attached and not self.done() and current_event() is not None:
            raise RuntimeError("cannot wait for a message that an event produced: it goes out with the event's commit")
        return super().__await__()

    __iter__ = __await__


class _Queued(NamedTuple):
    topic: str
    partition: int
    command: list[Any]
    size: int
    future: Sent


class _Buffer(ProducerBuffer):
    """Faust's buffer, whose size is asked for with every message: its own way reads three settings first."""

    @property
    def size(self) -> int:
        """How many messages wait in it."""
        return int(self.pending.qsize())


class Producer(DeclaresTopics, FaustProducer):
    """Attaches what is produced within an event to that event; pipelines everything else.

    An attached message reaches Redis in the transaction that commits its event, or never. A direct one fails with
    Unavailable when Redis is away; it may have been added all the same when the connection broke.
    """

    transport: Transport

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.buffer = _Buffer(loop=self.loop, beacon=self.beacon)
        self.buffer.app = self.app

    def __post_init__(self) -> None:
        self._wire = self.transport.wire("producer")
        self._room_wire = self.transport.wire("room")
        self._agents_room = AgentsRoom(self._ask_room, self.transport.keys, self.transport.catalogue.known)
        self._queue: deque[_Queued] = deque()
        self._queued_bytes = 0
        self._in_flight = 0
        self._turn = itertools.count(int(time.monotonic_ns()) & 0xFFFF)
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._idle = asyncio.Event()

    async def on_stop(self) -> None:
        """Send what waits, as far as Redis takes it, then close."""
        try:
            async with asyncio.timeout(self.transport.config.drain_s):
                await self.flush()
        except TimeoutError:
            self.log.warning("%d messages outside events were not sent: Redis is away", len(self._queue))
        await super().on_stop()

    async def on_shutdown(self) -> None:
        """Close the wire once the flusher has ended."""
        await self._wire.close()
        await self._room_wire.close()

    def check_room(self, topic: str) -> None:
        """See `Sender.check_room`."""
        self._agents_room.check(topic)

    async def _ask_room(self, *command: Any) -> Any:
        return (await self._room_wire.call(command))[0]

    @Service.task
    async def _watch_room(self) -> None:
        while not self.should_stop:
            with suppress(Unavailable):  # Commits say so.
                await self._agents_room.look()
            await self.sleep(LOOK_S)

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: HeadersArg | None,
        *,
        transactional_id: str | None = None,
    ) -> Awaitable[RecordMetadata]:
        """Take a message; the future says where it went. Waits while too much is queued."""
        if self.transport.catalogue.known(topic) is None:
            await self.transport.catalogue.partitions(topic)
        event = current_event()
        if event is None:
            while self._queued_bytes > self.transport.config.producer_bytes:
                self._room.clear()
                await self._room.wait()
        return self.take(event, topic, value, key=key, partition=partition, timestamp=timestamp, headers=headers)

    def take(
        self,
        event: EventT[Any] | None,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp: float | None = None,
        headers: HeadersArg | None = None,
    ) -> Sent:
        """Attach a message to `event`, whichever the current one is; without event queue it for sending.

        The quick way for agents that handle many events at once: no serialization, nothing to await. The topic must be
        known (`declare_topics`, or sent to before). `timestamp` is in seconds, now if None. Raises RuntimeError when the
        event is acknowledged already, since its commit may be under way.
        """
        where = self._place(topic, key, partition)
        stamp = int((timestamp or time.time()) * 1000)
        fields = encode_entry(value, key=key, timestamp_ms=stamp, headers=_pairs(headers))
        future = Sent(loop=self.loop)
        if event is not None:
            future.attached = True
            self._attach(event, (topic, where), fields, future)
            return future
        command = ["XADD", self.transport.keys.stream(topic, where), "0-*", *fields]
        queued = _Queued(topic, where, command, entry_bytes(fields), future)
        self._queue.append(queued)
        self._queued_bytes += queued.size
        self._work.set()
        return future

    async def send_and_wait(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: HeadersArg | None,
        *,
        transactional_id: str | None = None,
    ) -> RecordMetadata:
        """Send a message and wait until Redis has it. Within an event that would wait for itself: RuntimeError."""
        if current_event() is not None:
            raise RuntimeError("cannot send and wait within an event: what it produces goes out with its commit")
        return await (await self.send(topic, key, value, partition, timestamp, headers))

    def send_soon(self, fut: FutureMessage) -> None:
        """Take a row of a table's changelog, synchronously, from within the event that changes the table."""
        message = fut.message
        topic = str(cast(Any, message.channel).get_topic_name())
        event = current_event()
        if event is None or topic not in self.app.tables.changelog_topics:
            super().send_soon(fut)
            return
        key = cast(bytes, message.key)
        value = cast("bytes | None", message.value)
        where = message.partition if message.partition is not None else event.message.partition
        fields = encode_entry(value, key=key, timestamp_ms=int(time.time() * 1000))
        self._attach(event, (topic, where), fields, None, row_key=key, tombstone=value is None)
        fut.set_result(RecordMetadata(topic, where, TP(topic, where), -1))

    def _attach(
        self,
        event: EventT[Any],
        to: tuple[str, int],
        fields: list[Field],
        future: Sent | None,
        *,
        row_key: bytes | None = None,
        tombstone: bool = False,
    ) -> None:
        if event.app is not self.app:
            raise RuntimeError(f"cannot send to {to[0]}: the current event belongs to the app {event.app.conf.id}")
        message = event.message
        lane = cast("Consumer", self.app.consumer).lane_of(message)
        if lane is None:
            return  # Abandoned: the message comes again, here or elsewhere, and what it makes now must not go out.
        if message.acked:
            raise RuntimeError(f"cannot send to {to[0]}: its event is acknowledged already")
        lane.attach(
            message.topic, message.offset, to=to, fields=fields, future=future, row_key=row_key, tombstone=tombstone
        )

    def _place(self, topic: str, key: bytes | None, partition: int | None) -> int:
        partitions = self.transport.catalogue.known(topic)
        if partitions is None:
            raise RuntimeError(f"cannot send to {topic}: nobody has declared it")
        if partition is not None:
            if not 0 <= partition < partitions:
                raise RuntimeError(f"cannot send to {topic} {partition}: it has {partitions} partitions")
            return partition
        return partition_of(key, partitions) if key is not None else next(self._turn) % partitions

    @Service.task
    async def _flusher(self) -> None:
        while not self.should_stop or self._queue:
            await self._work.wait()
            self._work.clear()
            while self._queue:
                await self._flush_some()
            self._idle.set()

    async def _flush_some(self) -> None:
        batch: list[_Queued] = []
        size = 0
        while self._queue and size < _FLUSH_BYTES:
            batch.append(self._queue.popleft())
            size += batch[-1].size
        self._in_flight = len(batch)
        try:
            replies = await self._wire.call(*(queued.command for queued in batch), strict=False)
        except Unavailable as error:
            replies = [error] * len(batch)
        finally:
            self._in_flight = 0
            self._queued_bytes -= size
            self._room.set()
        for queued, reply in zip(batch, replies, strict=True):
            _answer(queued, reply)

    async def flush(self) -> None:
        """Wait until everything outside events has been sent or has failed."""
        await self.buffer.flush()
        if self._queue or self._in_flight:
            self._idle.clear()
            await self._idle.wait()

    def key_partition(self, topic: str, key: bytes) -> TP:
        """Return where messages with this key go."""
        return TP(topic, self._place(topic, key, None))

    def supports_headers(self) -> bool:
        """Headers travel with the entry."""
        return True


def _pairs(headers: HeadersArg | None) -> list[tuple[str, bytes]]:
    if not headers:
        return []
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [(str(name), value) for name, value in pairs]


def _answer(queued: _Queued, reply: Any) -> None:
    if queued.future.done():
        return
    if isinstance(reply, Exception):
        queued.future.set_exception(later_or_never(reply) if isinstance(reply, ReplyError) else reply)
        # Whoever sends and does not wait has said that it does not matter.
        queued.future.exception()
        return
    queued.future.place(queued.topic, queued.partition, offset_of(reply))
