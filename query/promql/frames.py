"""An instant vector at many steps: series x steps, and what happens to its labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from query.promql.labels import Groups, LabelTable, Rows, text_of
from query.promql.source import Floats, Mask
from topics.errors import Refused


@dataclass(slots=True)
class Frame:
    """`values` and `present` are float64 and bool, series x steps; a value that is not present may be anything.

    An operator never writes into the arrays that it is given.
    """

    table: LabelTable
    values: Floats
    present: Mask

    @property
    def shape(self) -> tuple[int, int]:
        rows, steps = self.values.shape
        return rows, steps

    def take(self, rows: Rows) -> Frame:
        return Frame(self.table.take(rows), self.values[rows], self.present[rows])

    def with_values(self, values: Floats) -> Frame:
        return Frame(self.table, values, self.present)

    def without_empty(self) -> Frame:
        """Without the series that are at no step."""
        kept = self.present.any(axis=1)
        return self if kept.all() else self.take(np.nonzero(kept)[0])

    def repeated(self, steps: int) -> Frame:
        """One step -> the same at `steps` steps."""
        shape = (len(self.table), steps)
        return Frame(self.table, np.broadcast_to(self.values, shape), np.broadcast_to(self.present, shape))


def empty_frame(steps: int) -> Frame:
    """No series."""
    return Frame(LabelTable([]), np.empty((0, steps)), np.empty((0, steps), dtype=np.bool_))


def failed(reason: str) -> Refused:
    """What Prometheus answers as an execution error."""
    return Refused(f"cannot evaluate the query: {reason}", code="execution", path="query")


def one_series(values: Floats, table: LabelTable | None = None, present: Mask | None = None) -> Frame:
    """One row, by default without labels and at all steps."""
    if present is None:
        present = np.ones(values.shape, dtype=np.bool_)
    return Frame(table or LabelTable([{}]), values[np.newaxis, :], present[np.newaxis, :])


def merged(frame: Frame, groups: Groups) -> Frame:
    """Rows of one group become one series with the group's labels; two of them at one step are an error."""
    if groups.unique:
        return Frame(groups.table, frame.values, frame.present)
    rows = groups.order[groups.starts]
    values, present = frame.values[rows], frame.present[rows]
    targets = np.nonzero(groups.sizes() > 1)[0]
    for target, shared in zip(targets, groups.shared(), strict=True):
        for row in shared[1:]:
            there = frame.present[row]
            if (present[target] & there).any():
                raise failed(
                    f"vector cannot contain metrics with the same labelset: {text_of(groups.table[int(target)])}"
                )
            values[target] = np.where(there, frame.values[row], values[target])
            present[target] |= there
    return Frame(groups.table, values, present)


def renamed(frame: Frame) -> Frame:
    """The frame without the labels that name what was measured, since something was computed of it."""
    return merged(frame, frame.table.measured())
