"""A group's state and a reading of its window -> the state that follows, and the transition into it, if any.

Pure: the same arguments give the same answer, and `now_ms` is the only time there is. The meaning of every field is in
docs/monitors.md; the names of states and most of the semantics are Datadog's, `for` and `keep_firing_for` are Prometheus'.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Final

import msgspec

from monitors.definitions import DAY_S, Watched
from monitors.watched import WatchedMonitor
from monitors.windows import Reading

FORGET_AFTER_MS: Final = DAY_S * 1000
"""A group without data for a day and its window is no more; if it was not OK, that ends."""

_RANK: Final = {"OK": 0, "NO_DATA": 0, "WARN": 1, "ALERT": 2}
_STATES: Final = ("OK", "WARN", "ALERT")


class GroupState(msgspec.Struct, array_like=True):
    """All that a decision depends on beside definition, window and time. Times are unix milliseconds, 0 is never.

    `sequence` is that of the last transition; it begins at the millisecond in which the group was first seen, so that a group
    that was forgotten never uses a number again. `version` is that of the monitor by which it was last decided. `data_since_ms`
    is since when data came without a gap as long as the window.
    """

    org_id: str
    shape: int
    version: int
    first_ms: int
    sequence: int
    state: str = "OK"
    since_ms: int = 0
    clock_ms: int = 0
    data_since_ms: int = 0
    last_data_ms: int = 0
    alert_since_ms: int = 0
    warn_since_ms: int = 0
    calm_since_ms: int = 0
    resolved_ms: int = 0
    notified_ms: int = 0
    repeats: int = 0


@dataclass(frozen=True, slots=True)
class Transition:
    """The group enters `state`, or (`repeat` > 0) is notified of again in it. `why` is for people."""

    sequence: int
    repeat: int
    state: str
    previous_state: str
    at_ms: int
    value: float | None
    threshold: float | None
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows. `why` says what the reading came to, also when nothing changes."""

    state: GroupState
    transition: Transition | None
    why: str


def new_state(monitor: WatchedMonitor, now_ms: int) -> GroupState:
    """The state of a group that is seen for the first time."""
    return GroupState(
        monitor.org_id,
        monitor.shape,
        monitor.version,
        first_ms=now_ms,
        sequence=now_ms,
        since_ms=now_ms,
        clock_ms=now_ms,
    )


def note_data(monitor: WatchedMonitor, state: GroupState, first_ms: int, last_ms: int) -> GroupState:
    """The state when data come from `first_ms` on, and the newest before them were of `last_ms`, 0 of none."""
    if state.data_since_ms and first_ms - last_ms <= monitor.window_ms:
        return state
    new = copy.copy(state)
    new.data_since_ms = first_ms
    return new


def is_forgotten(monitor: WatchedMonitor, state: GroupState, last_ms: int, now_ms: int) -> bool:
    """Whether a group of the data has had none for so long that it is no more."""
    return monitor.grouped and now_ms >= _forget_ms(monitor, state, last_ms)


def _forget_ms(monitor: WatchedMonitor, state: GroupState, last_ms: int) -> int:
    return max(last_ms, state.last_data_ms, state.first_ms) + FORGET_AFTER_MS + monitor.window_ms


def decide(monitor: WatchedMonitor, state: GroupState, reading: Reading, now_ms: int) -> Decision:
    """What a group's state becomes at `now_ms`. At most one transition follows from one reading."""
    new = copy.copy(state)
    new.clock_ms = max(state.clock_ms, now_ms)
    new.version = monitor.version
    definition = monitor.definition
    if now_ms < state.first_ms + definition.new_group_after_s * 1000:
        return Decision(new, None, f"the group is new: it is decided on from {definition.new_group_after_s} s on")
    target, threshold, why = _target(monitor, new, reading, now_ms)
    if target != state.state:
        return _enter(new, target, _shown_value(monitor, state.state, target, reading), threshold, why, now_ms)
    if _renotify_due_ms(definition, new) <= now_ms:
        new.repeats += 1
        new.notified_ms = now_ms
        why = f"still {state.state} after {(now_ms - state.since_ms) // 1000} s"
        again = Transition(
            new.sequence,
            new.repeats,
            state.state,
            state.state,
            now_ms,
            reading.fall,
            _threshold_of(definition, target),
            why,
        )
        return Decision(new, again, why)
    return Decision(new, None, why)


