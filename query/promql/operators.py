"""Binary operators: scalars, a vector and a scalar, two vectors matched by their labels (promql/engine.go, VectorBinop)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from query.promql.frames import Frame, empty_frame, failed, merged, renamed
from query.promql.labels import NAME, RESERVED, Labels, LabelTable, group_rows, text_of
from query.promql.nodes import COMPARISONS, Binary, Matching
from query.promql.source import Floats, Mask
from query.promql.steps import Budget

_ARITHMETIC: dict[str, Callable[..., Floats]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
_COMPARISON: dict[str, Callable[..., Mask]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    ">": np.greater,
    "<=": np.less_equal,
    ">=": np.greater_equal,
}


def of_scalars(operator: str, left: Floats, right: Floats) -> Floats:
    """Two numbers a step; a comparison gives 1 or 0."""
    if operator in COMPARISONS:
        return _COMPARISON[operator](left, right).astype(np.float64)
    return _ARITHMETIC[operator](left, right)


def with_scalar(node: Binary, frame: Frame, scalar: Floats, *, scalar_left: bool) -> Frame:
    """A vector and one number a step. A comparison keeps what it holds for, with the vector's value, on whichever side it is."""
    left, right = (scalar, frame.values) if scalar_left else (frame.values, scalar)
    if node.operator not in COMPARISONS:
        return renamed(frame.with_values(_ARITHMETIC[node.operator](left, right)))
    holds = _COMPARISON[node.operator](left, right)
    if node.as_bool:
        return renamed(frame.with_values(holds.astype(np.float64)))
    return Frame(frame.table, frame.values, frame.present & holds)


def _signatures(
    left: LabelTable, right: LabelTable, matching: Matching
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], int]:
    """For each row of both sides, the number of what it is matched by, and how many numbers there are."""
    keys = [*left.join_keys(matching.labels, matching.on), *right.join_keys(matching.labels, matching.on)]
    ids, first = group_rows(keys)
    return ids[: len(left)], ids[len(left) :], len(first)


def _any_of(ids: npt.NDArray[np.intp], present: Mask, count: int) -> Mask:
    """By signature and step, whether a row with it is there."""
    there = np.zeros((count, present.shape[1]), dtype=np.bool_)
    if len(np.unique(ids)) == len(ids):
        there[ids] = present
    else:
        np.logical_or.at(there, ids, present)
    return there


def of_sets(node: Binary, left: Frame, right: Frame, budget: Budget) -> Frame:
    """and, or, unless: which series are there, whatever their values."""
    left_ids, right_ids, count = _signatures(left.table, right.table, node.matching)
    if node.operator == "or":
        budget.check_cells(len(left.table) + len(right.table), left.shape[1])
        added = right.present & ~_any_of(left_ids, left.present, count)[right_ids]
        table = LabelTable(left.table.rows + right.table.rows)
        both = Frame(table, np.concatenate((left.values, right.values)), np.concatenate((left.present, added)))
        return merged(both, table.equal())
    there = _any_of(right_ids, right.present, count)[left_ids]
    return Frame(left.table, left.values, left.present & (there if node.operator == "and" else ~there))


def of_vectors(node: Binary, left: Frame, right: Frame, budget: Budget) -> Frame:
    """Arithmetic and comparisons of two vectors: each series of one side with the one of the other that it is matched with."""
    matching = node.matching
    swapped = matching.card == "one-to-many"
    many, one = (right, left) if swapped else (left, right)
    many_ids, one_ids, count = _signatures(many.table, one.table, matching)
    _refuse_duplicates(many, one, one_ids, matching, "left" if swapped else "right")
    many_rows, one_rows = _pairs(many_ids, one_ids, count, budget, many.shape[1])
    if len(many_rows) == 0:
        return empty_frame(many.shape[1])
    present = many.present[many_rows] & one.present[one_rows]
    values, others = many.values[many_rows], one.values[one_rows]
    sides = (others, values) if swapped else (values, others)
    table = LabelTable(_result_labels(node, many.table, one.table, many_rows, one_rows))
    groups = table.equal()
    # Before a filter looks at values: whether a match is ambiguous does not depend on them (Prometheus' pull request 17668).
    _refuse_ambiguous(matching, many_ids[many_rows], groups.ids, present)
    if node.operator in COMPARISONS:
        holds = _COMPARISON[node.operator](*sides)
        values = holds.astype(np.float64) if node.as_bool else sides[0]
        present = present if node.as_bool else present & holds
    else:
        values = _ARITHMETIC[node.operator](*sides)
    return merged(Frame(table, values, present), groups)


