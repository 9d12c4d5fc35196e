"""When a question is asked, within which limits, and its answer as columns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from query.promql.labels import Labels
from query.promql.source import Floats, Ints, Mask, SeriesBlock
from topics.errors import TooExpensive

LOOKBACK_MS = 300_000
"""For how long the last sample of a series counts, when none comes after it."""
SUBQUERY_STEP_MS = 60_000
"""The step of a subquery that names none."""

Kind = Literal["scalar", "string", "vector", "matrix"]


@dataclass(frozen=True, slots=True)
class Steps:
    """The times at which an expression is looked at: `start_ms`, then every `step_ms` up to `end_ms` (unix milliseconds).

    An instant query is one step, with `step_ms` 0. A sample counts at t if t - `lookback_ms` < its time <= t.
    """

    start_ms: int
    end_ms: int
    step_ms: int
    lookback_ms: int = LOOKBACK_MS

    @staticmethod
    def instant(at_ms: int, lookback_ms: int = LOOKBACK_MS) -> Steps:
        return Steps(at_ms, at_ms, 0, lookback_ms)

    @property
    def count(self) -> int:
        return 1 if self.step_ms == 0 else (self.end_ms - self.start_ms) // self.step_ms + 1

    def times_ms(self) -> Ints:
        return self.start_ms + np.arange(self.count, dtype=np.int64) * self.step_ms


@dataclass(frozen=True, slots=True)
class Limits:
    """What one evaluation may use. `seconds` run from the call of `evaluate`; they are looked at between operators.

    `points_max` bounds the steps of a range query, `series_max` and `samples_max` what all its selections give together,
    `cells_max` any matrix (series x steps, 8 bytes each, some of them at a time), of a subquery too.
    """

    points_max: int = 11_000
    series_max: int = 50_000
    samples_max: int = 50_000_000
    cells_max: int = 20_000_000
    seconds: float = 30.0


@dataclass(slots=True)
class Budget:
    """The limits of an evaluation that is under way."""

    limits: Limits
    began: float = field(default_factory=time.monotonic)

    def check_time(self) -> None:
        if time.monotonic() - self.began > self.limits.seconds:
            raise TooExpensive(f"{self.limits.seconds:g} seconds", "the time that this query takes")

    def check_cells(self, series: int, steps: int) -> None:
        """Before a matrix of that size is made; looks at the clock too."""
        if series * steps > self.limits.cells_max:
            raise TooExpensive(f"{self.limits.cells_max} values of one operator", f"{series} series at {steps} steps")
        self.check_time()


@dataclass(slots=True)
class Result:
    """An answer. `values` and `present` are series x steps, and what is not present is not part of the answer.

    scalar  one row without labels, always present
    string  `text` alone
    vector  of an instant query: one column; rows stand in the order that `sort` gave them
    matrix  of a range query, rows by their labels; or of an instant query that asks for a range of samples, which are in
            `raw` with their own times, and `values` is empty

    `warnings` and `infos` are Prometheus' annotations, without repeats.
    """

    kind: Kind
    labels: list[Labels]
    times_ms: Ints
    values: Floats
    present: Mask
    text: str = ""
    raw: SeriesBlock | None = None
    warnings: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)

    def series(self) -> Iterator[tuple[Labels, Ints, Floats]]:
        """Labels, times and values of each series that has any, whether they come from steps or are raw."""
        if self.raw is not None:
            for row, labels in enumerate(self.labels):
                part = slice(int(self.raw.offsets[row]), int(self.raw.offsets[row + 1]))
                yield labels, self.raw.ts_ms[part], self.raw.values[part]
            return
        for row, labels in enumerate(self.labels):
            kept = self.present[row]
            if kept.any():
                yield labels, self.times_ms[kept], self.values[row][kept]
