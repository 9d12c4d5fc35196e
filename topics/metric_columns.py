"""Normalized metric points <-> the bytes of one message on `metrics`: an Arrow stream of (series, ts, value).

A series rides once a message, as a dictionary value: the JSON text of `[name, {label: value}, type, unit]`, labels sorted by
name, no spaces. The store looks those bytes up as they are, so a known series costs one dictionary access a message, however
many points it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from topics.errors import Refused

SCHEMA_VERSION = b"metrics/1"

SCHEMA = pa.schema(
    [
        ("series", pa.dictionary(pa.int32(), pa.binary())),
        ("ts", pa.timestamp("us", "UTC")),
        ("value", pa.float64()),
    ]
)

_LZ4 = pa.ipc.IpcWriteOptions(compression="lz4")
_PLAIN = pa.ipc.IpcWriteOptions()
_LZ4_FROM_ROWS = 32  # buffers of a few rows only grow when compressed


class Series(msgspec.Struct, array_like=True, frozen=True):
    """What a point belongs to. `name` and `labels` are its identity; `type` and `unit` describe the metric."""

    name: str
    labels: dict[str, str]
    type: str
    unit: str


_SERIES_ENCODER = msgspec.json.Encoder(order="sorted")
_SERIES_DECODER = msgspec.json.Decoder(Series)


@dataclass(frozen=True, slots=True)
class MetricBatch:
    """The points of one message, all of one organization.

    Point i belongs to `series[index[i]]`, lies at `ts_us[i]` (unix microseconds) and has `value[i]`, whose NaN bits are kept.
    """

    series: list[bytes]
    index: npt.NDArray[np.int32]
    ts_us: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]

    @property
    def points(self) -> int:
        """How many points."""
        return len(self.value)


def encode_series(series: Series) -> bytes:
    """The one text of a series: equal series give equal bytes."""
    return _SERIES_ENCODER.encode(series)


def decode_series(text: bytes) -> Series:
    """The other way round. Raises `Refused` for anything that `encode_series` did not make."""
    try:
        return _SERIES_DECODER.decode(text)
    except msgspec.MsgspecError as exc:
        raise Refused(f"cannot read a series: {exc}", code="bad_message") from exc


def encode(batch: MetricBatch) -> bytes:
    """Points -> message bytes."""
    columns = [
        pa.DictionaryArray.from_arrays(
            pa.array(batch.index, pa.int32()), pa.array(batch.series, pa.binary()), safe=False
        ),
        pa.array(batch.ts_us, pa.int64()).view(pa.timestamp("us", "UTC")),
        pa.array(batch.value, pa.float64()),
    ]
    sink = pa.BufferOutputStream()
    options = _LZ4 if batch.points >= _LZ4_FROM_ROWS else _PLAIN
    with pa.ipc.new_stream(sink, SCHEMA, options=options) as writer:
        writer.write_batch(pa.record_batch(columns, schema=SCHEMA))
    message: bytes = sink.getvalue().to_pybytes()
    return message


def decode(message: bytes) -> MetricBatch:
    """Message bytes -> points. Raises `Refused` for anything that `encode` did not make."""
    try:
        with pa.ipc.open_stream(pa.py_buffer(message)) as reader:
            if reader.schema != SCHEMA:
                raise Refused(f"cannot read a metrics message: its columns are {reader.schema}", code="bad_message")
            batch = reader.read_next_batch()
        series = cast(Any, batch.column(0))  # the stubs do not know what kind of array a column is
        columns = MetricBatch(
            series=series.dictionary.to_pylist(),
            index=series.indices.to_numpy(),
            ts_us=batch.column(1).view(pa.int64()).to_numpy(),
            value=batch.column(2).to_numpy(),
        )
    except (pa.ArrowInvalid, OSError, EOFError, StopIteration) as exc:
        raise Refused(f"cannot read a metrics message: {exc}", code="bad_message") from exc
    if columns.points and not 0 <= columns.index.min() <= columns.index.max() < len(columns.series):
        raise Refused("cannot read a metrics message: a point belongs to no series", code="bad_message")
    return columns
