"""Spans become a tree whatever is wrong with them, and its figures are those that a person would count by hand."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from query.waterfall import Waterfall, WaterfallSpan, build_waterfall
from storage.spans import SpanRow

NOON = 1_761_912_000_000_000_000


def span(span_id: str, parent: str, begin: int, end: int, **changes: Any) -> SpanRow:
    """A span of the service `api` from `begin` to `end`, ns after noon."""
    fields: dict[str, Any] = {
        "ts_ns": NOON + begin,
        "record_id": 0,
        "trace_id": "t",
        "span_id": span_id,
        "parent_span_id": parent,
        "service": "api",
        "operation": f"op {span_id}",
        "kind": "server",
        "duration_ns": end - begin,
        "status": "ok",
        "status_message": "",
        "attributes": "{}",
        "events": "[]",
        "links": "[]",
    }
    return SpanRow(**(fields | changes))


def waterfall(*rows: SpanRow) -> Waterfall:
    return build_waterfall(sorted(rows, key=lambda row: (row.ts_ns, row.record_id)))


def by_id(found: Waterfall) -> dict[str, WaterfallSpan]:
    return {each.row.span_id: each for each in found.spans}


def depths(found: Waterfall) -> list[tuple[str, int]]:
    return [(each.row.span_id, each.depth) for each in found.spans]


def critical(found: Waterfall) -> list[str]:
    return [each.row.span_id for each in found.spans if each.critical]


def test_spans_stand_in_the_order_of_the_tree() -> None:
    found = waterfall(
        span("root", "", 0, 100),
        span("b", "root", 50, 90, service="db", status="error"),
        span("a", "root", 10, 40),
        span("a1", "a", 20, 30, service="cache"),
        span("b1", "b", 60, 70, service="db"),
    )
    assert depths(found) == [("root", 0), ("a", 1), ("a1", 2), ("b", 1), ("b1", 2)]
    assert (found.start_ns, found.duration_ns, found.errors) == (NOON, 100, 1)
    assert found.services == ["api", "cache", "db"]
    assert [(each.offset_ns, each.self_ns) for each in found.spans] == [(0, 30), (10, 20), (20, 10), (50, 30), (60, 10)]
    assert all(not each.problems and not each.skew_ns for each in found.spans)


def test_self_time_is_without_the_union_of_children_that_overlap_or_outlast_it() -> None:
    found = waterfall(
        span("root", "", 0, 100),
        span("a", "root", 10, 50),
        span("b", "root", 30, 60),
        span("inside b", "root", 35, 40),
        span("late", "root", 90, 250),
        span("after", "root", 150, 160),
    )
    assert by_id(found)["root"].self_ns == 100 - 50 - 10
    assert found.duration_ns == 250


def test_the_critical_path_is_what_the_root_waited_for() -> None:
    found = waterfall(
        span("root", "", 0, 100),
        span("early", "root", 5, 20),
        span("a", "root", 30, 60),
        span("beside a", "root", 40, 58),
        span("b", "root", 60, 95),
        span("in b, ended first", "b", 61, 70),
        span("in b, overlaps", "b", 65, 80),
        span("in b, ended last", "b", 75, 90),
        span("instant", "root", 97, 97),
    )
    assert critical(found) == ["root", "early", "a", "b", "in b, ended first", "in b, ended last"]


def test_a_child_that_outlasts_its_parent_is_waited_for_as_long_as_that() -> None:
    found = waterfall(
        span("root", "", 0, 100),
        span("fire and forget", "root", 20, 500),
        span("its work", "fire and forget", 200, 300),
        span("before", "root", 0, 20),
    )
    assert critical(found) == ["root", "before", "fire and forget"]


def test_an_orphan_is_a_root_of_its_own_and_says_so() -> None:
    found = waterfall(
        span("orphan", "gone", -50, -20, service="web"), span("child", "orphan", -40, -30), span("root", "", 0, 100)
    )
    assert depths(found) == [("orphan", 0), ("child", 1), ("root", 0)]
    assert [each.problems for each in found.spans] == [["orphan"], [], []]
    assert found.root.row.span_id == "root"
    assert critical(found) == ["root"]
    assert (found.start_ns, found.duration_ns) == (NOON - 50, 150)
    assert waterfall(span("x", "gone", 0, 1)).root.row.span_id == "x"


def test_of_several_roots_the_first_is_the_root() -> None:
    found = waterfall(span("second", "", 10, 500), span("first", "", 0, 20), span("of second", "second", 20, 500))
    assert depths(found) == [("first", 0), ("second", 0), ("of second", 1)]
    assert found.root.row.span_id == "first"
    assert critical(found) == ["first"]


@pytest.mark.parametrize("skew", [1, 70, 5_000_000_000])
def test_a_child_that_begins_before_its_parent_is_moved_to_it_and_marked(skew: int) -> None:
    found = waterfall(
        span("root", "", 0, 100),
        span("db", "root", -skew, 40 - skew, service="db"),
        span("same clock", "db", 10 - skew, 20 - skew, service="db"),
        span("right clock", "db", 30, 35),
    )
    spans = by_id(found)
    assert [(i, spans[i].offset_ns, spans[i].skew_ns) for i in spans] == [
        ("root", 0, 0),
        ("db", 0, skew),
        ("same clock", 10, skew),
        ("right clock", 30, 0),
    ]
    assert [spans[i].problems for i in spans] == [[], ["clock_skew"], ["clock_skew"], []]
    assert (found.start_ns, found.duration_ns) == (NOON, 100)
    assert [spans[i].self_ns for i in spans] == [60, 25, 10, 5]


def test_a_span_sent_twice_is_shown_once_and_two_of_one_id_both() -> None:
    found = waterfall(
        span("root", "", 0, 100),
        span("a", "root", 10, 20),
        span("a", "root", 10, 20, record_id=7),
        span("a", "root", 12, 18, service="db", record_id=8),
        span("child", "a", 13, 14),
    )
    assert found.repeats == 1
    assert depths(found) == [("root", 0), ("a", 1), ("child", 2), ("a", 1)]
    assert [each.problems for each in found.spans] == [[], [], [], ["shared_id"]]


def test_a_cycle_is_cut_at_its_first_span() -> None:
    found = waterfall(
        span("a", "c", 5, 10),
        span("b", "a", 6, 9),
        span("c", "b", 7, 8),
        span("below", "b", 7, 8, record_id=1),
        span("self", "self", 20, 30),
    )
    assert depths(found) == [("a", 0), ("b", 1), ("c", 2), ("below", 2), ("self", 0)]
    assert [each.problems for each in found.spans] == [["cycle"], [], [], [], ["cycle"]]


def test_a_trace_of_nothing_but_instants() -> None:
    found = waterfall(span("root", "", 0, 0), span("a", "root", 0, 0, record_id=1))
    assert (found.duration_ns, [each.self_ns for each in found.spans]) == (0, [0, 0])
    assert critical(found) == ["root"]
    with pytest.raises(ValueError, match="needs a span"):
        build_waterfall([])


@pytest.mark.parametrize("shape", ["chain", "star", "ring", "shuffled"])
def test_ten_thousand_spans_take_no_recursion_and_little_time(shape: str) -> None:
    n = 10_000
    chance = random.Random(7)
    parent = {
        "chain": lambda i: str(i - 1) if i else "",
        "star": lambda i: "0" if i else "",
        "ring": lambda i: str((i - 1) % n),
        "shuffled": lambda i: str(chance.randrange(n)),
    }[shape]
    rows = [span(str(i), parent(i), i, 2 * n - i, record_id=i) for i in range(n)]
    before = time.process_time()
    found = build_waterfall(rows)
    assert time.process_time() - before < 5  # Some 0.1 s; what is quadratic takes a minute.
    assert len(found.spans) == len({each.row.span_id for each in found.spans}) == n
    assert all(0 <= each.self_ns <= each.row.duration_ns for each in found.spans)
    if shape in ("chain", "ring"):
        assert [each.depth for each in found.spans] == list(range(n))
    stack: list[str] = []
    for each in found.spans:
        del stack[each.depth :]
        assert len(stack) == each.depth
        assert not stack or stack[-1] == each.row.parent_span_id
        stack.append(each.row.span_id)
