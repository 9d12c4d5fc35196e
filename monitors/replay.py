"""A monitor over records of the past -> when it would have fired, by the code that watches.

Records come in the order of their time, which stands for that of their arrival.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from monitors.allowance import Allowance
from monitors.decide import Transition
from monitors.groups import Group, new_group
from monitors.monitor_set import MonitorSet
from monitors.watched import WatchedMonitor
from topics.transitions import UNGROUPED

VALUES_MAX: Final = 500
"""Readings kept of one group."""

COMPUTING_S: Final = 10.0
"""CPU seconds for matching records."""


@dataclass(frozen=True, slots=True)
class ReplayedTransition:
    """A transition that would have been sent."""

    group: str
    transition: Transition


class Replay:
    """One monitor from `begin_ms` on. What happens before `shown_from_ms` fills windows and is not told.

    `values` are readings by group, [unix milliseconds, value], at most one a pane and `VALUES_MAX` a group; `why` is what each
    group's last reading came to.
    """

    def __init__(
        self,
        monitor: WatchedMonitor,
        topic: str,
        *,
        begin_ms: int,
        shown_from_ms: int,
        transitions_max: int,
        computing_s: float = COMPUTING_S,
    ) -> None:
        self._monitor = monitor
        self._topic = topic
        self._set = MonitorSet([monitor], Allowance(share=0.0, burst_s=computing_s))
        self._shown_from_ms = shown_from_ms
        self._transitions_max = transitions_max
        self._next_due_ms = 0
        self.cut = False
        """Whether a batch was not looked at whole; what it holds is left out."""
        self.groups: dict[str, Group] = {}
        self.groups_left_out = 0
        self.transitions: list[ReplayedTransition] = []
        self.values: dict[str, list[list[Any]]] = {}
        self.why: dict[str, str] = {}
        if monitor.speaks_unasked:
            self.groups[UNGROUPED] = new_group(monitor, UNGROUPED, begin_ms)

    @property
    def full(self) -> bool:
        """Whether there are as many transitions as may be; nothing more is decided then."""
        return len(self.transitions) >= self._transitions_max

    def add(self, batch: Any, at_ms: int) -> None:
        """Columns of records come at `at_ms`, as a message of the topic has them."""
        self.advance(at_ms)
        parts = self._set.parts_of(self._topic, batch, at_ms)
        assert parts is not None
        if parts.cut:
            self.cut = True
            return
        for part in parts.of_monitors.get(self._monitor.id, ()):
            group = self.groups.get(part.group)
            if group is None:
                if len(self.groups) >= self._monitor.definition.groups_max:
                    self.groups_left_out += 1
                    continue
                group = self.groups[part.group] = new_group(self._monitor, part.group, at_ms)
            group.take(self._monitor, part.panes, at_ms)
            self._decide(group, at_ms)
        self._next_due_ms = min((group.due_ms for group in self.groups.values()), default=at_ms)

    def advance(self, to_ms: int) -> None:
        """Time passes without records."""
        while self._next_due_ms <= to_ms and self.groups and not self.full:
            due = [group for group in self.groups.values() if group.due_ms <= to_ms]
            for group in sorted(due, key=lambda group: group.due_ms):
                self._decide(group, group.due_ms)  # And no further, as nothing may be skipped.
            self._next_due_ms = min((group.due_ms for group in self.groups.values()), default=to_ms + 1)

    def _decide(self, group: Group, to_ms: int) -> None:
        for outcome in group.advance(self._monitor, to_ms):
            decision = outcome.decision
            self.why[group.text] = decision.why
            at_ms = decision.state.clock_ms
            if outcome.reading is not None and at_ms >= self._shown_from_ms:
                self._keep(group.text, at_ms, outcome.reading.fall)
            if decision.transition is not None and decision.transition.at_ms >= self._shown_from_ms:
                self.transitions.append(ReplayedTransition(group.text, decision.transition))
        if group.ended:
            del self.groups[group.text]

    def _keep(self, group: str, at_ms: int, value: float | None) -> None:
        values = self.values.setdefault(group, [])
        if values and at_ms - values[-1][0] < self._monitor.pane_ms:
            values[-1] = [values[-1][0], value]
        elif len(values) < VALUES_MAX:
            values.append([at_ms, value])

    def in_order(self) -> Iterator[ReplayedTransition]:
        """All transitions in the order of their times."""
        return iter(sorted(self.transitions, key=lambda each: (each.transition.at_ms, each.group)))
