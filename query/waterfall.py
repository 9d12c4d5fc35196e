"""The spans of one trace -> a waterfall: in the order of its tree, with depth, self time, critical path, and what is wrong named.

No I/O and no recursion: 10,000 spans in a chain are 10,000 deep. Times are ns; a waterfall's are counted from its begin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from storage.spans import SpanRow

Problem = Literal["orphan", "cycle", "shared_id", "clock_skew"]
"""What is wrong with a span, which is shown all the same:

- orphan: its parent is not among the spans (yet); it stands at depth 0.
- cycle: it is among its own ancestors; the first span of such a ring stands at depth 0 without its parent.
- shared_id: an earlier, different span has its id; children belong to the earlier one.
- clock_skew: by the clock of its machine it began before its parent; it is shown from its parent's begin on.
"""


@dataclass(slots=True)
class WaterfallSpan:
    """One span in its place. `offset_ns` is from the begin of the trace, corrected by `skew_ns`, which is never negative.

    `self_ns` is its duration without the time in which a child was under way. `critical` says that some moment of it was
    what the root waited for.
    """

    row: SpanRow
    problems: list[Problem]
    depth: int = 0
    offset_ns: int = 0
    skew_ns: int = 0
    self_ns: int = 0
    critical: bool = False

    @property
    def end_ns(self) -> int:
        return self.offset_ns + self.row.duration_ns


@dataclass(frozen=True, slots=True)
class Waterfall:
    """`spans` in preorder, siblings by their begin. `repeats` counts spans that were left out as copies of others.

    `root` is the first span without a parent or, while that is missing, the first at depth 0: the one whose critical path it is.
    """

    spans: list[WaterfallSpan]
    root: WaterfallSpan
    start_ns: int
    duration_ns: int
    services: list[str]
    errors: int
    repeats: int


class _Tree:
    """Who is whose child, by position in `spans`; `roots` have no parent here."""

    def __init__(self, spans: list[WaterfallSpan]) -> None:
        self.spans = spans
        self.parents = _find_parents(spans)
        _cut_cycles(spans, self.parents)
        self.children: list[list[int]] = [[] for _ in spans]
        self.roots: list[int] = []
        for i, parent in enumerate(self.parents):
            (self.roots if parent is None else self.children[parent]).append(i)

    def preorder(self) -> list[int]:
        """Every position, each parent before its children, siblings by begin as it stands now."""
        order: list[int] = []
        pending = self._by_begin(self.roots)[::-1]
        while pending:
            i = pending.pop()
            order.append(i)
            pending.extend(self._by_begin(self.children[i])[::-1])
        return order

    def _by_begin(self, positions: list[int]) -> list[int]:
        return sorted(positions, key=lambda i: (self.spans[i].offset_ns, i))


def build_waterfall(rows: Sequence[SpanRow]) -> Waterfall:
    """Put at least one span of one trace into its tree; `rows` are ordered by (ts, record id), as the store gives them."""
    if not rows:
        raise ValueError("a waterfall needs a span")
    start_ns = rows[0].ts_ns
    spans = [WaterfallSpan(row, [], offset_ns=row.ts_ns - start_ns) for row in _without_repeats(rows)]
    tree = _Tree(spans)
    _correct_clocks(tree)
    for i, span in enumerate(spans):
        span.self_ns = _self_time(span, [spans[child] for child in tree.children[i]])
    root = min(tree.roots, key=lambda i: (spans[i].row.parent_span_id != "", spans[i].offset_ns, i))
    _mark_critical(tree, root)
    begin = min(span.offset_ns for span in spans)
    for span in spans:
        span.offset_ns -= begin
    return Waterfall(
        spans=[spans[i] for i in tree.preorder()],
        root=spans[root],
        start_ns=start_ns + begin,
        duration_ns=max(span.end_ns for span in spans),
        services=sorted({span.row.service for span in spans}),
        errors=sum(span.row.status == "error" for span in spans),
        repeats=len(rows) - len(spans),
    )


def _without_repeats(rows: Sequence[SpanRow]) -> list[SpanRow]:
    """Each span once: a sender that sent it twice gave it two record ids, and nothing else differs."""
    seen: set[tuple[object, ...]] = set()
    kept = []
    for row in rows:
        names = (name for name in SpanRow.__struct_fields__ if name != "record_id")
        content = tuple(getattr(row, name) for name in names)
        if content not in seen:
            seen.add(content)
            kept.append(row)
    return kept


def _find_parents(spans: list[WaterfallSpan]) -> list[int | None]:
    first: dict[str, int] = {}
    for i, span in enumerate(spans):
        if first.setdefault(span.row.span_id, i) != i:
            span.problems.append("shared_id")
    parents: list[int | None] = []
    for span in spans:
        parent = first.get(span.row.parent_span_id) if span.row.parent_span_id else None
        if span.row.parent_span_id and parent is None:
            span.problems.append("orphan")
        parents.append(parent)
    return parents


def _cut_cycles(spans: list[WaterfallSpan], parents: list[int | None]) -> None:
    """Take its parent from the first span of every ring, so that what is left are trees."""
    walk_of = [0] * len(spans)  # In which walk a span was met; 0 is none.
    for begin in range(len(spans)):
        path: list[int] = []
        at: int | None = begin
        while at is not None and not walk_of[at]:
            walk_of[at] = begin + 1
            path.append(at)
            at = parents[at]
        if at is not None and walk_of[at] == begin + 1:
            first = min(path[path.index(at) :])
            parents[first] = None
            spans[first].problems.append("cycle")


def _correct_clocks(tree: _Tree) -> None:
    """Set depths, and move each span that began before its parent to its parent's begin.

    What a service's clock is off by holds for the spans below of the same service as well; those of another have their own clock.
    """
    spans = tree.spans
    for i in tree.preorder():
        above = tree.parents[i]
        if above is None:
            continue
        span, parent = spans[i], spans[above]
        span.depth = parent.depth + 1
        skew = parent.skew_ns if span.row.service == parent.row.service else 0
        if span.offset_ns + skew < parent.offset_ns:
            skew = parent.offset_ns - span.offset_ns
        if skew:
            span.skew_ns = skew
            span.offset_ns += skew
            span.problems.append("clock_skew")


def _self_time(span: WaterfallSpan, children: list[WaterfallSpan]) -> int:
    """The duration without the union of the children's, as far as they lie inside."""
    covered, until = 0, span.offset_ns
    for child in sorted(children, key=lambda each: each.offset_ns):
        begin, end = max(child.offset_ns, until), min(child.end_ns, span.end_ns)
        if end > begin:
            covered += end - begin
            until = end
    return span.row.duration_ns - covered


def _mark_critical(tree: _Tree, root: int) -> None:
    """Mark what the root waited for, backwards from its end: the child that ended last, then whichever ended before that began.

    A child counts as far as its parent lasted. This is the critical path as Jaeger's user interface draws it.
    """
    pending = [(root, tree.spans[root].end_ns)]
    while pending:
        i, now = pending.pop()
        tree.spans[i].critical = True
        # Of children that end together, as those do that outlast their parent, the one that began first explains most.
        children = [(-min(tree.spans[c].end_ns, now), tree.spans[c].offset_ns, c) for c in tree.children[i]]
        for minus_end, begin, child in sorted(children):
            end = -minus_end
            if begin < end <= now:
                pending.append((child, end))
                now = begin
