"""Label sets as a table, with what is derived of them kept beside it: groups, tables without a label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NAME = "__name__"
Labels = dict[str, str]
LabelKey = tuple[tuple[str, str], ...]


def key_of(labels: Labels) -> LabelKey:
    """The same for equal label sets, whatever their order."""
    return tuple(sorted(labels.items()))


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows of a table put together by a part of their labels: row i is in group `ids[i]`, whose labels are `table[ids[i]]`.

    Groups stand in the order in which the first row of each does. `order` lists rows group by group, in their own order
    within each, and `starts[g]` is where group g begins in it.
    """

    ids: npt.NDArray[np.intp]
    table: LabelTable
    order: npt.NDArray[np.intp]
    starts: npt.NDArray[np.intp]
    ordered: bool


class LabelTable:
    """The label sets of n series. They must not be changed; an empty value is an absent label and must not be there."""

    __slots__ = ("_derived", "rows")

    def __init__(self, rows: list[Labels]) -> None:
        self.rows = rows
        self._derived: dict[object, object] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Labels:
        return self.rows[index]
