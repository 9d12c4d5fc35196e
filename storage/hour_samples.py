"""Samples of a selection's series <-> the same hour by hour, which is how they are remembered. Columns alone, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from storage.metric_samples import Samples

HOUR_MS = 3_600_000

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SampleColumns:
    """Samples of n series: `counts[i]` of them belong to series i, series by series; `ts_ms` (unix milliseconds) rises within a
    series. Not to be changed: it may be shared."""

    counts: Ints
    ts_ms: Ints
    values: Floats

    @property
    def size(self) -> int:
        """In bytes."""
        return self.counts.nbytes + self.ts_ms.nbytes + self.values.nbytes

    def offsets(self) -> Ints:
        """int64[n + 1]: where each series begins, and the end."""
        return np.concatenate((np.zeros(1, np.int64), np.cumsum(self.counts)))


def in_milliseconds(samples: Samples, ids: npt.NDArray[np.int32]) -> SampleColumns:
    """Samples of the series `ids` (rising), in milliseconds: of several within one the last stays."""
    series = np.searchsorted(ids, samples.series_id)
    return by_milliseconds(np.bincount(series, minlength=len(ids)), samples.ts_us, samples.value)


def by_milliseconds(counts: Ints, ts_us: Ints, values: Floats) -> SampleColumns:
    """The same of columns whose times are microseconds yet."""
    ts_ms = ts_us // 1000
    repeated = ts_ms[1:] == ts_ms[:-1]
    if repeated.any():
        series = np.repeat(np.arange(len(counts)), counts)
        kept = np.append(~(repeated & (series[1:] == series[:-1])), True)
        ts_ms, values = ts_ms[kept], values[kept]
        counts = np.bincount(series[kept], minlength=len(counts))
    return SampleColumns(counts, ts_ms, values)


def carry_on(columns: SampleColumns, every_ms: int, for_ms: int) -> SampleColumns:
    """Each sample again every `every_ms`, until the next one of its series or for less than `for_ms`."""
    if not len(columns.ts_ms):
        return columns
    lasts = np.zeros(len(columns.ts_ms), bool)
    lasts[(np.cumsum(columns.counts) - 1)[columns.counts > 0]] = True
    gaps = np.append(np.diff(columns.ts_ms), for_ms)
    gaps[lasts] = for_ms
    times = -(-np.minimum(gaps, for_ms) // every_ms)
    again = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
    series = np.repeat(np.arange(len(columns.counts)), columns.counts)
    return SampleColumns(
        np.bincount(np.repeat(series, times), minlength=len(columns.counts)),
        np.repeat(columns.ts_ms, times) + again * every_ms,
        np.repeat(columns.values.view(np.int64), times).view(np.float64),
    )


def split_hours(columns: SampleColumns, first_hour: int, hours: int) -> list[SampleColumns]:
    """Samples of `hours` hours from `first_hour` on (counted from 1970), hour by hour."""
    if hours == 1:
        return [columns]
    series = len(columns.counts)
    hour = columns.ts_ms // HOUR_MS - first_hour
    place = np.repeat(np.arange(series), columns.counts)
    counts = np.bincount(hour * series + place, minlength=hours * series).reshape(hours, series)
    # Small integers are sorted by radix, and a stable order keeps that of series and times.
    order = np.argsort(hour.astype(np.int16) if hours < 1 << 15 else hour, kind="stable")
    ts_ms, values = columns.ts_ms[order], columns.values[order]
    ends = np.cumsum(counts.sum(axis=1))
    return [
        # Copies, because a part that is kept would keep all of it.
        SampleColumns(counts[i].copy(), ts_ms[end - size : end].copy(), values[end - size : end].copy())
        for i, (end, size) in enumerate(zip(ends, counts.sum(axis=1), strict=True))
    ]


def join_series(parts: Sequence[SampleColumns]) -> SampleColumns:
    """Samples of series, then of others."""
    return SampleColumns(
        np.concatenate([part.counts for part in parts]),
        np.concatenate([part.ts_ms for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


def join_hours(parts: Sequence[SampleColumns], series: int) -> SampleColumns:
    """The other way round, parts in the order of their hours. One that knows fewer series than `series` has none of the rest."""
    if len(parts) == 1 and len(parts[0].counts) == series:
        return parts[0]
    counts = np.zeros((len(parts), series), np.int64)
    for row, part in zip(counts, parts, strict=True):
        row[: len(part.counts)] = part.counts
    total = counts.sum(axis=0)
    if series and (counts == counts[:, :1]).all():
        # Series that all report alike, as they mostly do, lie side by side already.
        return SampleColumns(
            total,
            np.concatenate([part.ts_ms.reshape(series, -1) for part in parts], axis=1).ravel(),
            np.concatenate([part.values.reshape(series, -1) for part in parts], axis=1).ravel(),
        )
    ts_ms, values = np.empty(total.sum(), np.int64), np.empty(total.sum(), np.float64)
    begins = np.cumsum(total) - total
    for row, part in zip(counts, parts, strict=True):
        places = np.repeat(begins - (np.cumsum(row) - row), row) + np.arange(len(part.ts_ms))
        ts_ms[places] = part.ts_ms
        # As integers: to copy a float might make a signalling NaN quiet.
        values.view(np.int64)[places] = part.values.view(np.int64)
        begins = begins + row
    return SampleColumns(total, ts_ms, values)
