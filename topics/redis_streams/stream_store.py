"""Topics on Redis Streams without Faust, for the command line and for tools: what is behind the operations of a stream store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from topics.errors import Refused
from topics.producer import Producer
from topics.raw import Headers
from topics.redis_streams import scripts
from topics.redis_streams.catalogue import Catalogue
from topics.redis_streams.config import TransportConfig
from topics.redis_streams.entries import decode_any_entry, encode_headers, entry_id, offset_of
from topics.redis_streams.group_reader import RedisGroupReader
from topics.redis_streams.keys import Keys
from topics.redis_streams.overview import trim_topic
from topics.redis_streams.wire import Command, ReplyError, Wire
from topics.stream_store import PeekedMessage, Removed

_LOOK_BYTES = 8 << 20
"""How much one peek makes Redis read, beside the first message: it does nothing else meanwhile, some milliseconds."""
_REMOVE_AT_ONCE = 100


class RedisStreamStore:
    """The `StreamStore` of topics/stream_store.py. `producer` adds, within its bounds; it remains its owner's."""

    def __init__(self, config: TransportConfig, producer: Producer) -> None:
        self._config = config
        self._keys = Keys(config.namespace)
        self._wire = Wire(config.url, name="aegis-stream-store")
        self._producer = producer

    async def add(self, topic: str, value: bytes, headers: Headers | None = None, *, key: bytes | None = None) -> None:
        """See `Producer.add`."""
        await self._producer.add(topic, value, headers, key=key)

    async def add_batch(self, topic: str, values: Sequence[bytes], headers: Headers | None = None) -> None:
        """See `Producer.add_batch`."""
        await self._producer.add_batch(topic, values, headers)

    async def ping(self) -> None:
        """See `Producer.ping`."""
        await self._producer.ping()

    async def join(self, group: str, topic: str, *, lease_s: float = 4.0) -> RedisGroupReader:
        """See `StreamStore.join`."""
        count = await self.partitions(topic)
        await Catalogue(self._wire, self._keys, count).register(group, [topic])
        return RedisGroupReader(self._config, group, topic, partitions=count, lease_s=lease_s)

    async def trim(self, topic: str) -> int:
        """See `StreamStore.trim`."""
        await self.partitions(topic)
        return await trim_topic(self._wire, self._keys, topic)

    async def partitions(self, topic: str) -> int:
        """See `StreamStore.partitions`."""
        (count,) = await self._wire.call(("HGET", self._keys.topics, topic))
        if count is None:
            raise Refused(f"there is no topic {topic!r}", code="not_found")
        return int(count)

    async def peek(
        self, topic: str, partition: int, *, after: int = 0, limit: int = 100, preview_bytes: int = 0
    ) -> list[PeekedMessage]:
        """See `StreamStore.peek`."""
        stream = await self._stream(topic, partition)
        (found,) = await self._wire.call(
            ("EVAL_RO", scripts.PEEK, 1, stream, entry_id(after), limit, preview_bytes, _LOOK_BYTES)
        )
        messages = []
        for name, size, fields in found:
            entry = decode_any_entry(fields)
            # A value that is none by its fields can still be an entry that nobody of ours wrote.
            known = int(size) if int(size) >= 0 else None if entry.value is None else len(entry.value)
            messages.append(
                PeekedMessage(
                    partition,
                    offset_of(name),
                    entry.key,
                    tuple(entry.headers),
                    entry.timestamp_ms,
                    known,
                    (entry.value or b"")[:preview_bytes],
                )
            )
        return messages

    async def read_value(self, topic: str, partition: int, offset: int) -> bytes | None:
        """See `StreamStore.read_value`."""
        name = entry_id(offset)
        (entries,) = await self._wire.call(("XRANGE", await self._stream(topic, partition), name, name))
        if not entries:
            raise _missing(topic, partition, offset)
        return decode_any_entry(entries[0][1]).value

    async def move(
        self, topic: str, partition: int, offset: int, *, to: tuple[str, int], headers: Sequence[tuple[str, bytes]]
    ) -> int:
        """See `StreamStore.move`. The value does not leave Redis."""
        keys = (await self._stream(*to), await self._stream(topic, partition), self._keys.committed(topic, partition))
        args = (entry_id(offset), offset, int(time.time() * 1000), encode_headers(headers))
        (name,) = await self._guarded(("EVAL", scripts.MOVE, len(keys), *keys, *args))
        if name is None:
            raise _missing(topic, partition, offset)
        return offset_of(name)

    async def remove(self, topic: str, partition: int, offsets: Sequence[int]) -> int:
        """See `StreamStore.remove`."""
        keys = (await self._stream(topic, partition), self._keys.committed(topic, partition))
        removed = 0
        for at in range(0, len(offsets), _REMOVE_AT_ONCE):
            some = offsets[at : at + _REMOVE_AT_ONCE]
            args = (max(some), *(entry_id(offset) for offset in some))
            (number,) = await self._guarded(("EVAL", scripts.REMOVE, len(keys), *keys, *args))
            removed += int(number)
        return removed

    async def remove_oldest(self, topic: str, *, bytes_max: int) -> Removed:
        """See `StreamStore.remove_oldest`. Each partition has its even part of the bound."""
        count = await self.partitions(topic)
        messages = size_bytes = 0
        for partition in range(count):
            keys = (self._keys.stream(topic, partition), self._keys.committed(topic, partition), self._keys.removed)
            args = (bytes_max // count, _REMOVE_AT_ONCE, topic)
            while True:
                ((number, size),) = await self._guarded(("EVAL", scripts.REMOVE_OLDEST, len(keys), *keys, *args))
                messages, size_bytes = messages + int(number), size_bytes + int(size)
                if int(number) < _REMOVE_AT_ONCE:
                    break
        return Removed(messages, size_bytes)

    async def removed_oldest(self, topic: str) -> Removed:
        """See `StreamStore.removed_oldest`."""
        (found,) = await self._wire.call(("HMGET", self._keys.removed, f"{topic}:messages", f"{topic}:bytes"))
        return Removed(int(found[0] or 0), int(found[1] or 0))

    async def close(self) -> None:
        """Close the wire; the producer is its owner's."""
        await self._wire.close()

    async def _stream(self, topic: str, partition: int) -> str:
        count = await self.partitions(topic)
        if not 0 <= partition < count:
            raise Refused(f"there is no partition {partition} of topic {topic!r}", code="not_found")
        return self._keys.stream(topic, partition)

    async def _guarded(self, command: Command) -> list[Any]:
        try:
            return await self._wire.call(command)
        except ReplyError as exc:
            if str(exc).startswith("UNREAD"):
                raise Refused("a group still has to read it", code="unread") from exc
            raise


def _missing(topic: str, partition: int, offset: int) -> Refused:
    return Refused(f"there is no message {partition}-{offset} on {topic} any more", code="not_found")
