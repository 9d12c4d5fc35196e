"""Label sets as a table, with what is derived of them kept beside it: groups, join keys, tables without the metric's name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt

NAME = "__name__"
RESERVED = (NAME, "__type__", "__unit__")
"""The labels that say what a series measures; what is computed of it measures something else and loses them."""

Labels = dict[str, str]
LabelKey = tuple[tuple[str, str], ...]
Rows = npt.NDArray[np.intp]
_Derived = TypeVar("_Derived")


def key_of(labels: Labels) -> LabelKey:
    """The same for equal label sets, and in the order in which Prometheus sorts them."""
    return tuple(sorted(labels.items()))


def text_of(labels: Labels) -> str:
    """As Prometheus writes a series: name{label="value", ...}."""
    pairs = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()) if name != NAME)
    return labels.get(NAME, "") + "{" + pairs + "}"


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows put together by a part of their labels: row i is in group `ids[i]`, whose labels are `table[ids[i]]`.

    Groups stand in the order of their first rows. `order` lists rows group by group, and `starts[g]` is where group g
    begins in it; `unique` says that every group has one row.
    """

    ids: Rows
    table: LabelTable
    order: Rows
    starts: Rows

    @property
    def unique(self) -> bool:
        return len(self.ids) == len(self.starts)

    def sizes(self) -> Rows:
        return np.diff(np.append(self.starts, len(self.ids)))

    def members(self, group: int) -> Rows:
        """The rows of a group."""
        end = self.starts[group + 1] if group + 1 < len(self.starts) else len(self.ids)
        return self.order[self.starts[group] : end]

    def shared(self) -> list[Rows]:
        """The rows of every group that has more than one."""
        return [self.members(group) for group in np.nonzero(self.sizes() > 1)[0].tolist()]


def group_rows(keys: Iterable[object]) -> tuple[Rows, Rows]:
    """The group of each key, and the first row of each group; groups are numbered in the order of their first rows."""
    seen: dict[object, int] = {}
    ids = np.fromiter((seen.setdefault(key, len(seen)) for key in keys), dtype=np.intp)
    first = np.full(len(seen), len(ids), dtype=np.intp)
    np.minimum.at(first, ids, np.arange(len(ids)))
    return ids, first


def _groups(ids: Rows, table: LabelTable) -> Groups:
    order = np.argsort(ids, kind="stable")
    starts = np.searchsorted(ids[order], np.arange(len(table)))
    return Groups(ids, table, order, starts)


class LabelTable:
    """The label sets of n series. They are never changed; an absent label is not there, rather than empty."""

    __slots__ = ("_derived", "rows")

    def __init__(self, rows: list[Labels]) -> None:
        self.rows = rows
        self._derived: dict[object, object] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Labels:
        return self.rows[index]

    def derive(self, key: object, make: Callable[[], _Derived]) -> _Derived:
        """What `make` gives, made once for each `key` and kept as long as the table is."""
        if key not in self._derived:
            self._derived[key] = make()
        return cast(_Derived, self._derived[key])

    def take(self, rows: Rows) -> LabelTable:
        return LabelTable([self.rows[row] for row in rows])

    def groups_by(self, labels: Sequence[str]) -> Groups:
        """Rows with the same values of these labels are one group, which keeps these labels alone."""
        kept = tuple(sorted(set(labels)))

        def make() -> Groups:
            if not kept:
                return _groups(np.zeros(len(self.rows), dtype=np.intp), LabelTable([{}] if self.rows else []))
            ids, first = group_rows(tuple(row.get(label, "") for label in kept) for row in self.rows)
            table = LabelTable([{name: row[name] for name in kept if name in row} for row in self._picked(first)])
            return _groups(ids, table)

        return self.derive(("by", kept), make)

    def groups_without(self, labels: Sequence[str]) -> Groups:
        """Rows that are equal but for these labels and the name are one group, which keeps the other labels."""
        dropped = frozenset((*labels, NAME))
        return self.derive(("without", dropped), lambda: self._grouped_without(dropped))

    def measured(self) -> Groups:
        """Rows without the labels that say what they measure; a group with more than one row has become ambiguous."""
        return self.derive("measured", lambda: self._grouped_without(frozenset(RESERVED)))

    def equal(self) -> Groups:
        """Rows with the same labels are one group."""
        return self.derive("equal", lambda: self._grouped_without(frozenset()))

    def join_keys(self, labels: Sequence[str], on: bool) -> list[object]:
        """What two series must share to be matched: `on` these labels, or on all others but the name."""
        named = tuple(sorted(set(labels)))

        def make() -> list[object]:
            if on:
                return [tuple([row.get(label, "") for label in named]) for row in self.rows]
            dropped = {*named, NAME}
            return [frozenset([pair for pair in row.items() if pair[0] not in dropped]) for row in self.rows]

        return self.derive(("join", named, on), make)

    def sorted_rows(self) -> Rows:
        """The rows in the order of their labels, as Prometheus lists a matrix."""

        def make() -> Rows:
            keys = [key_of(row) for row in self.rows]
            return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.intp)

        return self.derive("sorted", make)

    def _picked(self, rows: Rows) -> list[Labels]:
        return [self.rows[row] for row in rows]

    def _grouped_without(self, dropped: frozenset[str]) -> Groups:
        kept = [{name: row[name] for name in row if name not in dropped} for row in self.rows]
        ids, first = group_rows(frozenset(row.items()) for row in kept)
        return _groups(ids, LabelTable([kept[row] for row in first]))
