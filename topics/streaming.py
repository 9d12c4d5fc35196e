"""What agents and processes may ask of the transport under their Faust app; each driver has these, and agents know no other.

Redis Streams: topics/redis_streams/{consumer,producer}.py. For Faust's aiokafka driver the same two are to be written around its
consumer and producer; everything above them stays as it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from topics.ledger import Ledger

PartitionHook = Callable[[set[Any]], Awaitable[None]]
"""Called with Faust topic partitions (`topic`, `partition`)."""


@dataclass(slots=True)
class Counts:
    """What has happened since the worker started."""

    commits: int = 0
    messages_committed: int = 0
    fenced: int = 0
    rebalances: int = 0
    last_commit_s: float | None = None
    """Seconds since 1970 of the last commit."""


@dataclass(frozen=True, slots=True)
class Status:
    """A snapshot of one consumer. `lag` counts what a group has not committed; -1 where the transport cannot tell."""

    group: str
    member: str
    connected: bool
    incarnation: str
    partitions: list[int]
    lag: dict[tuple[str, int], int]
    pending_messages: dict[tuple[str, int], int]
    pending_bytes: int
    counts: Counts = field(default_factory=Counts)


class Streams(Protocol):
    """The way into an app's agents.

    `before_revoke`: called with every partition held, before any is given up and after agents get nothing new. `after_loss`:
    with partitions that are lost already. `after_assign`: with every partition held from now on, before the first message.
    """

    before_revoke: list[PartitionHook]
    after_loss: list[PartitionHook]
    after_assign: list[PartitionHook]

    async def learn_topics(self, topics: Iterable[str]) -> None:
        """Look up topics that agents will produce to with `Sender.take`. Raises `Unavailable`."""

    def ledger(self, tp: Any) -> Ledger:
        """The ledger of an owned topic partition, for a sink."""

    def abandon(self, partition: int) -> int:
        """Let late acknowledgements of a partition's messages count for nothing; they come again. Returns how many."""

    def status(self) -> Status:
        """What this consumer holds and has done; must not do I/O."""


class Sender(Protocol):
    """The way out of an app's agents."""

    def take(
        self,
        event: Any,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp: float | None = None,
        headers: Any = None,
    ) -> Any:
        """Attach a message to an event: it goes out with the event's commit or, where the transport can do it, not at all."""

    def key_partition(self, topic: str, key: bytes) -> Any:
        """Where messages of a topic with this key go: a Faust topic partition. The topic must be known."""

    def check_room(self, topic: str) -> None:
        """Raise `Unavailable` while the transport is nearly full of what readers of `topic` have not taken: whoever derives
        messages for it asks first, so that what is left serves those readers. Must do no I/O."""
