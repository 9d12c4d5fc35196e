"""The groups of monitors whose rows this worker owns: kept in memory beside the table, with the time at which each is due.

A row is read once, when its partition comes; after that memory is ahead of the table by what the event under way has changed, and
both move on together. When partitions move, memory is dropped and read again.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator

import msgspec

from monitors.decide import GroupState
from monitors.groups import Group, new_group
from monitors.watched import WatchedMonitor
from monitors.windows import Window
from tables.windows import WindowRows
from topics.transitions import key_of

_ENCODER = msgspec.msgpack.Encoder()
_STATE = msgspec.msgpack.Decoder(GroupState)


class WatchedGroups:
    """The groups of this worker, by monitor, and what is due on each partition."""

    def __init__(self, rows: WindowRows, partition_of: Callable[[bytes], int]) -> None:
        self._rows = rows
        self._partition_of = partition_of
        self._partitions: dict[str, int] = {}
        self._due: dict[int, list[tuple[int, int, Group]]] = {}
        self._turn = itertools.count()
        self.by_monitor: dict[str, dict[str, Group]] = {}
        self.count = 0
        """How many groups there are."""
        self.left_out: dict[str, int] = {}
        """Parts of groups beyond a monitor's bound, since this worker owns it."""

    def partition_of(self, monitor_id: str) -> int:
        """The partition of a monitor's rows."""
        found = self._partitions.get(monitor_id)
        if found is None:
            found = self._partitions[monitor_id] = self._partition_of(key_of(monitor_id))
        return found

    def load(self) -> None:
        """Drop all and read the table again. Every group is due at once, as what was about to be decided was not kept."""
        self.by_monitor.clear()
        self.count = 0
        self._due.clear()
        self._partitions.clear()
        self.left_out.clear()
        for monitor_id, text, raw in self._rows.states():
            self._put(Group(monitor_id, text, _STATE.decode(raw), slots=0))
        for monitor_id, text, slot, pane in self._rows.panes():
            group = self.get(monitor_id, text)
            if group is not None:
                group.slots = max(group.slots, slot + 1)
                group.window.restore(pane)
        for groups in self.by_monitor.values():
            for group in groups.values():
                group.begin_again()
                self.queue(group)

    def get(self, monitor_id: str, text: str) -> Group | None:
        """A group, None when it has no row."""
        groups = self.by_monitor.get(monitor_id)
        return None if groups is None else groups.get(text)

    def create(self, monitor: WatchedMonitor, text: str, now_ms: int) -> Group | None:
        """A new group; None, and counted, when the monitor has as many as it may have."""
        groups = self.by_monitor.get(monitor.id)
        if groups is not None and len(groups) >= monitor.definition.groups_max:
            self.left_out[monitor.id] = self.left_out.get(monitor.id, 0) + 1
            return None
        group = new_group(monitor, text, now_ms)
        self._put(group)
        self.keep_state(group)
        return group

    def keep_pane(self, monitor: WatchedMonitor, group: Group, start_ms: int) -> None:
        """Write a pane that has changed."""
        slot = start_ms // monitor.pane_ms % monitor.slots
        group.slots = max(group.slots, slot + 1)  # What was read again knows only the slots that it had then.
        self._rows.put_pane(group.monitor_id, group.text, slot, group.window.panes[start_ms])

    def keep_state(self, group: Group) -> None:
        """Write a state that has changed."""
        group.state.last_data_ms = group.window.last_ms
        self._rows.put_state(group.monitor_id, group.text, _ENCODER.encode(group.state))

    def empty(self, group: Group) -> None:
        """Forget what a group's window holds."""
        self._rows.drop_panes(group.monitor_id, group.text, group.slots)
        group.window = Window(last_ms=group.window.last_ms)

    def drop(self, group: Group) -> None:
        """Forget a group."""
        self._rows.drop_panes(group.monitor_id, group.text, group.slots)
        self._rows.drop_state(group.monitor_id, group.text)
        group.queued_ms = 0
        groups = self.by_monitor[group.monitor_id]
        del groups[group.text]
        self.count -= 1
        if not groups:
            del self.by_monitor[group.monitor_id]

    def next_due_ms(self, partition: int) -> int | None:
        """When the first group of a partition is due."""
        heap = self._due.get(partition)
        while heap:
            at, _, group = heap[0]
            if group.queued_ms == at and group.due_ms <= at:
                return at
            heapq.heappop(heap)
            if group.queued_ms == at:  # It was put off.
                group.queued_ms = 0
                self.queue(group)
        return None

    def due(self, partition: int, now_ms: int, most: int) -> Iterator[Group]:
        """Groups that are due at `now_ms`, each once, the longest due first. Whoever takes one queues it again."""
        for _ in range(most):
            due = self.next_due_ms(partition)
            if due is None or due > now_ms:
                return
            group = heapq.heappop(self._due[partition])[2]
            group.queued_ms = 0
            yield group

    def queue(self, group: Group) -> None:
        """Note that the group is due at its `due_ms`."""
        due = group.due_ms
        if group.queued_ms and group.queued_ms <= due:
            return  # Looked at no later than that, and put off then: a timer that moves with all data makes no queue of its own.
        group.queued_ms = due
        heap = self._due.setdefault(self.partition_of(group.monitor_id), [])
        heapq.heappush(heap, (due, next(self._turn), group))

    def _put(self, group: Group) -> None:
        self.by_monitor.setdefault(group.monitor_id, {})[group.text] = group
        self.count += 1
