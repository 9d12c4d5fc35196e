"""Topics without Faust: messages in, one by one or in batches; out to a group that claims, reads and acknowledges them.

For tools, for tests and for whatever is no agent. One implementation a transport: topics/redis_streams/stream_store.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from topics.raw import Headers


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
        """What follows in the partitions held, in the order of each, `limit` messages at most. Raises `Unavailable`."""

    async def ack(self, messages: Sequence[StoredMessage]) -> None:
        """Say that messages are done with, in any order; they never come again once all before them are done with too.

        Must raise `PartitionLost` when another member owns one of their partitions by now (the others are acknowledged), and
        `Unavailable` when the transport is away: acknowledge the same ones again.
        """

    async def close(self) -> None:
        """Leave the group, so that others need not wait for the lease. What is not acknowledged goes to them."""


class StreamStore(Protocol):
    """Adds, reads and trims topics."""

    async def add(self, topic: str, value: bytes, headers: Headers | None = None) -> None:
        """See `Producer.add`."""

    async def add_batch(self, topic: str, values: Sequence[bytes], headers: Headers | None = None) -> None:
        """Add messages in one go, spread evenly. Raises `Unavailable` when one was not taken; the others may have been."""

    async def join(self, group: str, topic: str, *, lease_s: float = 4.0) -> GroupReader:
        """Become a member of a group, registering it, so that nothing it has not read is trimmed. Raises `Unavailable`."""

    async def trim(self, topic: str) -> int:
        """Remove what every group has read, never more; return how many messages that was. Raises `Unavailable`."""

    async def close(self) -> None:
        """Let go of the connections."""
