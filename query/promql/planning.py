"""What must be read for an expression: every selector's samples, from the first look back to the last step."""

from __future__ import annotations

from query.promql.nodes import At, Call, Node, Selector, Subquery, Window, children
from query.promql.source import Selection
from query.promql.steps import SUBQUERY_STEP_MS, Steps


def reference_ms(at: At, query: Steps, time_ms: int) -> int:
    """The time that a selector with this @ looks back from, at a step."""
    match at:
        case None:
            return time_ms
        case "start":
            return query.start_ms
        case "end":
            return query.end_ms
        case _:
            return at


def inner_steps(node: Subquery, first_ms: int, last_ms: int) -> tuple[int, int, int]:
    """First, last and distance of the times at which a subquery is evaluated, for windows that end from `first_ms` to `last_ms`.

    They are multiples of the step in (first end - range, last end]; there is none if the first is after the last.
    """
    step = node.step_ms or SUBQUERY_STEP_MS
    begin = (first_ms - node.range_ms) // step * step + step
    return begin, last_ms // step * step, step


class Plan:
    """`selections` without repeats; `of_selector[id]` is the place of a selector's own among them."""

    def __init__(self, root: Node, query: Steps) -> None:
        self.query = query
        self.selections: list[Selection] = []
        self.of_selector: dict[int, int] = {}
        self._visit(root, query.start_ms, query.end_ms, query.step_ms, "")

    def _visit(self, node: Node, first_ms: int, last_ms: int, step_ms: int, function: str) -> None:
        match node:
            case Selector():
                self._select(node, self.query.lookback_ms, first_ms, last_ms, step_ms, "")
            case Window():
                self._select(node.selector, node.range_ms, first_ms, last_ms, step_ms, function)
            case Subquery():
                first_ms = reference_ms(node.at, self.query, first_ms) - node.offset_ms
                last_ms = reference_ms(node.at, self.query, last_ms) - node.offset_ms
                begin, end, step = inner_steps(node, first_ms, last_ms)
                self._visit(node.inner, begin, max(begin, end), step, "")
            case _:
                called = node.function if isinstance(node, Call) else ""
                for child in children(node):
                    self._visit(child, first_ms, last_ms, step_ms, called)

    def _select(self, node: Selector, range_ms: int, first_ms: int, last_ms: int, step_ms: int, function: str) -> None:
        first_ms = reference_ms(node.at, self.query, first_ms) - node.offset_ms
        last_ms = reference_ms(node.at, self.query, last_ms) - node.offset_ms
        steady = node.at is not None
        selection = Selection(
            node.matchers, first_ms - range_ms + 1, last_ms, 0 if steady else step_ms, range_ms, function
        )
        if selection not in self.selections:
            self.selections.append(selection)
        self.of_selector[node.id] = self.selections.index(selection)
