"""The answer of COPY (read_samples without blocks) in parts -> samples series by series, with numpy.

A part is taken apart while the next one is on its way, and while it is in the processor's cache. Blocks decide only between two
writes of one time; where those are met, the samples are read again with them (storage/metric_samples.py, which has the format).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from storage.metric_samples import HEADER, POSTGRES_EPOCH_US, TRAILER
from topics.errors import Unavailable

Ints = npt.NDArray[np.int64]

_ROW = np.dtype(
    {
        "names": ["fields", "l0", "series_id", "l1", "ts", "l2", "value"],
        "formats": [">i2", ">i4", ">i4", ">i4", ">i8", ">i4", ">f8"],
    }
)


class SampleAnswer:
    """Takes the parts of one answer, which may end anywhere, and gives its samples when it is whole."""

    def __init__(self) -> None:
        self.rows = 0
        self._begun = False
        self._rest = b""
        self._series: list[npt.NDArray[np.int32]] = []
        self._times: list[Ints] = []
        self._values: list[Ints] = []

    def take(self, part: bytes) -> None:
        """The next part."""
        part = self._rest + part
        begin = 0 if self._begun else len(HEADER)
        if len(part) < begin:
            self._rest = part
            return
        self._begun = True
        count = (len(part) - begin) // _ROW.itemsize
        self._rest = part[begin + count * _ROW.itemsize :]
        if count:
            rows = np.frombuffer(part, _ROW, count, begin)
            self.rows += count
            self._series.append(rows["series_id"].astype(np.int32))
            self._times.append(rows["ts"].astype(np.int64))
            # Through integers: a conversion of floats might make a signalling NaN quiet.
            self._values.append(rows["value"].view(">i8").astype(np.int64))

    def columns(self, ids: npt.NDArray[np.int32]) -> tuple[Ints, Ints, npt.NDArray[np.float64]] | None:
        """Of the series `ids` (rising), which have all rows: how many samples each has, then times (unix microseconds, rising
        within a series) and values, series by series. None where two samples share a time.

        Raises `Unavailable` for an answer that is cut off.
        """
        if not self._begun or self._rest != TRAILER:
            raise Unavailable("cannot read samples: the answer is not whole")
        if not self.rows:
            return np.zeros(len(ids), np.int64), np.empty(0, np.int64), np.empty(0, np.float64)
        series = np.concatenate(self._series)
        # Runs of one series are put in order, rather than samples: blocks are stored in order of series and time.
        begins = np.concatenate(([0], np.flatnonzero(series[1:] != series[:-1]) + 1))
        sizes = np.diff(begins, append=len(series))
        place = np.searchsorted(ids, series[begins])
        # Small integers are sorted by radix.
        order = np.argsort(place.astype(np.int16) if len(ids) < 1 << 15 else place, kind="stable")
        ordered = sizes[order]
        rows = np.repeat(begins[order] - (np.cumsum(ordered) - ordered), ordered) + np.arange(len(series))
        counts = np.bincount(place, weights=sizes, minlength=len(ids)).astype(np.int64)
        times, values = np.concatenate(self._times)[rows], np.concatenate(self._values)[rows]
        if not _rise(times, counts):
            by_time = np.lexsort((times, np.repeat(np.arange(len(ids)), counts)))
            times, values = times[by_time], values[by_time]
            if not _rise(times, counts):
                return None
        times += POSTGRES_EPOCH_US
        return counts, times, values.view(np.float64)


def _rise(times: Ints, counts: Ints) -> bool:
    """Whether times rise within each series."""
    rises = times[1:] > times[:-1]
    ends = np.cumsum(counts)
    rises[ends[(ends > 0) & (ends < len(times))] - 1] = True
    return bool(rises.all())
