"""Aggregation operators: many series -> one a group, or the largest of each group."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from query.promql.frames import Frame, empty_frame, failed
from query.promql.labels import Groups, LabelTable
from query.promql.nodes import Aggregate
from query.promql.quantiles import quantiles_of_lists
from query.promql.source import Floats, Ints, Mask
from query.promql.steps import Budget
from query.promql.sums import compensated_means, compensated_sums, may_be_off, of_rows

_LOOPED_MAX = 500
"""Groups up to which each is summed for itself, which is faster as long as calls are few."""


def groups_of(node: Aggregate, table: LabelTable) -> Groups:
    """The groups of `by` and `without`; with neither, all series are one."""
    return table.groups_without(node.labels) if node.without else table.groups_by(node.labels)


def _reduced(operation: np.ufunc, rows: Floats, groups: Groups) -> Floats:
    """Rows of a matrix -> one a group."""
    if groups.unique:
        return rows[groups.order]
    count = len(groups.starts)
    if count > _LOOPED_MAX:
        reduced: Floats = operation.reduceat(rows[groups.order], groups.starts, axis=0)
        return reduced
    found = np.empty((count, rows.shape[1]))
    for group in range(count):
        members = groups.members(group)
        whole = len(members) == len(rows)
        operation.reduce(rows if whole else rows[members], axis=0, out=found[group])
    return found


def _counts(frame: Frame, groups: Groups) -> Floats:
    if frame.present.all():
        return np.broadcast_to(groups.sizes().astype(np.float64)[:, np.newaxis], (len(groups.starts), frame.shape[1]))
    return _reduced(np.add, frame.present.astype(np.float64), groups)


def _filled(frame: Frame, value: float) -> Floats:
    """The frame's values, with `value` where nothing is."""
    return frame.values if frame.present.all() else np.where(frame.present, frame.values, value)


def _summed(frame: Frame, groups: Groups, counts: Floats, means: bool, budget: Budget) -> Floats:
    values = _filled(frame, 0.0)
    sums = _reduced(np.add, values, groups)
    # Terms of one sign lose nothing, and most series have one.
    off = (
        np.isinf(sums) if not (values < 0).any() else may_be_off(sums, _reduced(np.add, np.abs(values), groups), counts)
    )
    found = sums / counts if means else sums
    exactly = compensated_means if means else compensated_sums
    for group in np.nonzero(off.any(axis=1))[0].tolist():
        members, steps = groups.members(group), off[group]
        budget.check_time()
        found[group, steps] = exactly(*of_rows(values[members][:, steps], frame.present[members][:, steps]))
    return found


def _variances(frame: Frame, groups: Groups, counts: Floats) -> Floats:
    """From the least value of each group, so that equal values have no variance at all."""
    least = _reduced(np.fmin, _filled(frame, np.nan), groups)
    apart = np.where(frame.present, frame.values - least[groups.ids], 0.0)
    apart -= (_reduced(np.add, apart, groups) / counts)[groups.ids]
    apart *= apart
    found = _reduced(np.add, np.where(frame.present, apart, 0.0), groups) / counts
    lost = np.isnan(found)
    if lost.any():
        # Of values so far apart that their distance overflows.
        odd = _reduced(np.add, (frame.present & ~np.isfinite(frame.values)).astype(np.float64), groups)
        found[lost & (odd == 0)] = np.inf
    return found


def _quantiles(frame: Frame, groups: Groups, counts: Floats, phi: Floats) -> Floats:
    there = np.nonzero(frame.present)
    steps = frame.shape[1]
    sizes = counts.astype(np.int64).ravel()
    filled = np.nonzero(sizes)[0]
    place = np.zeros(len(sizes), dtype=np.int64)
    place[filled] = np.arange(len(filled))
    owner = place[groups.ids[there[0]] * steps + there[1]]
    phis = np.broadcast_to(phi, (len(groups.starts), steps)).ravel()
    found = np.zeros(len(sizes))
    found[filled] = quantiles_of_lists(frame.values[there], owner, sizes[filled], phis[filled])
    return found.reshape(-1, steps)


