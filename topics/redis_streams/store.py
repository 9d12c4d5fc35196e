"""A table's memory: rows of changelogs and writes of agents in, kept by partition so that a partition can be taken away.

Faust's own memory store does not know which partition a row that an agent wrote belongs to: it keeps showing rows of
partitions that another worker owns by now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from faust.stores.memory import Store as MemoryStore
from faust.streams import current_event
from faust.types import Message


class PartitionedStore(MemoryStore):  # type: ignore[type-arg]  # Faust's class takes no arguments at run time
    """A dictionary that remembers the partition of every key."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._keys_of: dict[int, set[Any]] = defaultdict(set)

    def __setitem__(self, key: Any, value: Any) -> None:
        message = self._message()
        if message is None:
            return
        self._keys_of[message.partition].add(key)
        self.data[key] = value

    def __delitem__(self, key: Any) -> None:
        message = self._message()
        if message is None:
            return
        self._keys_of[message.partition].discard(key)
        del self.data[key]

    def _message(self) -> Message | None:
        """Return the message whose agent is writing; None if it was abandoned, for then it will be handled again."""
        event = current_event()
        if event is None:
            raise RuntimeError(f"cannot write to table {self.table_name} outside of an event")
        if event.message.generation_id != self.app.consumer_generation_id:
            return None
        return event.message

    def load_row(self, partition: int, key: Any, value: Any) -> None:
        """Take a row from the changelog."""
        self._keys_of[partition].add(key)
        self.data[key] = value

    def drop_row(self, partition: int, key: Any) -> None:
        """Take a deletion from the changelog."""
        self._keys_of[partition].discard(key)
        self.data.pop(key, None)

    def partitions(self) -> Iterable[int]:
        """Return the partitions that have rows here."""
        return [partition for partition, keys in self._keys_of.items() if keys]

    def drop_partition(self, partition: int) -> None:
        """Forget every row of a partition."""
        for key in self._keys_of.pop(partition, ()):
            self.data.pop(key, None)

    async def on_recovery_completed(self, active_tps: set[Any], standby_tps: set[Any]) -> None:
        """Nothing: partitions are dropped when they go, before any agent runs again."""
