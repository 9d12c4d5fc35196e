"""Columns of samples <-> PostgreSQL's binary COPY, with numpy: no Python object a sample.

The format: https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format". A row is a count of fields, then each field's
length and bytes, all big-endian; timestamps are microseconds since 2000-01-01. Bits of a NaN pass unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter

import asyncpg
import numpy as np
import numpy.typing as npt

from topics.errors import Unavailable

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# 1970 to 2000, in microseconds.
POSTGRES_EPOCH_US = 946_684_800_000_000

# The columns of the table `metrics`, in the order of COLUMNS; the odd fields are the lengths.
COLUMNS = ("ts", "value", "block", "series_id")
_WRITTEN = np.dtype(
    {
        "names": ["fields", "l0", "ts", "l1", "value", "l2", "block", "l3", "series_id"],
        "formats": [">i2", ">i4", ">i8", ">i4", ">f8", ">i4", ">i8", ">i4", ">i4"],
    }
)
# The columns of the statement `read_samples`.
_READ = np.dtype(
    {
        "names": ["fields", "l0", "series_id", "l1", "ts", "l2", "block", "l3", "value"],
        "formats": [">i2", ">i4", ">i4", ">i4", ">i8", ">i4", ">i8", ">i4", ">f8"],
    }
)


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples in order of (series, time), one a time: three columns of one length. `ts_us` is unix microseconds."""

    series_id: npt.NDArray[np.int32]
    ts_us: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]


def in_order(samples: Samples) -> Samples:
    """Sort by series and time; of several samples of one series and time the last one given stays.

    A sorted block is what makes its index entries neighbours: it halves the cost of writing them.
    """
    order = np.lexsort((samples.ts_us, samples.series_id))
    series_id, ts_us = samples.series_id[order], samples.ts_us[order]
    repeated = (series_id[1:] == series_id[:-1]) & (ts_us[1:] == ts_us[:-1])
    if repeated.any():
        kept = np.append(~repeated, True)
        order, series_id, ts_us = order[kept], series_id[kept], ts_us[kept]
    return Samples(series_id, ts_us, samples.value[order])


def encode_copy(samples: Samples, block: int) -> bytes:
    """Samples -> the bytes of `COPY metrics (ts, value, block, series_id) FROM STDIN (FORMAT binary)`."""
    rows = np.empty(len(samples.value), _WRITTEN)
    rows["fields"] = len(COLUMNS)
    rows["l0"] = rows["l1"] = rows["l2"] = 8
    rows["l3"] = 4
    rows["ts"] = samples.ts_us - POSTGRES_EPOCH_US
    # Through integers: a conversion of floats might make a signalling NaN quiet.
    rows["value"].view(">i8")[:] = samples.value.view(np.int64)
    rows["block"] = block
    rows["series_id"] = samples.series_id
    return b"".join((HEADER, rows.tobytes(), TRAILER))


def copy_bytes(samples: int) -> int:
    """The length of an answer of so many rows."""
    return len(HEADER) + samples * _READ.itemsize + len(TRAILER)


def decode_copy(answer: bytes | bytearray) -> Samples:
    """The bytes of COPY (read_samples) TO STDOUT (FORMAT binary) -> samples in order, the later write where two share a time.

    Raises `Unavailable` for an answer that is cut off.
    """
    body = memoryview(answer)[len(HEADER) : max(len(HEADER), len(answer) - len(TRAILER))]
    if not answer.startswith(HEADER) or not answer.endswith(TRAILER) or len(body) % _READ.itemsize:
        raise Unavailable("cannot read samples: the answer is not whole")
    rows = np.frombuffer(body, _READ)
    # Blocks are stored in order of series and time, so a stable sort by series finds long runs and leaves little to do.
    order = np.argsort(rows["series_id"], kind="stable")
    samples = _columns(rows, order)
    advances = samples.ts_us[1:] > samples.ts_us[:-1]
    if not (advances | (samples.series_id[1:] != samples.series_id[:-1])).all():
        by_block = np.argsort(rows["block"], kind="stable")
        return in_order(_columns(rows, by_block))
    return samples


def samples_of(rows: Sequence[asyncpg.Record]) -> Samples:
    """The rows of `read_samples` -> samples as `decode_copy` gives them."""
    by_block = sorted(rows, key=itemgetter(2))
    n = len(by_block)
    return in_order(
        Samples(
            np.fromiter((row[0] for row in by_block), np.int32, n),
            np.fromiter(((row[1] - _EPOCH) // _MICROSECOND for row in by_block), np.int64, n),
            np.fromiter((row[3] for row in by_block), np.float64, n),
        )
    )


def _columns(rows: npt.NDArray[np.void], order: npt.NDArray[np.intp]) -> Samples:
    return Samples(
        rows["series_id"][order].astype(np.int32),
        rows["ts"][order].astype(np.int64) + POSTGRES_EPOCH_US,
        rows["value"].view(">i8")[order].astype(np.int64).view(np.float64),
    )
