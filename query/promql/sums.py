"""Sums as exact as Prometheus': plain where that is good enough, compensated (Kahan, Neumaier) where terms cancel out.

A plain sum of n terms is off by at most n * 2^-53 * the sum of their absolutes. Where that may be seen in the tenth digit, it is
done again in Prometheus' way (util/kahansum of its source), term by term, for all such sums at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from query.promql.source import Floats, Ints, Mask

_SEEN = 1e-10
_EPSILON = 2.0**-53

Term = Callable[[int], tuple[Floats, Mask]]
"""The k-th terms of all sums, and which sums have one."""


def may_be_off(sums: Floats, absolutes: Floats, counts: Floats | Ints) -> Mask:
    """Where a plain sum may be wrong in its tenth digit, or is not finite though none of its terms is NaN."""
    off: Mask = ~(np.abs(sums) * _SEEN >= absolutes * counts * _EPSILON) | np.isinf(sums)
    return off & ~np.isnan(absolutes)


def _add(term: Floats, total: Floats, carry: Floats) -> tuple[Floats, Floats]:
    added = total + term
    lost = np.where(np.abs(total) >= np.abs(term), (total - added) + term, (term - added) + total)
    return added, np.where(np.isinf(added), 0.0, carry + lost)


def compensated_sums(count: int, terms: int, term: Term) -> Floats:
    """`count` sums of up to `terms` terms each."""
    total, carry = np.zeros(count), np.zeros(count)
    for k in range(terms):
        value, there = term(k)
        added, lost = _add(value, total, carry)
        total, carry = np.where(there, added, total), np.where(there, lost, carry)
    return np.where(np.isinf(total), total, total + carry)


def compensated_means(count: int, terms: int, term: Term) -> Floats:
    """The same for means: where the sum would overflow, the mean is carried on instead of it."""
    total, carry, number = np.zeros(count), np.zeros(count), np.zeros(count)
    mean = np.zeros(count)
    carrying_mean = np.zeros(count, dtype=np.bool_)
    for k in range(terms):
        value, there = term(k)
        number += there
        added, lost = _add(value, total, carry)
        turns = there & ~carrying_mean & np.isinf(added) & (number > 1)
        mean = np.where(turns, total / (number - 1), mean)
        carry = np.where(turns, carry / (number - 1), carry)
        carrying_mean |= turns
        share = (number - 1) / number
        next_mean, mean_lost = _add(value / number, share * mean, share * carry)
        summing, averaging = there & ~carrying_mean, there & carrying_mean
        total = np.where(summing, added, total)
        mean = np.where(averaging, next_mean, mean)
        carry = np.where(summing, lost, np.where(averaging, mean_lost, carry))
    return np.where(carrying_mean, mean + carry, total / number + carry / number)


def exact_sum(values: Floats) -> float | None:
    """The sum of a list, rounded once; None where a term is not finite or a sum on the way would overflow."""
    if not np.isfinite(values).all():
        return None
    try:
        return math.fsum(values)
    except OverflowError:
        return None


def of_windows(
    values: Floats, low: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], check: Callable[[], None]
) -> tuple[int, int, Term]:
    """The arguments of the above for windows of an array; `check` is called for every term."""

    def term(k: int) -> tuple[Floats, Mask]:
        check()
        there = counts > k
        return values[np.where(there, low + k, 0)], there

    return len(low), int(counts.max(initial=0)), term


def of_rows(values: Floats, present: Mask) -> tuple[int, int, Term]:
    """The arguments of the above for the columns of a matrix, term by term from its first row."""
    return values.shape[1], values.shape[0], lambda k: (values[k], present[k])