def resolve(state: GroupState, now_ms: int, why: str) -> Decision:
    """The state as somebody, or the end of its monitor, makes it: OK until there are new data."""
    new = copy.copy(state)
    new.clock_ms = max(state.clock_ms, now_ms)
    new.resolved_ms = now_ms
    new.alert_since_ms = new.warn_since_ms = new.calm_since_ms = 0
    if state.state == "OK":
        return Decision(new, None, why)
    return _enter(new, "OK", None, None, why, now_ms)


def due_ms(monitor: WatchedMonitor, state: GroupState, last_ms: int, newest_pane_ms: int | None) -> int:
    """When the group must be decided on again though nothing comes; later than the state's clock.

    `last_ms` is the time of its newest value, `newest_pane_ms` the beginning of its newest pane.
    """
    definition, now = monitor.definition, state.clock_ms
    last = max(last_ms, state.last_data_ms)
    times = [_forget_ms(monitor, state, last)] if monitor.grouped else []
    if definition.new_group_after_s:
        times.append(state.first_ms + definition.new_group_after_s * 1000)
    if monitor.needs_full_window:
        times += [state.first_ms + monitor.window_ms, state.data_since_ms + monitor.window_ms]
    for since, hold_s in (
        (state.alert_since_ms, definition.for_s),
        (state.warn_since_ms, definition.for_s),
        (state.calm_since_ms, definition.keep_firing_for_s),
    ):
        if since:
            times.append(since + hold_s * 1000)
    silent_since = last or state.first_ms
    if definition.no_data != "ignore":
        times.append(silent_since + definition.no_data_after_s * 1000)
    if definition.auto_resolve_s and state.state != "OK":
        times.append(silent_since + definition.auto_resolve_s * 1000)
    times.append(_renotify_due_ms(definition, state))
    if newest_pane_ms is not None and _moves_by_itself(monitor, state):
        delay = definition.evaluation_delay_s * 1000
        boundary = monitor.pane_of(now - delay) + monitor.pane_ms + delay
        # One look after the last pane has left the window, and with `change` the window before it.
        looks_back = (monitor.slots + 1) * monitor.pane_ms
        if boundary <= newest_pane_ms + looks_back + delay:
            times.append(boundary)
    return min((time for time in times if time > now), default=_NEVER)


_NEVER: Final = 1 << 62


def _moves_by_itself(monitor: WatchedMonitor, state: GroupState) -> bool:
    """Whether the state may change while panes only leave the window."""
    quiet = state.state == "OK" and not state.alert_since_ms and not state.warn_since_ms
    # A sum grows when a negative value leaves.
    return not (quiet and monitor.on_arrival) or monitor.aggregation == "sum"


def _target(monitor: WatchedMonitor, new: GroupState, reading: Reading, now: int) -> tuple[str, float | None, str]:
    """The state that the reading calls for, the threshold that says so, and why. Moves the timers in `new`."""
    definition, current = monitor.definition, new.state
    last = max(reading.last_ms, new.last_data_ms)
    if not reading.count:
        silent_s = (now - (last or new.first_ms)) // 1000
        if new.resolved_ms and last <= new.resolved_ms:
            return current, None, "it was resolved, and there are no data since"
        if current != "OK" and definition.auto_resolve_s and silent_s >= definition.auto_resolve_s:
            new.resolved_ms = now
            new.alert_since_ms = new.warn_since_ms = new.calm_since_ms = 0
            return "OK", None, f"resolved by itself, as there were no data for {silent_s} s"
        if definition.no_data != "ignore" and silent_s >= definition.no_data_after_s:
            target = "NO_DATA" if definition.no_data == "notify" else "OK"
            return target, None, f"there were no data for {silent_s} s"
        if not monitor.counting:
            new.alert_since_ms = new.warn_since_ms = new.calm_since_ms = 0
            return current, None, "there are no data in the window"
    if monitor.needs_full_window:
        since = new.first_ms if monitor.counting else new.data_since_ms
        if since > now - monitor.window_ms:
            back = "OK" if current == "NO_DATA" else current
            return back, None, "the window is not watched from its beginning yet"
    if reading.rise is None and reading.fall is None:
        return current, None, "the window before has no value to compare with"
    return _by_thresholds(definition, new, reading, now)