def aggregated(node: Aggregate, frame: Frame, parameter: Floats | None, budget: Budget) -> Frame:
    """sum, avg, min, max, count, group, stddev, stdvar and quantile (whose `parameter` has one value a step)."""
    groups = groups_of(node, frame.table)
    budget.check_cells(len(groups.starts), frame.shape[1])
    if len(frame.table) == 0:
        return empty_frame(frame.shape[1])
    counts = _counts(frame, groups)
    present = counts > 0
    match node.operator:
        case "sum" | "avg":
            values = _summed(frame, groups, counts, node.operator == "avg", budget)
        case "min":
            values = _reduced(np.fmin, _filled(frame, np.nan), groups)
        case "max":
            values = _reduced(np.fmax, _filled(frame, np.nan), groups)
        case "count":
            values = counts
        case "group":
            values = np.ones(counts.shape)
        case "stdvar":
            values = _variances(frame, groups, counts)
        case "stddev":
            values = np.sqrt(_variances(frame, groups, counts))
        case "quantile":
            assert parameter is not None
            values = _quantiles(frame, groups, counts, parameter)
        case other:
            raise failed(f"unknown aggregation operator {other}")
    return Frame(groups.table, values, present)


def _whole(parameter: Floats, rows: int) -> Ints:
    """How many of each group, by step; what is no whole number is cut off, as by Go's int64()."""
    if np.isnan(parameter).any():
        raise failed("Parameter value is NaN")
    for value in (parameter.min(), parameter.max()):
        if abs(value) >= 2.0**63:
            raise failed(f"Scalar value {value:g} {'overflows' if value > 0 else 'underflows'} int64")
    return np.minimum(parameter, rows).astype(np.int64)


def largest(node: Aggregate, frame: Frame, parameter: Floats) -> Frame:
    """topk and bottomk: of each group and step the k first by value, NaN last; at one step, in that order too."""
    rows, steps = frame.shape
    if rows == 0 or steps == 0 or parameter.max() < 1:
        return empty_frame(steps)
    many = _whole(parameter, rows)
    groups = groups_of(node, frame.table)
    chosen = np.zeros(frame.shape, dtype=np.bool_)
    listed = []
    for group in range(len(groups.starts)):
        members = groups.members(group)
        values, present = frame.values[members], frame.present[members]
        key = -values if node.operator == "topk" else values
        order = np.lexsort((key, np.isnan(values), ~present), axis=0)
        taken = np.zeros(values.shape, dtype=np.bool_)
        np.put_along_axis(taken, order, np.arange(len(members))[:, np.newaxis] < many, axis=0)
        chosen[members] = taken & present
        listed.append(members[order[: max(int(many[0]), 0), 0]])
    answer = Frame(frame.table, frame.values, chosen)
    if steps > 1:
        return answer
    return answer.take(np.concatenate(listed)).without_empty()


def written(value: float) -> str:
    """A number as Prometheus writes it into a label: all digits, no exponent."""
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = format(Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def counted_values(node: Aggregate, frame: Frame, label: str, budget: Budget) -> Frame:
    """count_values: how often each value is there, which becomes the label."""
    if not is_label_name(label):
        raise failed(f"invalid label name {label!r}")
    others = tuple(name for name in node.labels if name != label)
    groups = frame.table.groups_without((*others, label)) if node.without else frame.table.groups_by(others)
    there = np.nonzero(frame.present)
    if len(there[0]) == 0:
        return empty_frame(frame.shape[1])
    # Equal bits are written equally, and so are all NaN; 0 and -0 are not.
    found = np.where(np.isnan(frame.values[there]), np.nan, frame.values[there]).view(np.int64)
    bits, value_ids = np.unique(found, return_inverse=True)
    texts = [written(value) for value in bits.view(np.float64).tolist()]
    forgotten = node.without and label in node.labels
    pairs = groups.ids[there[0]] * len(bits) + (0 if forgotten else value_ids)
    kinds, kind_ids = np.unique(pairs, return_inverse=True)
    budget.check_cells(len(kinds), frame.shape[1])
    rows = []
    for group, value in zip((kinds // len(bits)).tolist(), (kinds % len(bits)).tolist(), strict=True):
        rows.append(groups.table[group] if forgotten else {**groups.table[group], label: texts[value]})
    steps = frame.shape[1]
    counts = np.bincount(kind_ids * steps + there[1], minlength=len(kinds) * steps).reshape(len(kinds), steps)
    return Frame(LabelTable(rows), counts.astype(np.float64), counts > 0)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_label_name(text: str) -> bool:
    """Prometheus 3 takes any label name that is UTF-8 and not empty."""
    return bool(text) and _is_utf8(text)


def mask_of(frame: Frame) -> Mask:
    """By step, whether any series is there."""
    return np.asarray(frame.present.any(axis=0))
