"""One group of one monitor: what comes for it and the time in, decisions out. The agent and the preview run the same code.

Nothing here waits or looks at a clock. What was due before new data came is decided without them, each at its own time, so the
order of messages alone says what is decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from monitors.decide import Decision, GroupState, decide, due_ms, is_forgotten, new_state, note_data, resolve
from monitors.watched import WatchedMonitor
from monitors.windows import Reading, Window
from topics.panes import Pane

SETTLE_MS: Final = 700
"""So long after its first new value a window is decided on that is not decided on arrival: the rest of a scrape is there then."""

CATCH_UP_MS: Final = 600_000
"""How far back what was due meanwhile is made up for, one decision after the other."""

STEPS_MAX: Final = 1_000


class Outcome(NamedTuple):
    """A decision, and the reading that it was made from; none where somebody else decided."""

    decision: Decision
    reading: Reading | None


@dataclass(slots=True, eq=False)
class Group:
    """One group. `due_ms` is when it must be decided on next; `settle_ms` is when what came last is, 0 when it has been."""

    monitor_id: str
    text: str
    state: GroupState
    slots: int
    """Rows that its panes may have in a table."""
    window: Window = field(default_factory=Window)
    due_ms: int = 0
    queued_ms: int = 0
    """Where it stands in a queue of what is due, 0 nowhere: at `due_ms` or before."""
    settle_ms: int = 0
    ended: bool = False
    """Whether it is no more."""

    def begin_again(self) -> None:
        """Go on with what was kept: a state, and panes that may be newer than it."""
        self.window.last_ms = max(self.window.last_ms, self.state.last_data_ms)
        # No earlier than the newest pane, which may have replaced one that an earlier window would need.
        self.state.clock_ms = max(self.state.clock_ms, self.window.last_ms)
        self.due_ms = self.settle_ms = self.state.clock_ms + SETTLE_MS

    def take(self, monitor: WatchedMonitor, panes: Sequence[Pane], now_ms: int) -> list[int]:
        """Take in what came at `now_ms`, after `advance` to it; returns the beginnings of the panes that changed.

        A pane whose time is over changes nothing. Whoever calls goes on with `advance`.
        """
        before = self.window.last_ms
        changed = [pane.start_ms for pane in panes if self.window.add(monitor, pane, now_ms) is not None]
        if changed:
            self.state = note_data(monitor, self.state, changed[0], before)
            if monitor.on_arrival:
                self.due_ms = now_ms
            else:
                self.settle_ms = self.settle_ms or now_ms + SETTLE_MS
                self.due_ms = min(self.due_ms, self.settle_ms)
        return changed

    def advance(self, monitor: WatchedMonitor, now_ms: int) -> Iterator[Outcome]:
        """Decide everything that is due by `now_ms`, each at its time. The group may have ended then."""
        for step in range(STEPS_MAX):
            if self.due_ms > now_ms or self.ended:
                return
            at = now_ms if step == STEPS_MAX - 1 else max(self.due_ms, now_ms - CATCH_UP_MS)
            at = max(at, self.state.clock_ms)
            if is_forgotten(monitor, self.state, self.window.last_ms, at):
                yield self.end(at, "the group had no data for more than a day")
            else:
                yield self.decide(monitor, at)

    def decide(self, monitor: WatchedMonitor, now_ms: int) -> Outcome:
        """Decide now, and note when the group is due next."""
        if self.settle_ms <= now_ms:
            self.settle_ms = 0
        reading = self.window.read(monitor, now_ms)
        decision = decide(monitor, self.state, reading, now_ms)
        self.state = decision.state
        self.schedule(monitor)
        return Outcome(decision, reading)

    def end(self, now_ms: int, why: str) -> Outcome:
        """End what goes on, and the group."""
        self.ended = True
        return self.resolve(now_ms, why)

    def resolve(self, now_ms: int, why: str) -> Outcome:
        """Make it OK until there are new data."""
        decision = resolve(self.state, max(now_ms, self.state.clock_ms), why)
        self.state = decision.state
        return Outcome(decision, None)

    def schedule(self, monitor: WatchedMonitor) -> None:
        """Note when the group is due next."""
        newest = max(self.window.panes, default=None)
        self.due_ms = due_ms(monitor, self.state, self.window.last_ms, newest)
        if self.settle_ms:
            self.due_ms = min(self.due_ms, self.settle_ms)


def new_group(monitor: WatchedMonitor, text: str, now_ms: int) -> Group:
    """A group that is seen for the first time."""
    group = Group(monitor.id, text, new_state(monitor, now_ms), monitor.slots)
    group.schedule(monitor)
    return group
