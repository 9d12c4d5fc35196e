"""Normalized logs <-> the bytes of one message on `logs`: an Arrow record batch, ready for ClickHouse.

A message holds the encapsulated record batch alone, lz4 buffers, without the schema, which both sides know by its version
(a header). So a block for ClickHouse is made by joining bytes: schema + batch + batch + ... + end of stream.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from topics.errors import Refused

SCHEMA_VERSION = b"logs/1"

_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("org_id", pa.string()),
    ("ts", pa.timestamp("ns", "UTC")),
    ("record_id", pa.uint64()),
    ("service", pa.string()),
    ("level", pa.string()),
    ("message", pa.string()),
    ("trace_id", pa.string()),
    ("span_id", pa.string()),
    ("host", pa.string()),
    ("environment", pa.string()),
    ("version", pa.string()),
    ("attributes", pa.string()),
    ("received_at", pa.timestamp("ms", "UTC")),
    ("retention_days", pa.uint16()),
]
SCHEMA = pa.schema(_COLUMNS)
"""Column order is that of the ClickHouse table `logs`."""

_HEAD: bytes = SCHEMA.serialize().to_pybytes()
_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_LZ4 = pa.ipc.IpcWriteOptions(compression="lz4")
_PLAIN = pa.ipc.IpcWriteOptions()
_ROWS_WORTH_A_BATCH = 100
_LZ4_FROM_ROWS = 32  # buffers of a few rows only grow when compressed


def encode(batch: pa.RecordBatch) -> bytes:
    """One record batch with `SCHEMA` -> message bytes."""
    sink = pa.BufferOutputStream()
    options = _LZ4 if batch.num_rows >= _LZ4_FROM_ROWS else _PLAIN
    with pa.ipc.new_stream(sink, SCHEMA, options=options) as writer:
        writer.write_batch(batch)
    stream: bytes = sink.getvalue().to_pybytes()
    return stream[len(_HEAD) : -len(_END)]


def decode(message: bytes) -> pa.RecordBatch:
    """Message bytes -> the record batch. Raises `Refused` for anything that is not one."""
    try:
        return pa.ipc.read_record_batch(pa.py_buffer(message), SCHEMA)
    except (pa.ArrowInvalid, OSError, EOFError) as exc:
        raise Refused(f"cannot read a logs message: {exc}", code="bad_message") from exc


def join(messages: Sequence[bytes], rows: int) -> bytes:
    """Messages of `rows` rows in all, in order -> one Arrow stream that ClickHouse reads as `FORMAT ArrowStream`.

    Batches of a few rows are made one first: ClickHouse spends some 200 us on a batch, however small it is, and this 20.
    Raises `Refused` when such a message cannot be read.
    """
    if rows < len(messages) * _ROWS_WORTH_A_BATCH:
        table = pa.Table.from_batches([decode(message) for message in messages], SCHEMA).combine_chunks()
        messages = [encode(batch) for batch in table.to_batches()]
    return b"".join([_HEAD, *messages, _END])


def record_ids(partition: int, offset: int, rows: int) -> range:
    """Ids for the records of one raw message: 8 bits partition, 46 bits offset, 10 bits index.

    Unique within a transport's incarnation and the same when the message is handled again, so a record keeps its id
    through any crash. `rows` is at most 1024.
    """
    if not (0 <= partition < 256 and 0 <= offset < 1 << 46 and 0 <= rows <= 1024):
        raise ValueError(f"cannot make record ids for partition {partition}, offset {offset}, {rows} rows")
    first = partition << 56 | offset << 10
    return range(first, first + rows)
