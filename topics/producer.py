"""What the gateway needs of a transport: add messages, and know that they are safe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from topics.raw import Headers


class Producer(Protocol):
    """Adds messages to topics, outside any agent. One implementation a transport."""

    async def add(self, topic: str, value: bytes, headers: Headers | None = None, *, key: bytes | None = None) -> None:
        """Add one message and return when the transport holds it.

        Must raise `Unavailable` when the transport is away, or full, or when it is not known whether it took the message;
        must not return before the transport has confirmed. Partitions are chosen by the key, evenly without one.
        """

    async def add_batch(self, topic: str, values: Sequence[bytes], headers: Headers | None = None) -> None:
        """Add messages in one go, spread evenly. Raises `Unavailable` when one was not taken; the others may have been."""

    async def ping(self) -> None:
        """Raise `Unavailable` when the transport cannot take messages now."""

    async def close(self) -> None:
        """Wait for what is under way, then let go of the connections."""
