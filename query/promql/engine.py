"""The engine's front: `parse` a text, ask which `selections` it needs, read them, `evaluate`; or `run`, which does all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from query.promql.source import Selection, SeriesBlock, SeriesSource
from query.promql.steps import Kind, Limits, Result, Steps


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression; `kind` is what an instant query of it gives. A range query takes a scalar or a vector only."""

    text: str
    kind: Kind


def parse(text: str) -> Expression:
    """A text of at most 10,000 characters -> a checked expression.

    Raises `Refused` with code "bad_data": what is wrong, at which character where that is known, or what of Prometheus is not
    supported here.
    """
    raise NotImplementedError


def selections(expression: Expression, steps: Steps) -> list[Selection]:
    """What must be read to evaluate the expression at these steps, without repeats."""
    raise NotImplementedError


def evaluate(expression: Expression, blocks: Sequence[SeriesBlock], steps: Steps, limits: Limits) -> Result:
    """The answer. `blocks` are those of `selections(expression, steps)`, in the same order.

    Pure, and long: to be called in a thread. Raises `Refused` (code "execution") where Prometheus answers an execution error,
    as for series that match ambiguously, and `TooExpensive` past a limit.
    """
    raise NotImplementedError


async def run(source: SeriesSource, text: str, steps: Steps, limits: Limits) -> Result:
    """Parse, read one selection after the other, evaluate in a thread."""
    raise NotImplementedError
