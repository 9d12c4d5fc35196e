"""How much room Redis has: its memory and the streams' sizes in; what is full, and why, out. Never asked for a message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from topics.errors import Unavailable
from topics.redis_streams.keys import Keys

Ask = Callable[..., Awaitable[Any]]
"""Sends one command and returns its reply."""

LOOK_S = 0.25
"""Seconds between two looks; what arrives in between may pass a bound, which is why they stand below what Redis can hold."""
GATEWAY_MEMORY_RATIO = 0.8
"""Share of Redis' maxmemory from which on nothing new is taken: agents need the rest to work off what is there."""
AGENTS_MEMORY_RATIO = 0.9
"""Share from which on agents make nothing new for a reader who is behind: that reader needs the rest for its commits."""
BACKLOG_RATIO = 1 / 16
"""Share of maxmemory that a topic holds when its readers count as behind. Below it agents go on however full Redis is:
what fills it then is their own input, and only their work makes room."""


class Memory(NamedTuple):
    """Bytes that Redis uses, and its bound, 0 when it has none."""

    used: int
    bound: int

    def is_past(self, ratio: float) -> bool:
        """Whether more than this share of the bound is used."""
        return bool(self.bound) and self.used > self.bound * ratio

    def __str__(self) -> str:
        return f"Redis holds {self.used >> 20} of {self.bound >> 20} MiB"


async def read_memory(ask: Ask) -> Memory:
    """Read what Redis says of its memory. Raises Unavailable."""
    pairs = (line.partition(":") for line in (await ask("INFO", "memory")).decode().splitlines())
    facts = {name: value for name, _, value in pairs}
    return Memory(int(facts.get("used_memory", 0)), int(facts.get("maxmemory", 0)))


async def read_size(ask: Ask, streams: Iterable[str]) -> int:
    """Return the bytes that streams take, by Redis' own estimate from a few samples. Raises Unavailable."""
    return sum([await ask("MEMORY", "USAGE", stream) or 0 for stream in streams])


class AgentsRoom:
    """Whether agents may make more messages for a topic. `partitions` tells how many it has, None while that is unknown."""

    def __init__(self, ask: Ask, keys: Keys, partitions: Callable[[str], int | None]) -> None:
        self._ask = ask
        self._keys = keys
        self._partitions = partitions
        self._watched: set[str] = set()
        self._full: dict[str, str] = {}

    def check(self, topic: str) -> None:
        """See `Sender.check_room`."""
        self._watched.add(topic)
        if topic in self._full:
            raise Unavailable(self._full[topic])

    async def look(self) -> None:
        """Find out what is full now, among what was asked for. Raises Unavailable; what was known then stays."""
        if not self._watched:
            return
        memory = await read_memory(self._ask)
        full: dict[str, str] = {}
        if memory.is_past(AGENTS_MEMORY_RATIO):
            for topic in self._watched:
                streams = [self._keys.stream(topic, number) for number in range(self._partitions(topic) or 0)]
                size = await read_size(self._ask, streams)
                if size > memory.bound * BACKLOG_RATIO:
                    full[topic] = (
                        f"cannot produce on {topic}: {memory}, and {size >> 20} MiB of it wait for its readers"
                    )
        self._full = full
