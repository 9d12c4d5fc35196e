"""Functions of instant vectors that look at values alone, by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from query.promql.frames import Frame, renamed
from query.promql.source import Floats

MATH: dict[str, Callable[[Floats], Floats]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "deg": lambda values: values * 180 / np.pi,
    "exp": np.exp,
    "floor": np.floor,
    "ln": np.log,
    "log10": np.log10,
    "log2": np.log2,
    "rad": lambda values: values * np.pi / 180,
    "sgn": np.sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}


def rounded(values: Floats, nearest: Floats) -> Floats:
    """Halves go up; `nearest` is inverted first, which is more exact for 0.1 and its like."""
    inverse = 1.0 / nearest
    return np.floor(values * inverse + 0.5) / inverse


def clamped(frame: Frame, lowest: Floats | None, highest: Floats | None) -> Frame:
    """Values outside become the limit; where limits cross nothing is left.

    NaN makes NaN, except that -Inf is the less and +Inf the greater of two, whatever the other is (Go's Min and Max).
    """
    values, present = frame.values, frame.present
    if highest is not None:
        values = np.where(np.isneginf(highest) | np.isneginf(values), -np.inf, np.minimum(values, highest))
    if lowest is not None:
        values = np.where(np.isposinf(lowest) | np.isposinf(values), np.inf, np.maximum(values, lowest))
    if lowest is not None and highest is not None:
        present = present & ~(highest < lowest)
    return renamed(Frame(frame.table, values, present))


def scalars(frame: Frame) -> Floats:
    """By step the value of the only series, NaN if there is none or more than one."""
    if len(frame.table) == 0:
        return np.full(frame.shape[1], np.nan)
    row = frame.present.argmax(axis=0)
    values = frame.values[row, np.arange(frame.shape[1])]
    return np.where(frame.present.sum(axis=0) == 1, values, np.nan)


def ordered(frame: Frame, *, descending: bool) -> Frame:
    """The series of one step by value, NaN last in both directions; of several steps as they are."""
    if frame.shape[1] != 1:
        return frame
    frame = frame.without_empty()
    values = frame.values[:, 0]
    return frame.take(np.lexsort((-values if descending else values, np.isnan(values))))
