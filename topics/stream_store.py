"""Topics without Faust: messages in, one by one or in batches; out to a group that claims, reads and acknowledges them.

For the command line, for tests and for whatever is no agent. What it adds goes the gateway's way, by the same `Producer`. One
implementation a transport: topics/redis_streams/stream_store.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from topics.errors import Refused
from topics.producer import Producer


class StoredMessage(NamedTuple):
    """A message as a group reads it. `timestamp_ms` is when it was added, unix milliseconds; `claim` tells the reader under
    which of its claims it was read, since a partition may be lost and taken again in between."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int
    claim: int = 0


class GroupReader(Protocol):
    """One member of a group on one topic. Members share the partitions; each message goes to one of them at a time."""

    async def claim(self) -> set[int]:
        """Take over what this member should have and nobody holds, also from members whose lease ran out.

        Returns the partitions held now; gives up what others should have. Must be called at least once in a lease, as
        `read` does by itself. Messages that a dead member read and did not acknowledge come again. Raises `Unavailable`.
        """

    async def read(self, *, limit: int = 100, wait_s: float = 0.0) -> list[StoredMessage]:
        """What follows in the partitions held, in the order of each, `limit` messages at most; waits for the first of them up to
        `wait_s` seconds, however long that is, and keeps its leases meanwhile. Raises `Unavailable`."""

    async def ack(self, messages: Sequence[StoredMessage]) -> None:
        """Say that messages are done with, in any order; they never come again once all before them are done with too.

        Must raise `PartitionLost` when another member owns one of their partitions by now (the others are acknowledged), and
        `Unavailable` when the transport is away: acknowledge the same ones again.
        """

    async def close(self) -> None:
        """Leave the group, so that others need not wait for the lease. What is not acknowledged goes to them."""


class PeekedMessage(NamedTuple):
    """A message as somebody sees it who is in no group. `value_bytes` is the size of its value, None for a tombstone;
    `preview` is how the value begins. `timestamp_ms` is when it was added, unix milliseconds."""

    partition: int
    offset: int
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int
    value_bytes: int | None
    preview: bytes


class Removed(NamedTuple):
    """How many messages went, and how many bytes their keys, values and headers had."""

    messages: int
    size_bytes: int


class StreamStore(Producer, Protocol):
    """Adds, reads, shows and trims topics. Every call may raise `Unavailable`, and `Refused` for a topic that is not declared."""

    async def join(self, group: str, topic: str, *, lease_s: float = 4.0) -> GroupReader:
        """Become a member of a group, registering it, so that nothing it has not read is trimmed."""

    async def trim(self, topic: str) -> int:
        """Remove what every group has read, never more; return how many messages that was."""

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has."""

    async def peek(
        self, topic: str, partition: int, *, after: int = 0, limit: int = 100, preview_bytes: int = 0
    ) -> list[PeekedMessage]:
        """Messages behind the offset `after`, without their values: nobody's position moves. Must be bounded in memory
        whatever the values' sizes, so there may be fewer than `limit`; none means that there are no more."""

    async def read_value(self, topic: str, partition: int, offset: int) -> bytes | None:
        """The whole value of one message, None for a tombstone. Raises `Refused` (not_found) when it is not there."""

    async def move(
        self, topic: str, partition: int, offset: int, *, to: tuple[str, int], headers: Sequence[tuple[str, bytes]]
    ) -> int:
        """Put a message, with other headers, behind the end of another topic partition and take it away here.

        Returns its new offset. Key and value stay as they are, a tombstone too. Must not lose the message, whenever the process
        dies; a transport that cannot do both at once adds before it removes. Must raise `Refused`: not_found when it is not
        there, so that a repetition adds nothing; unread when a group still has to read it.
        """

    async def remove(self, topic: str, partition: int, offsets: Sequence[int]) -> int:
        """Remove these messages; return how many were there. Raises `Refused` (unread) when a group still has to read one."""

    async def remove_oldest(self, topic: str, *, bytes_max: int) -> Removed:
        """Remove the oldest messages of a topic that no group reads until it takes `bytes_max` or less, and count them for ever.

        Raises `Refused` (unread) when a group reads it: what is unread is bounded by refusing more, never by removing.
        """

    async def removed_oldest(self, topic: str) -> Removed:
        """All that `remove_oldest` has ever removed of a topic."""


_DIGITS_MAX = 18
"""More than any offset has, and less than 64 bits hold."""


def parse_place(text: str) -> tuple[int, int]:
    """`<partition>-<offset>` -> both. Raises `Refused` for anything else."""
    partition, dash, offset = text.partition("-")
    numbers = (partition, offset)
    if not dash or not all(each.isascii() and each.isdecimal() and len(each) <= _DIGITS_MAX for each in numbers):
        raise Refused(f"cannot read {text[:60]!r}: an id, or a cursor, is <partition>-<offset>", code="not_found")
    return int(partition), int(offset)
