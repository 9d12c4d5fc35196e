"""What the engine asks of a store, and what it gets: a selection in, a block of series and their samples out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from query.promql.labels import LabelTable

MatchOp = Literal["=", "!=", "=~", "!~"]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

STALE_BITS = 0x7FF0000000000002
"""The NaN that says "this series ends here"; any other NaN is a value (model/value/value.go of Prometheus)."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label. A label that a series lacks has the value "". Patterns are RE2 and match the whole value."""

    label: str
    op: MatchOp
    value: str


@dataclass(frozen=True, slots=True)
class Selection:
    """The series that match all of `matchers`, and of each the samples with `start_ms` <= time <= `end_ms` (unix milliseconds).

    The name of the metric is the label `__name__`, matched like any other; there is always a matcher that "" does not match.
    The rest are hints, which a source may ignore: `step_ms` between the steps at which the samples are looked at (0: one step
    only), `range_ms` of each look back (of an instant selector: the lookback), and the `function` around a range selector.
    A source may give more samples than asked for, never fewer; the engine looks at times itself.
    """

    matchers: tuple[Matcher, ...]
    start_ms: int
    end_ms: int
    step_ms: int = 0
    range_ms: int = 0
    function: str = ""


@dataclass(slots=True)
class SeriesBlock:
    """n series and their m samples. Samples of series i are those from `offsets[i]` up to `offsets[i + 1]`.

    labels   of each series, including `__name__`; no two are equal
    offsets  int64[n + 1], from 0 to m
    ts_ms    int64[m], unix milliseconds, strictly rising within a series
    values   float64[m]; NaN keep their bits, because one of them is the stale marker (`STALE_BITS`)

    Arrays are read, never written, so that a source may keep a block and give it again. What was derived of a block
    (`derived`) and of its table of labels stays with it: a block, or a table, that is given again costs that once.
    """

    labels: LabelTable
    offsets: Ints
    ts_ms: Ints
    values: Floats
    derived: dict[str, object] = field(default_factory=dict, repr=False, compare=False)


class SeriesSource(Protocol):
    """Reads one organization's series; which one is the source's own matter."""

    async def select(self, selection: Selection) -> SeriesBlock:
        """Every series of the selection that has a sample in its time; raises `TooExpensive` past the limits, `Unavailable`."""
        ...
