"""Classic histograms: series of buckets, told apart by their label le -> one series a histogram."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from query.promql.frames import Frame, empty_frame, renamed
from query.promql.labels import NAME, LabelTable
from query.promql.notes import Notes
from query.promql.quantiles import bucket_fractions, bucket_quantiles
from query.promql.source import Floats, Mask

LE = "le"
_FLOAT = re.compile(r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|(?i:inf|infinity))")

Rows = npt.NDArray[np.intp]
Of = Callable[[Floats, Floats, npt.NDArray[np.intp]], tuple[Floats, Mask]]
"""Bounds, cumulative counts (buckets x pairs of a histogram and a step), those steps -> values, and what was mended."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Histograms with the same bounds, which rise: bucket b of the i-th is row `rows[i, b]`, its series is `groups[i]`."""

    bounds: Floats
    rows: Rows
    groups: Rows


@dataclass(frozen=True, slots=True)
class Histograms:
    """All histograms of a table: their labels, and the rows whose le is no number."""

    table: LabelTable
    layouts: list[Layout]
    malformed: list[int]


def _bound(text: str | None) -> float:
    """NaN if it is no number."""
    return float(text) if text is not None and _FLOAT.fullmatch(text) else np.nan


def _found(table: LabelTable) -> Histograms:
    bounds = np.array([_bound(row.get(LE)) for row in table.rows])
    groups: dict[frozenset[tuple[str, str]], list[int]] = {}
    for row, labels in enumerate(table.rows):
        if not np.isnan(bounds[row]):
            key = frozenset([pair for pair in labels.items() if pair[0] != LE])
            groups.setdefault(key, []).append(row)
    alike: dict[tuple[float, ...], list[tuple[int, list[int]]]] = {}
    for group, rows in enumerate(groups.values()):
        rows.sort(key=lambda row: bounds[row])
        alike.setdefault(tuple(bounds[rows].tolist()), []).append((group, rows))
    layouts = [
        Layout(np.array(shared), np.array([rows for _, rows in members]), np.array([group for group, _ in members]))
        for shared, members in alike.items()
    ]
    return Histograms(LabelTable([dict(key) for key in groups]), layouts, np.nonzero(np.isnan(bounds))[0].tolist())


def _coalesced(bounds: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Buckets whose le says the same number differently are one."""
    distinct, starts = np.unique(bounds, return_index=True)
    return distinct, np.add.reduceat(counts, starts, axis=0)


def by_histogram(frame: Frame, of: Of, notes: Notes) -> tuple[Frame, bool]:
    """One series a histogram, of what `of` makes of its buckets, and whether counts had to be mended."""
    histograms = frame.table.derive("histograms", lambda: _found(frame.table))
    for row in histograms.malformed:
        if frame.present[row].any():
            label = frame.table[row].get(LE, "")
            of_metric = f' for metric name "{frame.table[row][NAME]}"' if NAME in frame.table[row] else ""
            notes.warn(f'bucket label "le" is missing or has a malformed value of "{label}"{of_metric}')
    steps = frame.shape[1]
    if len(histograms.table) == 0:
        return empty_frame(steps), False
    values = np.zeros((len(histograms.table), steps))
    present = np.zeros(values.shape, dtype=np.bool_)
    mended = False
    for layout in histograms.layouts:
        there = frame.present[layout.rows]  # histograms x buckets x steps
        some = there.any(axis=1)
        whole = some == there.all(axis=1)
        present[layout.groups] = some
        which, steps_there = np.nonzero(whole & some)
        mended |= _fill(values, frame, layout, np.arange(len(layout.bounds)), (which, steps_there), of)
        # Where buckets are missing at some steps, all steps that miss the same ones are one question.
        for index in np.nonzero(~whole.all(axis=1))[0]:
            lacking = np.nonzero(~whole[index])[0]
            kinds, kind_ids = np.unique(there[index][:, lacking], axis=1, return_inverse=True)
            for kind in range(kinds.shape[1]):
                at_steps = lacking[kind_ids.ravel() == kind]
                at = (np.full(len(at_steps), index), at_steps)
                mended |= _fill(values, frame, layout, np.nonzero(kinds[:, kind])[0], at, of)
    return renamed(Frame(histograms.table, values, present)), mended


def _fill(values: Floats, frame: Frame, layout: Layout, buckets: Rows, at: tuple[Rows, Rows], of: Of) -> bool:
    which, steps = at
    if len(which) == 0:
        return False
    counts = frame.values[layout.rows[which][:, buckets].T, steps]
    bounds, counts = _coalesced(layout.bounds[buckets], counts)
    values[layout.groups[which], steps], mended = of(bounds, counts, steps)
    return bool(mended.any())


def quantile(frame: Frame, phi: Floats, notes: Notes) -> Frame:
    """histogram_quantile; `phi` has one value a step."""
    notes.check_quantile(phi)
    answer, mended = by_histogram(
        frame, lambda bounds, counts, steps: bucket_quantiles(phi[steps], bounds, counts), notes
    )
    if mended:
        notes.inform(
            "input to histogram_quantile needed to be fixed for monotonicity "
            "(see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
        )
    return answer


def fraction(frame: Frame, lower: Floats, upper: Floats, notes: Notes) -> Frame:
    """histogram_fraction, between one pair of values a step."""

    def of(bounds: Floats, counts: Floats, steps: Rows) -> tuple[Floats, Mask]:
        found = bucket_fractions(lower[steps], upper[steps], bounds, counts)
        return found, np.zeros(found.shape, dtype=np.bool_)

    return by_histogram(frame, of, notes)[0]
