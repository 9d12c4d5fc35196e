"""Columns of records <-> the bytes of one message: an Arrow record batch, ready for ClickHouse.

A message holds the encapsulated record batch alone, lz4 buffers, without the schema, which both sides know by its version
(a header). So a block for ClickHouse is made by joining bytes: schema + batch + batch + ... + end of stream.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from topics.errors import Refused
from topics.raw import Headers

_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_LZ4 = pa.ipc.IpcWriteOptions(compression="lz4")
_PLAIN = pa.ipc.IpcWriteOptions()
_ROWS_WORTH_A_BATCH = 100
_LZ4_FROM_ROWS = 32  # buffers of a few rows only grow when compressed

TEXT = pa.string()
NANOSECONDS = pa.timestamp("ns", "UTC")
MILLISECONDS = pa.timestamp("ms", "UTC")


class ArrowMessages:
    """The messages of one schema. `version` names it in the message header `schema`; column order is that of the table."""

    def __init__(self, version: bytes, columns: Sequence[tuple[str, pa.DataType]]) -> None:
        self.version = version
        self.schema = pa.schema(columns)
        self._head: bytes = self.schema.serialize().to_pybytes()

    def message(self, batch: pa.RecordBatch) -> tuple[bytes, Headers]:
        """The message of a batch: its bytes, and headers that say what they are without reading them."""
        return self.encode(batch), [
            ("schema", self.version),
            ("rows", b"%d" % batch.num_rows),
            ("bytes", b"%d" % batch.nbytes),
        ]

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """One record batch with this schema -> message bytes."""
        sink = pa.BufferOutputStream()
        options = _LZ4 if batch.num_rows >= _LZ4_FROM_ROWS else _PLAIN
        with pa.ipc.new_stream(sink, self.schema, options=options) as writer:
            writer.write_batch(batch)
        stream: bytes = sink.getvalue().to_pybytes()
        return stream[len(self._head) : -len(_END)]

    def decode(self, message: bytes) -> pa.RecordBatch:
        """Message bytes -> the record batch. Raises `Refused` for anything that is not one."""
        try:
            return pa.ipc.read_record_batch(pa.py_buffer(message), self.schema)
        except (pa.ArrowInvalid, OSError, EOFError) as exc:
            raise Refused(f"cannot read a message of {self.version.decode()}: {exc}", code="bad_message") from exc

    def join(self, messages: Sequence[bytes], rows: int) -> bytes:
        """Messages of `rows` rows in all, in order -> one Arrow stream that ClickHouse reads as `FORMAT ArrowStream`.

        Batches of a few rows are made one first: ClickHouse spends some 200 us on a batch, however small it is, and this 20.
        Raises `Refused` when such a message cannot be read.
        """
        if rows < len(messages) * _ROWS_WORTH_A_BATCH:
            table = pa.Table.from_batches([self.decode(message) for message in messages], self.schema).combine_chunks()
            messages = [self.encode(batch) for batch in table.to_batches()]
        return b"".join([self._head, *messages, _END])
