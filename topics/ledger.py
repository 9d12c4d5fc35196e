"""How a sink stores each row once, whatever the transport: what it is about to write, how far it is committed, and whose it is.

The order is the sink's (agents/blocks.py): intent, insert, acknowledge, commit. A transport that can keep the intent beside the
ownership of the partition (Redis Streams) does it there; one that cannot keeps it in a store under a fence of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from topics.errors import AegisError


@dataclass(frozen=True, slots=True)
class OpenIntent:
    """A range of offsets that an insert was announced for, both ends included, and the token that the insert carries."""

    first: int
    last: int
    token: str


def incarnation_of(token: str) -> str:
    """The incarnation that a token names: the one in which its range was announced, which may not be the present one."""
    return token.partition("/")[0]


class PartitionLost(AegisError):
    """The partition is owned by somebody else now, or must be read again: drop everything held for it.

    Its messages come again, to the new owner or to this worker after the next assignment.
    """


class Ledger(Protocol):
    """What is known beyond this process about one partition: the open intent, and how far is committed."""

    async def read(self) -> OpenIntent | None:
        """The intent that a predecessor left open, None when its range is committed. Raises `Unavailable`."""

    async def write(self, intent: OpenIntent) -> None:
        """Record an intent before its insert. Raises `Unavailable`, and `PartitionLost` when it is not ours any more."""

    async def commit(self, last: int) -> None:
        """Return when everything up to offset `last` is committed. Raises `Unavailable` and `PartitionLost`."""

    def token(self, first: int, last: int) -> str:
        """A token for a range: the transport's incarnation, topic, partition and both ends, in this order with "/" between."""
