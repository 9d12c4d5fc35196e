"""Reading: positions in, entries of several partitions out, bounded in bytes and never more than there is room for."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from topics.redis_streams.config import TransportConfig
from topics.redis_streams.entries import ENTRY_OVERHEAD_BYTES, entry_id, offset_of
from topics.redis_streams.keys import Keys
from topics.redis_streams.wire import Wire

TopicPartition = tuple[str, int]
Record = tuple[int, list[bytes]]
"""An offset and the fields of its entry."""


class Fetch:
    """Reads streams with XREAD from positions that the caller keeps.

    XREAD takes a number of entries a stream, not of bytes, so the number follows the size of what came lately. It never
    exceeds `fetch_messages` over all streams: that bounds the one fetch in which small messages turn into large ones.
    """

    def __init__(self, wire: Wire, keys: Keys, config: TransportConfig) -> None:
        self._wire = wire
        self._keys = keys
        self._config = config
        self._average = 16 * 1024.0

    async def read(self, positions: Mapping[TopicPartition, int], block_s: float) -> dict[TopicPartition, list[Record]]:
        """Return what follows the positions, waiting up to `block_s` seconds for it. Raises Unavailable."""
        wanted = list(positions)
        random.shuffle(wanted)
        of_stream = {self._keys.stream(*tp).encode(): tp for tp in wanted}
        replies = await self._wire.call(
            (
                *("XREAD", "COUNT", self._count(len(wanted))),
                *(("BLOCK", max(1, int(block_s * 1000))) if block_s > 0 else ()),
                *("STREAMS", *of_stream),
                *(entry_id(positions[tp] - 1) for tp in wanted),
            ),
            timeout_s=block_s + 10.0,
        )
        found: dict[TopicPartition, list[Record]] = {}
        for stream, entries in replies[0] or ():
            found[of_stream[stream]] = [(offset_of(name), fields) for name, fields in entries]
        self._learn(found)
        return found

    def _count(self, streams: int) -> int:
        by_bytes = self._config.fetch_bytes / self._average
        return max(1, int(min(by_bytes, self._config.fetch_messages) / streams))

    def _learn(self, found: Mapping[TopicPartition, Sequence[Record]]) -> None:
        number = size = 0
        for records in found.values():
            number += len(records)
            size += sum(record_bytes(fields) for _, fields in records)
        if number:
            seen = size / number
            # Larger messages count at once, smaller ones little by little.
            self._average = seen if seen > self._average else self._average + 0.2 * (seen - self._average)

    async def close(self) -> None:
        """Close the wire."""
        await self._wire.close()


def record_bytes(fields: Sequence[bytes]) -> int:
    """Return roughly how much memory the entry takes."""
    return ENTRY_OVERHEAD_BYTES + sum(map(len, fields))
