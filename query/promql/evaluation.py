"""Walks an expression: each part becomes a column of numbers, a vector at all steps, or windows of samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from query.promql import aggregations, histograms, operators, over_time, rates
from query.promql.dates import DATE_FUNCTIONS
from query.promql.frames import Frame, failed, merged, one_series, renamed
from query.promql.functions import MATH, clamped, ordered, rounded, scalars
from query.promql.label_functions import joined, labels_of_absent, replaced
from query.promql.labels import NAME, LabelTable
from query.promql.nodes import (
    SET_OPERATORS,
    Aggregate,
    At,
    Binary,
    Call,
    Negation,
    Node,
    Number,
    Selector,
    Subquery,
    Text,
    Window,
    children,
    kind_of,
)
from query.promql.notes import Notes
from query.promql.planning import Plan, inner_steps
from query.promql.source import Floats, Ints, SeriesBlock
from query.promql.steps import Budget
from query.promql.windows import Samples, Windows, latest, live_samples, windows_of

_OF_STEP = frozenset((*DATE_FUNCTIONS, "predict_linear", "time", "timestamp"))
"""Functions whose answer changes with the step, even if what they are given does not."""
_RATES = {
    "delta": (False, False),
    "increase": (True, False),
    "rate": (True, True),
}
"""Whether they are of a counter, and per second."""


def is_steady(node: Node) -> bool:
    """Whether it gives the same at every step, because @ holds all of its selectors."""
    match node:
        case Number() | Text():
            return True
        case Selector() | Subquery():
            return node.at is not None
        case Call() if node.function in _OF_STEP:
            return False
        case _:
            return all(is_steady(child) for child in children(node))


class Evaluation:
    """One evaluation of one expression over the blocks that its plan asked for."""

    def __init__(self, plan: Plan, blocks: Sequence[SeriesBlock], budget: Budget) -> None:
        self.plan = plan
        self.query = plan.query
        self.blocks = blocks
        self.budget = budget
        self.notes = Notes()

    def frame(self, node: Node, times_ms: Ints) -> Frame:
        """A node that gives a vector."""
        steps = len(times_ms)
        if steps > 1 and is_steady(node):
            return self._frame(node, times_ms[:1]).repeated(steps)
        return self._frame(node, times_ms)

    def _frame(self, node: Node, times_ms: Ints) -> Frame:
        self.budget.check_time()
        match node:
            case Selector():
                return self._selected(node, times_ms)
            case Call():
                return self._called(node, times_ms)
            case Aggregate():
                return self._aggregated(node, times_ms)
            case Binary():
                return self._combined(node, times_ms)
            case Negation():
                inner = self.frame(node.inner, times_ms)
                return renamed(inner.with_values(-inner.values))
            case _:
                raise failed(f"a vector was expected, not a {kind_of(node)}")

    def numbers(self, node: Node, times_ms: Ints) -> Floats:
        """A node that gives a scalar: one value a step."""
        match node:
            case Number():
                return np.full(len(times_ms), node.value)
            case Negation():
                return -self.numbers(node.inner, times_ms)
            case Binary():
                left, right = self.numbers(node.left, times_ms), self.numbers(node.right, times_ms)
                return operators.of_scalars(node.operator, left, right)
            case Call(function="time"):
                return times_ms / 1000
            case Call(function="pi"):
                return np.full(len(times_ms), np.pi)
            case Call(function="scalar"):
                return scalars(self.frame(node.arguments[0], times_ms))
            case _:
                raise failed(f"a scalar was expected, not a {kind_of(node)}")

    def _times(self, at: At, offset_ms: int, times_ms: Ints) -> Ints:
        match at:
            case None:
                return times_ms - offset_ms
            case "start":
                return np.full(len(times_ms), self.query.start_ms - offset_ms)
            case "end":
                return np.full(len(times_ms), self.query.end_ms - offset_ms)
            case _:
                return np.full(len(times_ms), at - offset_ms)

    def _block(self, node: Selector) -> SeriesBlock:
        return self.blocks[self.plan.of_selector[node.id]]

    def _selected(self, node: Selector, times_ms: Ints, of_times: bool = False) -> Frame:
        block = self._block(node)
        self.budget.check_cells(len(block.labels), len(times_ms))
        place, present = latest(block, self._times(node.at, node.offset_ms, times_ms), self.query.lookback_ms)
        if len(block.values) == 0:
            return Frame(block.labels, np.zeros(place.shape), present)
        return Frame(block.labels, block.ts_ms[place] / 1000 if of_times else block.values[place], present)

    def windows(self, node: Node, times_ms: Ints) -> Windows:
        """A node that gives ranges of samples."""
        match node:
            case Window():
                ends = self._times(node.selector.at, node.selector.offset_ms, times_ms)
                samples = live_samples(self._block(node.selector))
            case Subquery():
                ends = self._times(node.at, node.offset_ms, times_ms)
                samples = self.subquery_samples(node, ends)
            case _:
                raise failed(f"a range was expected, not a {kind_of(node)}")
        self.budget.check_cells(len(samples.table), len(times_ms))
        return windows_of(samples, ends, times_ms, node.range_ms, self.budget.check_time)

    def subquery_samples(self, node: Subquery, ends_ms: Ints) -> Samples:
        begin, end, step = inner_steps(node, int(ends_ms.min()), int(ends_ms.max()))
        if begin > end:  # The window lies between two multiples of the step.
            return Samples(LabelTable([]), np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0))
        self.budget.check_cells(1, (end - begin) // step + 1)
        inner_ms = np.arange(begin, end + 1, step, dtype=np.int64)
        frame = self.frame(node.inner, inner_ms)
        offsets = np.concatenate(([0], np.cumsum(frame.present.sum(axis=1))))
        times = np.broadcast_to(inner_ms, frame.present.shape)
        return Samples(frame.table, offsets, times[frame.present], frame.values[frame.present])

    def _aggregated(self, node: Aggregate, times_ms: Ints) -> Frame:
        inner = self.frame(node.inner, times_ms)
        if node.operator == "count_values":
            assert isinstance(node.parameter, Text)
            return aggregations.counted_values(node, inner, node.parameter.value, self.budget)
        if node.parameter is None:
            return aggregations.aggregated(node, inner, None, self.budget)
        parameter = self.numbers(node.parameter, times_ms)
        if node.operator in ("topk", "bottomk"):
            return aggregations.largest(node, inner, parameter)
        self.notes.check_quantile(parameter)
        return aggregations.aggregated(node, inner, parameter, self.budget)

    def _combined(self, node: Binary, times_ms: Ints) -> Frame:
        if kind_of(node.left) == "scalar":
            scalar = self.numbers(node.left, times_ms)
            return operators.with_scalar(node, self.frame(node.right, times_ms), scalar, scalar_left=True)
        left = self.frame(node.left, times_ms)
        if kind_of(node.right) == "scalar":
            return operators.with_scalar(node, left, self.numbers(node.right, times_ms), scalar_left=False)
        right = self.frame(node.right, times_ms)
        if node.operator in SET_OPERATORS:
            return operators.of_sets(node, left, right, self.budget)
        return operators.of_vectors(node, left, right, self.budget)

    def _called(self, node: Call, times_ms: Ints) -> Frame:
        if any(kind_of(argument) == "matrix" for argument in node.arguments):
            return self._called_on_windows(node, times_ms)
        name, arguments = node.function, node.arguments
        texts = [argument.value for argument in arguments if isinstance(argument, Text)]
        columns = [self.numbers(argument, times_ms) for argument in arguments if kind_of(argument) == "scalar"]
        if name == "vector":
            return one_series(columns[0])
        if name in DATE_FUNCTIONS and not arguments:
            return one_series(DATE_FUNCTIONS[name](times_ms / 1000).astype(np.float64))
        vector = next(argument for argument in arguments if kind_of(argument) == "vector")
        if name == "timestamp":
            if isinstance(vector, Selector):
                return renamed(self._selected(vector, times_ms, of_times=True))
            frame = self.frame(vector, times_ms)
            return renamed(frame.with_values(np.broadcast_to(times_ms / 1000, frame.shape)))
        frame = self.frame(vector, times_ms)
        if name in MATH:
            return renamed(frame.with_values(MATH[name](frame.values)))
        if name in DATE_FUNCTIONS:
            # A date of what is not finite is that of second 0, or of Go's least integer; nobody may rely on either.
            return renamed(frame.with_values(DATE_FUNCTIONS[name](frame.values).astype(np.float64)))
        match name:
            case "absent":
                there = aggregations.mask_of(frame)
                return one_series(np.ones(len(times_ms)), LabelTable([labels_of_absent(vector)]), ~there)
            case "clamp":
                return clamped(frame, columns[0], columns[1])
            case "clamp_min":
                return clamped(frame, columns[0], None)
            case "clamp_max":
                return clamped(frame, None, columns[0])
            case "round":
                nearest = columns[0] if columns else np.ones(len(times_ms))
                return renamed(frame.with_values(rounded(frame.values, nearest)))
            case "sort" | "sort_desc":
                if self.query.step_ms:
                    self.notes.warn("sort is ineffective for range queries since results are always ordered by labels")
                return ordered(frame, descending=name == "sort_desc")
            case "label_replace":
                return replaced(frame, *texts)
            case "label_join":
                return joined(frame, texts[0], texts[1], texts[2:])
            case "histogram_quantile":
                return histograms.quantile(frame, columns[0], self.notes)
            case "histogram_fraction":
                return histograms.fraction(frame, columns[0], columns[1], self.notes)
            case _:
                raise failed(f"the function {name} is not supported")

    def _called_on_windows(self, node: Call, times_ms: Ints) -> Frame:
        ranged = next(argument for argument in node.arguments if kind_of(argument) == "matrix")
        columns = [self.numbers(argument, times_ms) for argument in node.arguments if kind_of(argument) == "scalar"]
        windows = self.windows(ranged, times_ms)
        table, name = windows.samples.table, node.function
        match name:
            case "rate" | "increase" | "delta":
                counter, per_second = _RATES[name]
                values, present = rates.extrapolated(windows, counter=counter, per_second=per_second)
            case "irate" | "idelta":
                values, present = rates.between_last_two(windows, counter=name == "irate")
            case "resets":
                values, present = rates.resets(windows)
            case "changes":
                values, present = rates.changes(windows)
            case "deriv":
                values, present = rates.deriv(windows)
            case "predict_linear":
                values, present = rates.predict_linear(windows, columns[0])
            case "quantile_over_time":
                values, present = over_time.quantile(windows, columns[0])
                self.notes.check_quantile(columns[0][np.asarray(present.any(axis=0))])
            case "absent_over_time":
                there = np.asarray((windows.counts > 0).any(axis=0))
                return one_series(np.ones(len(times_ms)), LabelTable([labels_of_absent(ranged)]), ~there)
            case _ if name in over_time.OVER_TIME:
                values, present = over_time.OVER_TIME[name](windows)
            case _:
                raise failed(f"the function {name} is not supported")
        if name in ("rate", "increase"):
            self._check_counters(table, present)
        frame = Frame(table, values, present)
        if name == "last_over_time":
            return frame
        return _renamed_for_ever(frame)

    def _check_counters(self, table: LabelTable, present: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> None:
        for metric in table.derive("names", lambda: sorted({row.get(NAME, "") for row in table.rows})):
            rows = [row for row, labels in enumerate(table.rows) if labels.get(NAME, "") == metric]
            if present[rows].any():
                self.notes.check_counter(metric)


def _renamed_for_ever(frame: Frame) -> Frame:
    """Without names, where Prometheus takes two series of the same labels for an error even if they take turns."""
    groups = frame.table.measured()
    if groups.unique:
        return Frame(groups.table, frame.values, frame.present)
    for rows in groups.shared():
        if frame.present[rows].any(axis=1).sum() > 1:
            raise failed("vector cannot contain metrics with the same labelset")
    return merged(frame, groups)
