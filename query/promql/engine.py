"""The engine's front: `parse` a text, ask which `selections` it needs, read them, `evaluate`; or `run`, which does all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from query.promql.evaluation import Evaluation
from query.promql.frames import Frame
from query.promql.nodes import Node, Text, kind_of
from query.promql.parsing import nodes_of
from query.promql.planning import Plan
from query.promql.source import Selection, SeriesBlock, SeriesSource
from query.promql.steps import Budget, Kind, Limits, Result, Steps
from query.promql.windows import Windows
from topics.errors import Refused, TooExpensive


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression; `kind` is what an instant query of it gives. A range query takes a scalar or a vector only."""

    text: str
    kind: Kind
    root: Node


def parse(text: str) -> Expression:
    """A text of bounded length and depth (`query/promql/lexical.py`) -> a checked expression.

    Raises `Refused` with code "bad_data": what is wrong, at which character where that is known, or what of Prometheus is not
    supported here.
    """
    root = nodes_of(text)
    return Expression(text, kind_of(root), root)


def selections(expression: Expression, steps: Steps) -> list[Selection]:
    """What must be read to evaluate the expression at these steps, without repeats."""
    return Plan(expression.root, steps).selections


def evaluate(expression: Expression, blocks: Sequence[SeriesBlock], steps: Steps, limits: Limits) -> Result:
    """The answer. `blocks` are those of `selections(expression, steps)`, in the same order.

    Pure, and long: to be called in a thread. Raises `Refused` (code "execution") where Prometheus answers an execution error,
    as for series that match ambiguously, and `TooExpensive` past a limit.
    """
    check(expression, steps, limits)
    series, samples = sum(len(block.labels) for block in blocks), sum(len(block.values) for block in blocks)
    if series > limits.series_max:
        raise TooExpensive(f"{limits.series_max} series", f"{series} series")
    if samples > limits.samples_max:
        raise TooExpensive(f"{limits.samples_max} samples", f"{samples} samples")
    evaluation = Evaluation(Plan(expression.root, steps), blocks, Budget(limits))
    with np.errstate(all="ignore"):  # Prometheus divides by zero and overflows without a word, and so do we.
        result = _result(evaluation, expression, steps)
    result.warnings, result.infos = list(evaluation.notes.warnings), list(evaluation.notes.infos)
    return result


def check(expression: Expression, steps: Steps, limits: Limits) -> None:
    """What can be refused before anything is read: a range query of ranges or strings, and too many steps."""
    if steps.step_ms and expression.kind not in ("scalar", "vector"):
        given = {"matrix": "range vector"}.get(expression.kind, expression.kind)
        reason = f'invalid expression type "{given}" for range query, must be Scalar or instant Vector'
        raise Refused(reason, code="bad_data", path="query")
    if steps.count > limits.points_max:
        raise TooExpensive(f"{limits.points_max} points a series", f"{steps.count} points a series")


def _result(evaluation: Evaluation, expression: Expression, steps: Steps) -> Result:
    root, times = expression.root, steps.times_ms()
    nothing, never = np.empty((0, len(times))), np.empty((0, len(times)), dtype=np.bool_)
    match expression.kind:
        case "string":
            assert isinstance(root, Text)
            return Result("string", [], times, nothing, never, text=root.value)
        case "matrix":
            raw = _raw(evaluation.windows(root, times))
            return Result("matrix", raw.labels.rows, times, nothing, never, raw=raw)
        case "scalar":
            values = evaluation.numbers(root, times)[np.newaxis, :]
            return Result(
                "scalar" if not steps.step_ms else "matrix", [{}], times, values, np.ones(values.shape, dtype=np.bool_)
            )
        case _:
            frame = evaluation.frame(root, times)
            if steps.step_ms:
                frame = _sorted(frame)
            frame = frame.without_empty()
            return Result("matrix" if steps.step_ms else "vector", frame.table.rows, times, frame.values, frame.present)


def _sorted(frame: Frame) -> Frame:
    order = frame.table.sorted_rows()
    return frame if (order[1:] > order[:-1]).all() else frame.take(order)


def _raw(windows: Windows) -> SeriesBlock:
    """The samples of windows at one step, by labels."""
    samples = windows.samples
    low, high = windows.low[:, 0], windows.high[:, 0]
    rows = samples.table.sorted_rows()
    rows = rows[high[rows] > low[rows]]
    counts = high[rows] - low[rows]
    offsets = np.concatenate(([0], np.cumsum(counts)))
    places = np.arange(int(offsets[-1])) + np.repeat(low[rows] - offsets[:-1], counts)
    return SeriesBlock(samples.table.take(rows), offsets, samples.ts_ms[places], samples.values[places])


async def run(source: SeriesSource, text: str, steps: Steps, limits: Limits) -> Result:
    """Parse, read one selection after the other, evaluate in a thread."""
    expression = parse(text)
    check(expression, steps, limits)
    blocks = [await source.select(selection) for selection in selections(expression, steps)]
    return await asyncio.to_thread(evaluate, expression, blocks, steps, limits)
