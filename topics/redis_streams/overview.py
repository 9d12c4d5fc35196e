"""What an operator wants to see: a namespace in, its topics with length, size, groups, positions, owners and lag out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from topics.errors import Refused
from topics.redis_streams.entries import entry_id, offset_of
from topics.redis_streams.keys import Keys
from topics.redis_streams.transaction import positions_of
from topics.redis_streams.wire import Command, ReplyError, Wire


class GroupPosition(NamedTuple):
    """How far one group is in one topic partition. `lag` counts the messages behind its position.

    `owner` is the member that holds the partition, "" while nobody does; its lease ends in `lease_left_ms`. `epoch` counts
    how often the partition was claimed.
    """

    group: str
    next_offset: int
    lag: int
    owner: str
    epoch: int
    lease_left_ms: int


class PartitionOverview(NamedTuple):
    """One partition of one topic: `entries` are there now, `last_offset` was given last, `size_bytes` is Redis' estimate."""

    topic: str
    partition: int
    entries: int
    last_offset: int
    size_bytes: int
    groups: list[GroupPosition]


async def read_overview(wire: Wire, keys: Keys) -> list[PartitionOverview]:
    """Return every topic partition with every group that is registered for it. Raises Unavailable.

    The lag is what follows the group's position, so a group that never ran counts everything.
    """
    flat, now = await wire.call(("HGETALL", keys.topics), ("TIME",))
    now_ms = int(now[0]) * 1000 + int(now[1]) // 1000
    found: list[PartitionOverview] = []
    for at in range(0, len(flat), 2):
        for partition in range(int(flat[at + 1])):
            found.append(await _read_partition(wire, keys, flat[at].decode(), partition, now_ms))
    return sorted(found, key=lambda each: (each.topic, each.partition))


async def _read_partition(wire: Wire, keys: Keys, topic: str, partition: int, now_ms: int) -> PartitionOverview:
    stream = keys.stream(topic, partition)
    info, offsets, size = await wire.call(
        ("XINFO", "STREAM", stream),
        ("HGETALL", keys.committed(topic, partition)),
        ("MEMORY", "USAGE", stream),
        strict=False,
    )
    # A stream that nothing was ever added to does not exist.
    facts = {} if isinstance(info, ReplyError) else dict(zip(info[::2], info[1::2], strict=True))
    last = offset_of(facts.get(b"last-generated-id", b"0-0"))
    groups = await _read_groups(wire, keys, positions_of(offsets), partition, last, now_ms)
    # Some Redis-compatible servers forbid MEMORY.
    known_size = int(size) if isinstance(size, int) else 0
    return PartitionOverview(topic, partition, int(facts.get(b"length", 0)), last, known_size, groups)


async def _read_groups(
    wire: Wire, keys: Keys, positions: dict[str, int], partition: int, last: int, now_ms: int
) -> list[GroupPosition]:
    commands: list[Command] = []
    for group in positions:
        commands.append(("HMGET", keys.lease(group, partition), "owner", "exp"))
        commands.append(("GET", keys.epoch(group, partition)))
    replies: list[Any] = await wire.call(*commands) if commands else []
    found = []
    for (group, offset), lease, epoch in zip(positions.items(), replies[::2], replies[1::2], strict=True):
        left_ms = max(0, int(lease[1] or 0) - now_ms)
        owner = lease[0].decode() if lease[0] and left_ms else ""
        claims = int((epoch or b"0").partition(b":")[0])
        found.append(GroupPosition(group, offset, max(0, last + 1 - offset), owner, claims, left_ms))
    return sorted(found)


class StoppedGroup(NamedTuple):
    """A group that is registered for a topic and has no living owner there, while messages wait for it."""

    topic: str
    group: str
    lag: int
    size_bytes: int


def stopped_groups(partitions: Sequence[PartitionOverview]) -> list[StoppedGroup]:
    """Return the groups that keep a topic from being trimmed although nobody works on it, the longest first."""
    owned: set[tuple[str, str]] = set()
    waiting: dict[tuple[str, str], tuple[int, int]] = {}
    for each in partitions:
        for position in each.groups:
            name = (each.topic, position.group)
            lag, size = waiting.get(name, (0, 0))
            waiting[name] = (lag + position.lag, size + (each.size_bytes if position.lag else 0))
            if position.owner:
                owned.add(name)
    stopped = [StoppedGroup(*name, lag, size) for name, (lag, size) in waiting.items() if lag and name not in owned]
    return sorted(stopped, key=lambda group: -group.lag)


async def forget_group(wire: Wire, keys: Keys, topic: str, group: str) -> int:
    """Let trimming no longer wait for a group that will not come back; return how many messages nobody needs any more.

    Its position is lost, and it no longer shows in XINFO GROUPS. Raises `Refused` when the topic or the group is not there,
    or when a living worker owns one of its partitions; Unavailable.
    """
    (count,) = await wire.call(("HGET", keys.topics, topic))
    if count is None:
        raise Refused(f"cannot forget group {group}: there is no topic {topic}", code="not_found")
    partitions = range(int(count))
    overview = [each for each in await read_overview(wire, keys) if each.topic == topic]
    registered = [position for each in overview for position in each.groups if position.group == group]
    if not registered:
        raise Refused(f"cannot forget group {group}: it is not registered for topic {topic}", code="not_found")
    for position in registered:
        if position.owner:
            raise Refused(f"cannot forget group {group}: {position.owner} works for it; stop it first", code="in_use")
    await wire.call(*(("HDEL", keys.committed(topic, partition), group) for partition in partitions))
    destroy = [("XGROUP", "DESTROY", keys.stream(topic, partition), group) for partition in partitions]
    # A stream that nothing was added to has no groups, which is what was wanted.
    await wire.call(*destroy, strict=False)
    return await trim_topic(wire, keys, topic)


async def trim_topic(wire: Wire, keys: Keys, topic: str) -> int:
    """Remove what every registered group has read; return how many messages that was. Raises Unavailable.

    Commits do this all along; it is for a topic whose slowest group is gone. With no group registered nothing counts as read.
    """
    (count,) = await wire.call(("HGET", keys.topics, topic))
    removed = 0
    for partition in range(int(count or 0)):
        # Watched, so that a group that registers in between keeps what it has not read.
        committed = keys.committed(topic, partition)
        _, offsets = await wire.call(("WATCH", committed), ("HGETALL", committed))
        positions = positions_of(offsets)
        if not positions:
            await wire.call(("UNWATCH",))
            continue
        trim = ("XTRIM", keys.stream(topic, partition), "MINID", entry_id(min(positions.values())))
        *_, done = await wire.call(("MULTI",), trim, ("EXEC",), session=wire.session)
        removed += int(done[0]) if done else 0
    return removed
