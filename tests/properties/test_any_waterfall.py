"""Waterfalls of any spans at all: a tree in order, and times that a count of nanoseconds one by one agrees with."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from query.waterfall import WaterfallSpan, build_waterfall
from storage.spans import SpanRow

SPANS = st.lists(
    st.tuples(
        st.sampled_from(["", *"abcdefgh"]),
        st.sampled_from("abcdefgh"),
        st.integers(0, 30),
        st.integers(0, 20),
        st.sampled_from(["api", "db"]),
    ),
    min_size=1,
    max_size=12,
)


def rows_of(spans: list[tuple[str, str, int, int, str]]) -> list[SpanRow]:
    rows = [
        SpanRow(begin, i, "t", span_id, parent, service, "op", "server", duration, "ok", "", "{}", "[]", "[]")
        for i, (parent, span_id, begin, duration, service) in enumerate(spans)
    ]
    return sorted(rows, key=lambda row: (row.ts_ns, row.record_id))


def parents_of(spans: list[WaterfallSpan]) -> list[int | None]:
    """By position, told from the depths alone."""
    parents: list[int | None] = []
    above: list[int] = []
    for i, span in enumerate(spans):
        assert 0 <= span.depth <= len(above)
        del above[span.depth :]
        parents.append(above[-1] if above else None)
        above.append(i)
    return parents


@given(SPANS)
def test_any_spans_are_a_tree_in_order_with_true_times(spans: list[tuple[str, str, int, int, str]]) -> None:
    rows = rows_of(spans)
    found = build_waterfall(rows)
    assert len(found.spans) + found.repeats == len(rows)
    assert len({each.row.record_id for each in found.spans}) == len(found.spans)
    parents = parents_of(found.spans)
    known = {row.span_id for row in rows}
    for i, (span, above) in enumerate(zip(found.spans, parents, strict=True)):
        if above is None:
            # A root says why it is one, or has no parent.
            missing = span.row.parent_span_id and span.row.parent_span_id not in known
            assert ("orphan" in span.problems) == bool(missing)
            assert missing or not span.row.parent_span_id or "cycle" in span.problems
        else:
            assert found.spans[above].row.span_id == span.row.parent_span_id
            assert span.offset_ns >= found.spans[above].offset_ns
            assert not span.critical or found.spans[above].critical
        assert span.skew_ns >= 0
        assert (span.skew_ns > 0) == ("clock_skew" in span.problems)
        assert span.offset_ns == span.row.ts_ns + span.skew_ns - found.start_ns
        children = [each for each, parent in zip(found.spans, parents, strict=True) if parent == i]
        alone = [
            ns
            for ns in range(span.offset_ns, span.end_ns)
            if not any(child.offset_ns <= ns < child.end_ns for child in children)
        ]
        assert span.self_ns == len(alone)
    assert min(each.offset_ns for each in found.spans) == 0
    assert found.duration_ns == max(each.end_ns for each in found.spans)
    assert found.root.critical
