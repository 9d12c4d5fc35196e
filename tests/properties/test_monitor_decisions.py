"""Any sequence of values, ticks and restarts: the engine sends exactly the transitions of a reference that keeps every value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitors.replay import Replay
from topics.metric_columns import MetricBatch
from topics.names import METRICS

STEP_MS = 100
WINDOW_S = 10
RANK = {"OK": 0, "WARN": 1, "ALERT": 2}

VALUES = st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
HAPPENS = st.lists(
    st.tuples(st.integers(0, 60), st.one_of(VALUES, st.sampled_from(["restart", "early tick", "late tick"]))),
    max_size=40,
)
DEFINITIONS = st.fixed_dictionaries(
    {
        "kind": st.just("metric"),
        "metric": st.just("m"),
        "window_s": st.just(WINDOW_S),
        "aggregation": st.sampled_from(["max", "count", "sum"]),
        "critical": st.sampled_from([2.0, 4.0]),
        "comparison": st.sampled_from([">", ">="]),
        "for_s": st.sampled_from([0, 0, 1, 5]),
        "keep_firing_for_s": st.sampled_from([0, 0, 3]),
    },
    optional={
        "warning": st.sampled_from([0.5, 1.0]),
        "critical_recovery": st.sampled_from([1.5, 2.0]),
    },
)


class Reference:
    """Decides at every step of time, from all values there ever were."""

    def __init__(self, definition: dict[str, Any]) -> None:
        self.d = definition
        self.values: list[tuple[int, float]] = []
        self.state = "OK"
        self.since: dict[str, int | None] = {"WARN": None, "ALERT": None}
        self.calm: int | None = None
        self.transitions: list[tuple[int, str, str]] = []

    def passes(self, value: float | None, threshold: float | None) -> bool:
        if value is None or threshold is None:
            return False
        return value > threshold if self.d["comparison"] == ">" else value >= threshold

    def value(self, now: int, seconds: int) -> float | None:
        """Over so many whole seconds, the one that is under way among them."""
        since = (now // 1000 - seconds + 1) * 1000
        inside = [value for at, value in self.values if at >= since]
        match self.d["aggregation"]:
            case "count":
                return float(len(inside))
            case "sum":
                return sum(inside) if inside else None
            case _:
                return max(inside, default=None)

    def level(self, value: float | None) -> str:
        if self.passes(value, self.d["critical"]):
            return "ALERT"
        return "WARN" if self.passes(value, self.d.get("warning")) else "OK"

    def look(self, now: int) -> None:
        lower, upper = self.value(now, WINDOW_S), self.value(now, WINDOW_S + 1)
        if upper is None:
            self.since, self.calm = {"WARN": None, "ALERT": None}, None
            return
        for name in self.since:
            if RANK[self.level(lower)] >= RANK[name]:
                self.since[name] = now if self.since[name] is None else self.since[name]
            elif RANK[self.level(upper)] < RANK[name]:
                self.since[name] = None
        held = [n for n, at in self.since.items() if at is not None and now >= at + self.d["for_s"] * 1000]
        reached = max([n for n in held if n == "ALERT" or "warning" in self.d], key=RANK.__getitem__, default="OK")
        if RANK[reached] > RANK[self.state]:
            self.enter(reached, now)
            return
        falls_to = self.level(upper)
        if self.state == "ALERT" and self.passes(upper, self.d.get("critical_recovery")):
            falls_to = "ALERT"
        if RANK[falls_to] >= RANK[self.state]:
            self.calm = None
            return
        self.calm = now if self.calm is None else self.calm
        if now >= self.calm + self.d["keep_firing_for_s"] * 1000:
            self.enter(falls_to, now)

    def enter(self, state: str, now: int) -> None:
        self.transitions.append((now, self.state, state))
        self.state, self.calm = state, None


@given(DEFINITIONS, HAPPENS)
def test_the_engine_sends_what_the_reference_says(
    watch_simulation: Any, definition: dict[str, Any], happens: list[tuple[int, Any]]
) -> None:
    simulation, reference = watch_simulation(definition), Reference(definition)
    begin = 1_800_000_000_000
    at = 0

    def until(step: int) -> None:
        nonlocal at
        while at < step:
            at += 1
            reference.look(at * STEP_MS)

    due = 0
    for gap, what in happens:
        due += gap
        until(due)
        simulation.run_to(due * STEP_MS)
        if isinstance(what, float):
            reference.values.append((due * STEP_MS, what))
            reference.look(due * STEP_MS)
            simulation.send("metrics", {"name": "m", "value": what})
        elif what == "restart":
            simulation.restart()
        else:  # Another owner's, or one that was under way for long.
            simulation.tick(due * STEP_MS - (0 if what == "early tick" else 5_000))
    until(due + 400)
    simulation.run_to((due + 400) * STEP_MS)
    sent = [(message.at_ms - begin, message.previous_state, message.state) for message in simulation.sent]
    assert [each[1:] for each in sent] == [each[1:] for each in reference.transitions], (sent, reference.transitions)
    assert [each[0] for each in sent] == pytest.approx([each[0] for each in reference.transitions], abs=STEP_MS)
    numbers = [message.sequence for message in simulation.sent]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True


@given(
    DEFINITIONS,
    st.sampled_from(["max", "avg", "last", "p90", "increase"]),
    st.lists(st.tuples(st.integers(0, 9), VALUES)),
)
def test_a_replay_of_the_past_says_what_was_sent(
    watch_simulation: Any, definition: dict[str, Any], aggregation: str, values: list[tuple[int, float]]
) -> None:
    definition = definition | {"aggregation": aggregation, "no_data": "notify"}
    simulation = watch_simulation(definition)
    simulation.run_to(0)
    begin, at = 1_800_000_000_000, 0
    monitor = next(iter(simulation.monitors.by_id.values()))
    replay = Replay(monitor, METRICS, begin_ms=begin, shown_from_ms=begin, transitions_max=1000)
    for gap, value in values:
        at += gap
        simulation.run_to(at * 1000)
        simulation.send("metrics", {"name": "m", "value": value})
        ts_us = np.array([(begin + at * 1000) * 1000])
        replay.add(
            MetricBatch([b'["m",{},"",""]'], np.array([0], np.int32), ts_us, np.array([value])), begin + at * 1000
        )
    simulation.run_to((at + 60) * 1000)
    replay.advance(begin + (at + 60) * 1000)
    sent = [(message.at_ms, message.state, message.value) for message in simulation.sent]
    assert [(e.transition.at_ms, e.transition.state, e.transition.value) for e in replay.in_order()] == sent
