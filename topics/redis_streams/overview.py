"""What an operator wants to see: a namespace in, its topics with length, groups, positions, owners and lag out."""

from __future__ import annotations

from dataclasses import dataclass

from topics.redis_streams.entries import offset_of
from topics.redis_streams.keys import Keys
from topics.redis_streams.wire import ReplyError, Wire


@dataclass(frozen=True, slots=True)
class GroupPosition:
    """How far one group is in one topic partition. `owner` is "" while nobody holds it; `lag` counts messages."""

    topic: str
    partition: int
    entries: int
    group: str
    next_offset: int
    lag: int
    owner: str


async def read_positions(wire: Wire, keys: Keys) -> list[GroupPosition]:
    """Return every registered group of every topic partition; a topic nobody reads has one line with group "".

    The lag is what follows the group's position, so a group that never ran counts everything. Raises Unavailable.
    """
    (flat,) = await wire.call(("HGETALL", keys.topics))
    found: list[GroupPosition] = []
    for at in range(0, len(flat), 2):
        for partition in range(int(flat[at + 1])):
            found += await _read_partition(wire, keys, flat[at].decode(), partition)
    return sorted(found, key=lambda position: (position.topic, position.partition, position.group))


async def _read_partition(wire: Wire, keys: Keys, topic: str, partition: int) -> list[GroupPosition]:
    info, offsets = await wire.call(
        ("XINFO", "STREAM", keys.stream(topic, partition)),
        ("HGETALL", keys.committed(topic, partition)),
        strict=False,
    )
    # A stream that nothing was ever added to does not exist.
    facts = {} if isinstance(info, ReplyError) else dict(zip(info[::2], info[1::2], strict=True))
    entries = int(facts.get(b"length", 0))
    last = offset_of(facts.get(b"last-generated-id", b"0-0"))
    groups = {offsets[at].decode(): int(offsets[at + 1]) for at in range(0, len(offsets), 2)}
    if not groups:
        return [GroupPosition(topic, partition, entries, "", 0, 0, "")]
    owners = await wire.call(*(("HGET", keys.lease(group, partition), "owner") for group in groups))
    return [
        GroupPosition(topic, partition, entries, group, offset, max(0, last + 1 - offset), (owner or b"").decode())
        for (group, offset), owner in zip(groups.items(), owners, strict=True)
    ]
