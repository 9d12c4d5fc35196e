"""Log monitors compute as long as they may, the cheap ones first, and what there is no time for is left out and said so."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from logql.evaluate import PATTERN_TEXT_MAX, LogLine, compile_query
from logql.parsing import parse_log_query
from monitors.allowance import Allowance, OutOfTime
from monitors.definitions import parse_monitor
from monitors.log_parts import LogMatcher
from monitors.monitor_set import MonitorSet
from monitors.pane_building import PartsOfBatch
from monitors.replay import Replay
from monitors.watched import WatchedMonitor
from topics.arrow_messages import NANOSECONDS
from topics.names import LOGS

NOW_MS = 1_800_000_000_000
EXPENSIVE = "((a)|(b)|(ab)){200}c"
"""No automaton of it fits into RE2's memory: 0.3 s for a text of 16 KiB of a and b."""


def watched(name: str, query: str, **definition: Any) -> WatchedMonitor:
    given = {"name": name, "kind": "log", "query": query, "critical": 1, "window_s": 60} | definition
    return WatchedMonitor(name, "o", 1, parse_monitor(given))


def batch(*messages: str) -> pa.RecordBatch:
    count = len(messages)
    columns: dict[str, Any] = {"ts": pa.array([NOW_MS * 10**6] * count, pa.int64()).view(NANOSECONDS)}
    texts = {"service": "api", "level": "error", "attributes": "{}"} | dict.fromkeys(
        ("host", "environment", "version", "trace_id", "span_id"), ""
    )
    columns |= {name: pa.array([text] * count, pa.string()) for name, text in texts.items()}
    columns |= {"message": pa.array(messages, pa.string()), "record_id": pa.array(range(count), pa.uint64())}
    return pa.record_batch(columns)


@pytest.mark.parametrize("grouped", [{}, {"group_by": ["found"]}])
def test_an_expensive_monitor_takes_its_time_and_none_from_the_others(grouped: dict[str, Any]) -> None:
    expensive = watched("a", f'{{service="api"}} |~ "{EXPENSIVE}"')
    if grouped:
        expensive = watched("a", f'{{service="api"}} | regexp "(?P<found>{EXPENSIVE})"', **grouped)
    cheap = watched("b", '{service="api"} |= "needle"')
    allowance = Allowance(share=0.0, burst_s=0.1)
    matcher = LogMatcher([expensive, cheap], allowance)
    parts = PartsOfBatch()
    before = allowance.used()
    matcher.add_parts(batch(*("ab" * 100_000 for _ in range(50)), "a needle"), NOW_MS, parts)
    # One text of the fifty, and not all of it: a third of a second, and not three minutes.
    assert allowance.used() - before < 10.0
    assert parts.cut
    assert [part.panes[0].count for part in parts.of_monitors.pop("b")] == [1]
    assert parts.of_monitors == {}


def test_the_bucket_fills_with_time_and_owes_what_was_taken_too_much() -> None:
    clock = {"cpu": 0.0, "now": 0.0}
    allowance = Allowance(share=0.25, burst_s=1.0, cpu=lambda: clock["cpu"], now=lambda: clock["now"])

    def takes(cpu_s: float, after_s: float = 0.0) -> bool:
        """Whether there is time for another record behind one that takes so long."""
        clock["now"] += after_s
        allowance.begin()
        try:
            clock["cpu"] += cpu_s
            allowance.spend(10**6)
        except OutOfTime:
            return False
        finally:
            allowance.end()
        return True

    assert takes(0.5)
    assert takes(0.4)
    assert not takes(1.1)  # It owes one second.
    assert not takes(0.0, after_s=3.9)
    assert takes(0.1, after_s=0.6)
    assert takes(0.9, after_s=1000.0)
    assert not takes(0.2)


def test_changed_monitors_go_on_with_the_same_allowance() -> None:
    before = MonitorSet([watched("a", "{}")])
    assert MonitorSet([watched("b", "{}")], before.allowance).allowance is before.allowance


def test_a_preview_that_has_no_time_says_so() -> None:
    monitor = watched("a", '{service="api"} |= "x"', comparison=">=")
    for computing_s, cut in ((10.0, False), (-1.0, True)):
        replay = Replay(
            monitor, LOGS, begin_ms=NOW_MS, shown_from_ms=NOW_MS, transitions_max=10, computing_s=computing_s
        )
        replay.add(batch("x" * 100_000), NOW_MS)
        assert (replay.cut, len(replay.transitions)) == (cut, 0 if cut else 1)


def test_patterns_look_at_the_beginning_of_a_text() -> None:
    def matches(query: str, message: str) -> bool:
        return compile_query(parse_log_query(query)).matches(LogLine("api", "error", message, attributes="{}"))

    inside, behind = "é" * (PATTERN_TEXT_MAX // 2 - 1) + "x", "é" * (PATTERN_TEXT_MAX // 2) + "x"
    assert matches('{} |~ "x"', inside)
    assert not matches('{} |~ "x"', behind)
    assert matches('{} !~ "x"', behind)
    assert matches('{} |= "x"', behind)
    assert not matches('{} | regexp "(?P<a>x)" | a="x"', "é" * PATTERN_TEXT_MAX + "x")