def _by_thresholds(definition: Watched, new: GroupState, reading: Reading, now: int) -> tuple[str, float | None, str]:
    current = new.state
    rise, fall = _level(definition, reading.rise), _level(definition, reading.fall)
    for name, level in (("alert_since_ms", "ALERT"), ("warn_since_ms", "WARN")):
        if _RANK[rise] >= _RANK[level]:
            setattr(new, name, getattr(new, name) or now)
        elif _RANK[fall] < _RANK[level]:
            setattr(new, name, 0)
    hold = definition.for_s * 1000
    reached = "OK"
    for since, level in ((new.warn_since_ms, "WARN"), (new.alert_since_ms, "ALERT")):
        if since and now >= since + hold and (level == "ALERT" or definition.warning is not None):
            reached = level
    if _RANK[reached] > _RANK[current]:
        new.calm_since_ms = 0
        held = f" for {definition.for_s} s" if hold else ""
        threshold = _threshold_of(definition, reached)
        return reached, threshold, f"{_number(reading.rise)} {definition.comparison} {_number(threshold)}{held}"
    if current == "NO_DATA":
        return "OK", None, "there are data again"
    left = _recovered(definition, reading.fall, current)
    if _RANK[left] >= _RANK[current]:
        new.calm_since_ms = 0
        pending = new.alert_since_ms or new.warn_since_ms
        if current == "OK" and pending:
            return current, None, f"past a threshold since {(now - pending) // 1000} s of {definition.for_s} s"
        return current, None, f"{_number(reading.fall)} calls for {left}"
    new.calm_since_ms = new.calm_since_ms or now
    if now < new.calm_since_ms + definition.keep_firing_for_s * 1000:
        return current, None, f"{_number(reading.fall)} calls for {left}, and {current} is kept for a while"
    new.calm_since_ms = 0
    threshold = _threshold_of(definition, left) if left != "OK" else _threshold_of(definition, current, recovery=True)
    return left, threshold, f"{_number(reading.fall)} calls for {left}"


def _level(definition: Watched, value: float | None) -> str:
    """The level of a value by the thresholds alone."""
    if value is None:
        return "OK"
    if definition.passes(value, definition.critical):
        return "ALERT"
    if definition.warning is not None and definition.passes(value, definition.warning):
        return "WARN"
    return "OK"


def _recovered(definition: Watched, value: float | None, current: str) -> str:
    """The level to which a value lets a state fall: with a recovery threshold only what is not past that one either."""
    level = _level(definition, value)
    if value is None:
        return level
    critical, warning = definition.critical_recovery, definition.warning_recovery
    if current == "ALERT" and critical is not None and definition.passes(value, critical):
        return "ALERT"
    if level == "OK" and current in ("ALERT", "WARN") and warning is not None and definition.passes(value, warning):
        return "WARN"
    return level


def _threshold_of(definition: Watched, state: str, *, recovery: bool = False) -> float | None:
    if state == "ALERT":
        return (
            definition.critical_recovery
            if recovery and definition.critical_recovery is not None
            else definition.critical
        )
    if state == "WARN":
        return (
            definition.warning_recovery if recovery and definition.warning_recovery is not None else definition.warning
        )
    return None


def _shown_value(monitor: WatchedMonitor, previous: str, target: str, reading: Reading) -> float | None:
    return reading.rise if _RANK[target] > _RANK[previous] else reading.fall


def _enter(new: GroupState, target: str, value: float | None, threshold: float | None, why: str, now: int) -> Decision:
    previous = new.state
    new.sequence += 1
    new.state = target
    new.since_ms = new.notified_ms = now
    new.repeats = 0
    new.calm_since_ms = 0
    return Decision(new, Transition(new.sequence, 0, target, previous, now, value, threshold, why), why)


def _renotify_due_ms(definition: Watched, state: GroupState) -> int:
    if not definition.renotify_s or state.state not in definition.renotify_statuses:
        return _NEVER
    if definition.renotify_max is not None and state.repeats >= definition.renotify_max:
        return _NEVER
    return state.notified_ms + definition.renotify_s * 1000


def _number(value: float | None) -> str:
    return "no value" if value is None else f"{value:.6g}"
