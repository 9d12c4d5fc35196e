"""Cleans logs: topic `logs.raw` (request bodies) -> topic `logs` (Arrow columns), one message each."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from topics import log_columns
from topics.errors import Refused
from topics.log_records import LogRecord, read_log_timestamps, read_logs
from topics.raw import Headers, RawBatch

_READERS = {"native": read_logs}
"""Wire format -> how its bodies are read."""


def normalize_logs(batch: RawBatch, *, partition: int, offset: int) -> pa.RecordBatch:
    """The columns of one raw batch, which stood at (partition, offset) of `logs.raw`.

    Timestamps become nanoseconds, levels lower case, ids are made of where the batch stood. Raises `Refused` for a body
    that the gateway should not have let through.
    """
    read = _READERS.get(batch.format)
    if read is None or batch.encoding != "identity":
        raise Refused(f"cannot read a batch in format {batch.format}, encoding {batch.encoding}", code="bad_message")
    logs = read(batch.body)
    rows = len(logs)
    columns = {
        "org_id": pa.repeat(pa.scalar(batch.org_id, pa.string()), rows),
        "ts": pa.array(read_log_timestamps(logs), pa.int64()).view(pa.timestamp("ns", "UTC")),
        "record_id": pa.array(log_columns.record_ids(partition, offset, rows), pa.uint64()),
        "service": pa.array([log.service for log in logs], pa.string()),
        "level": pc.utf8_lower(pa.array([log.level for log in logs], pa.string())),
        "message": pa.array([log.message for log in logs], pa.string()),
        "trace_id": pa.array([log.trace_id or "" for log in logs], pa.string()),
        "span_id": pa.array([log.span_id or "" for log in logs], pa.string()),
        "host": pa.array([log.host or "" for log in logs], pa.string()),
        "environment": pa.array([log.environment or "" for log in logs], pa.string()),
        "version": pa.array([log.version or "" for log in logs], pa.string()),
        "attributes": pa.array([_attributes(log) for log in logs], pa.string()),
        "received_at": pa.repeat(pa.scalar(batch.received_at_ms, pa.int64()), rows).view(pa.timestamp("ms", "UTC")),
        "retention_days": pa.repeat(pa.scalar(batch.retention_days, pa.uint16()), rows),
    }
    return pa.record_batch([columns[name] for name in log_columns.SCHEMA.names], schema=log_columns.SCHEMA)


def message_of(columns: pa.RecordBatch) -> tuple[bytes, Headers]:
    """The message on `logs` for a batch: its bytes, and headers that say what they are without reading them."""
    return log_columns.encode(columns), [
        ("schema", log_columns.SCHEMA_VERSION),
        ("rows", b"%d" % columns.num_rows),
        ("bytes", b"%d" % columns.nbytes),
    ]


def _attributes(log: LogRecord) -> bytes:
    text = bytes(log.attributes)
    return b"{}" if text == b"null" else text