def _refuse_duplicates(many: Frame, one: Frame, ids: npt.NDArray[np.intp], matching: Matching, side: str) -> None:
    """Two series of the "one" side with the same signature at a step where the other side has any series."""
    if len(np.unique(ids)) == len(ids):
        return
    asked = many.present.any(axis=0)
    order = np.argsort(ids, kind="stable")
    bounds = np.nonzero(np.diff(ids[order]))[0] + 1
    for rows in np.split(order, bounds):
        if len(rows) > 1 and ((one.present[rows].sum(axis=0) > 1) & asked).any():
            step = int(np.argmax((one.present[rows].sum(axis=0) > 1) & asked))
            first, second = (one.table[row] for row in rows[one.present[rows, step]][:2])
            named = {name: first[name] for name in first if (name in matching.labels) == matching.on and name != NAME}
            raise failed(
                f"found duplicate series for the match group {text_of(named)} on the {side} hand-side of the operation: "
                f"[{text_of(first)}, {text_of(second)}]; many-to-many matching not allowed: matching labels must be unique "
                "on one side"
            )


def _pairs(
    many_ids: npt.NDArray[np.intp], one_ids: npt.NDArray[np.intp], count: int, budget: Budget, steps: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows of both sides with the same signature, in the order of the "many" side.

    One signature has several rows of the "one" side only where those take turns in time.
    """
    order = np.argsort(one_ids, kind="stable")
    sizes = np.bincount(one_ids, minlength=count)
    starts = np.cumsum(sizes) - sizes
    repeats = sizes[many_ids]
    budget.check_cells(int(repeats.sum()), steps)
    many_rows = np.repeat(np.arange(len(many_ids)), repeats)
    within = np.arange(len(many_rows)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    return many_rows, order[np.repeat(starts[many_ids], repeats) + within]


def _result_labels(
    node: Binary, many: LabelTable, one: LabelTable, many_rows: npt.NDArray[np.intp], one_rows: npt.NDArray[np.intp]
) -> list[Labels]:
    matching = node.matching
    dropped = set(RESERVED) if node.operator not in COMPARISONS else set()
    kept: set[str] | None = None
    if matching.card == "one-to-one":
        if matching.on:
            kept = set(matching.labels)
        else:
            dropped |= set(matching.labels)
    rows: list[Labels] = []
    for many_row, one_row in zip(many_rows.tolist(), one_rows.tolist(), strict=True):
        labels = {
            name: value
            for name, value in many[many_row].items()
            if name not in dropped and (kept is None or name in kept)
        }
        for name in matching.lent:
            lent = one[one_row].get(name)
            if lent is None:
                labels.pop(name, None)
            else:
                labels[name] = lent
        if node.as_bool:
            for name in RESERVED:
                labels.pop(name, None)
        rows.append(labels)
    return rows


def _refuse_ambiguous(
    matching: Matching, signatures: npt.NDArray[np.intp], results: npt.NDArray[np.intp], present: Mask
) -> None:
    """At no step may a signature be matched twice (one-to-one), or twice with the same result (many-to-one)."""
    if matching.card == "one-to-one":
        identity, reason = signatures, "many-to-one matching must be explicit (group_left/group_right)"
    else:
        identity, reason = signatures * (int(results.max()) + 1) + results, "grouping labels must ensure unique matches"
    _, identity, sizes = np.unique(identity, return_inverse=True, return_counts=True)
    doubtful = np.nonzero(sizes[identity] > 1)[0]
    if len(doubtful) == 0:
        return
    found = np.zeros((len(sizes), present.shape[1]), dtype=np.int64)
    np.add.at(found, identity[doubtful], present[doubtful])
    if (found > 1).any():
        raise failed(f"multiple matches for labels: {reason}")
