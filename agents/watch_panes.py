"""Watches: topic `panes` (parts of windows, the time, what people ask for) -> windows and states in a table, topic `alerts`.

Everything that a message changes, and the transitions that follow, goes out with that message's commit. `now` is always a time
from inside a message, so whoever handles it again decides the same. Time passes without data because the owner of a partition
sends it the time whenever something there is due.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from prometheus_client import Counter, Gauge

from agents.followed_monitors import FollowedMonitors
from agents.watched_groups import WatchedGroups
from monitors.decide import GroupState
from monitors.evidence import evidence_of
from monitors.groups import Group, Outcome
from monitors.watched import WatchedMonitor
from topics.names import PANES
from topics.panes import Part, Parts, Resolve, Tick, decode, encode
from topics.transitions import AlertMessage

log = logging.getLogger(__name__)

LOOK_S: Final = 0.05
LOST_TICK_S: Final = 2.0
DUE_MAX: Final = 500
"""Groups that are decided on with one tick; the next tick follows at once."""

CHANGED_MAX: Final = 100
"""Groups of changed monitors with one tick: each may have all its rows removed."""

TRANSITIONS = Counter("aegis_monitor_transitions_total", "Transitions and renotifications sent", ["state"])
PARTS = Counter("aegis_monitor_parts_total", "Parts of windows taken in")
UNUSED = Counter("aegis_monitor_parts_unused_total", "Parts, or panes of them, that changed no window", ["reason"])
GROUPS = Gauge("aegis_monitor_groups", "Groups that this worker watches")

Send = Callable[[Any, AlertMessage], Any]


class WatchPanes:
    """The agent. `send` attaches a transition to an event; `send_time` adds the bytes of a tick to a partition of `panes`."""

    def __init__(
        self,
        groups: WatchedGroups,
        monitors: FollowedMonitors,
        *,
        send: Send,
        send_time: Callable[[int, bytes], Any],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._groups = groups
        self._monitors = monitors
        self._send = send
        self._send_time = send_time
        self._now = now
        self._partitions: set[int] = set()
        self._ticks: dict[int, float] = {}
        self._swept: dict[int, int] = {}
        self._to_sweep: dict[int, deque[tuple[str, str | None]]] = {}

    async def watch(self, event: Any) -> None:
        """Handle one message. Raises `Refused` for one that is none, `Unavailable` while no monitors could be read at all."""
        await self._monitors.require()
        message = decode(event.message.value)
        if isinstance(message, Parts) and any(not self._knows(part) for part in message.parts):
            await self._monitors.catch_up(message.org_id)
            await self._monitors.reread_for(message.org_id)
        # From here on nothing waits, so that rows and memory change together or not at all.
        if event.message.generation_id != event.app.consumer_generation_id:
            return  # Its partition went meanwhile: it comes again, here or elsewhere.
        match message:
            case Parts():
                for part in message.parts:
                    self._take(event, part, message.org_id, message.received_at_ms)
                PARTS.inc(len(message.parts))
            case Tick():
                self._tick(event, event.message.partition, message.at_ms)
            case Resolve():
                self._resolve(event, message)

    async def assigned(self, tps: set[Any]) -> None:
        """These partitions are ours from now on: read their rows."""
        self._partitions = {tp.partition for tp in tps if tp.topic == PANES}
        self._ticks.clear()
        self._swept.clear()
        self._to_sweep.clear()
        self._groups.load()

    async def keep_ticking(self) -> None:
        """Send the time to each partition of ours on which something is due, for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._monitors.known:
                self.tick_where_due()
            GROUPS.set(self._groups.count)

    def tick_where_due(self) -> None:
        """Send the time once to each partition of ours on which something is due and no tick is under way."""
        now = self._now()
        for partition in self._partitions:
            if now - self._ticks.get(partition, 0.0) < LOST_TICK_S:
                continue
            due = self._groups.next_due_ms(partition)
            unswept = self._swept.get(partition) != self._monitors.generation or self._to_sweep.get(partition)
            if unswept or (due is not None and due <= now * 1000):
                self._ticks[partition] = now
                self._send_time(partition, encode(Tick(int(now * 1000))))

    def _knows(self, part: Part) -> bool:
        monitor = self._monitors.by_id.get(part.monitor_id)
        return monitor is not None and monitor.shape == part.shape

    def _take(self, event: Any, part: Part, org_id: str, received_at_ms: int) -> None:
        monitor = self._monitors.by_id.get(part.monitor_id)
        if monitor is None or monitor.org_id != org_id or monitor.shape != part.shape:
            UNUSED.labels("monitor_changed").inc()
            return
        group = self._groups.get(part.monitor_id, part.group)
        if group is not None:
            self._bring_up_to_date(event, group, received_at_ms)
        if group is None or group.ended:
            group = self._groups.create(monitor, part.group, received_at_ms)
            if group is None:
                UNUSED.labels("groups_max").inc()
                return
        before = group.state
        now = max(before.clock_ms, received_at_ms)
        changed = group.take(monitor, part.panes, now)
        for start_ms in changed:
            self._groups.keep_pane(monitor, group, start_ms)
        UNUSED.labels("late").inc(len(part.panes) - len(changed))
        if group.state is not before:
            self._groups.keep_state(group)
        self._advance(event, monitor, group, now)

    def _tick(self, event: Any, partition: int, now_ms: int) -> None:
        self._ticks.pop(partition, None)
        self._sweep(event, partition, now_ms)
        for group in self._groups.due(partition, now_ms, DUE_MAX):
            self._bring_up_to_date(event, group, now_ms)

    def _bring_up_to_date(self, event: Any, group: Group, now_ms: int) -> None:
        """Decide what is due, or end a group whose monitor is gone or watches something else by now."""
        monitor = self._monitors.by_id.get(group.monitor_id)
        if monitor is None:
            self._end(event, group, now_ms, "the monitor was deleted or disabled")
        elif group.state.shape != monitor.shape:
            self._end(event, group, now_ms, "the monitor watches something else since it was changed")
        else:
            now = max(now_ms, group.state.clock_ms)
            if group.state.version != monitor.version:
                group.due_ms = min(group.due_ms, now)
            self._advance(event, monitor, group, now)

    def _sweep(self, event: Any, partition: int, now_ms: int) -> None:
        """Bring what changed monitors concern up to date, some groups at a time."""
        left = self._to_sweep.setdefault(partition, deque())
        if self._swept.get(partition) != self._monitors.generation:
            self._swept[partition] = self._monitors.generation
            left.clear()
            left.extend(self._concerned(partition))
        for _ in range(min(CHANGED_MAX, len(left))):
            monitor_id, text = left.popleft()
            monitor = self._monitors.by_id.get(monitor_id)
            if text is not None:
                group = self._groups.get(monitor_id, text)
                if group is not None:
                    self._bring_up_to_date(event, group, now_ms)
            if monitor is not None and monitor.speaks_unasked and monitor_id not in self._groups.by_monitor:
                group = self._groups.create(monitor, "*", now_ms)
                assert group is not None
                self._groups.queue(group)

    def _concerned(self, partition: int) -> list[tuple[str, str | None]]:
        monitors, found = self._monitors.by_id, self._groups.by_monitor
        concerned: list[tuple[str, str | None]] = []
        for monitor_id, groups in found.items():
            if self._groups.partition_of(monitor_id) != partition:
                continue
            monitor = monitors.get(monitor_id)
            version = -1 if monitor is None else monitor.version
            concerned += [
                (monitor_id, text) for text, group in groups.items() if group.state.version != version or version < 0
            ]
        concerned += [
            (monitor.id, None)
            for monitor in monitors.values()
            if monitor.speaks_unasked and monitor.id not in found and self._groups.partition_of(monitor.id) == partition
        ]
        return concerned

    def _resolve(self, event: Any, message: Resolve) -> None:
        group = self._groups.get(message.monitor_id, message.group)
        if group is None or group.state.org_id != message.org_id:
            return
        why = f"resolved by {message.by}" if message.by else "resolved by hand"
        monitor = self._monitors.by_id.get(message.monitor_id)
        before = group.state
        self._note(event, monitor, group, before, group.resolve(message.at_ms, why))
        self._groups.empty(group)
        if monitor is not None:
            group.schedule(monitor)
            self._groups.queue(group)

    def _advance(self, event: Any, monitor: WatchedMonitor, group: Group, now_ms: int) -> None:
        before = group.state
        for outcome in group.advance(monitor, now_ms):
            self._note(event, monitor, group, before, outcome)
            before = group.state
        if group.ended:
            self._groups.drop(group)
        else:
            self._groups.queue(group)

    def _end(self, event: Any, group: Group, now_ms: int, why: str) -> None:
        """End what goes on in a group, and forget it."""
        before = group.state
        self._note(event, self._monitors.by_id.get(group.monitor_id), group, before, group.end(now_ms, why))
        self._groups.drop(group)

    def _note(
        self, event: Any, monitor: WatchedMonitor | None, group: Group, before: GroupState, outcome: Outcome
    ) -> None:
        """Write what a decision changed, and send the transition that it made."""
        if not _same_but_time(before, group.state):
            self._groups.keep_state(group)
        transition = outcome.decision.transition
        if transition is None:
            return
        evidence: dict[str, Any] = {"why": transition.why}
        if monitor is not None:
            left_out = self._groups.left_out.get(group.monitor_id, 0)
            evidence = evidence_of(monitor, transition, group.window, outcome.reading, left_out)
        message = AlertMessage(
            group.state.org_id,
            group.monitor_id,
            group.text,
            transition.sequence,
            transition.repeat,
            transition.state,
            transition.previous_state,
            transition.at_ms,
            transition.value,
            transition.threshold,
            evidence,
        )
        self._send(event, message)
        TRANSITIONS.labels(transition.state).inc()


def _same_but_time(before: GroupState, after: GroupState) -> bool:
    """Whether only the clock went on: nothing to write then."""
    now = after.clock_ms
    after.clock_ms = before.clock_ms
    same = after == before
    after.clock_ms = now
    return same
