"""A raw batch -> its body, if the agent can read it, and the columns that every record of it shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import pyarrow as pa

from topics.arrow_messages import MILLISECONDS
from topics.content_encoding import IDENTITY, decoded
from topics.errors import Refused
from topics.names import LOGS, METRICS, RUM, TRACES
from topics.raw import RawBatch
from topics.record_ids import record_ids
from topics.usage_counts import UsageCounts, day_of

T = TypeVar("T")

Keep = Callable[[Any], object]
"""Is given the columns of a batch before they become a message, for whoever else wants to see them."""

DECODED_BYTES_MAX = 256 << 20
"""What the gateway's own bound (AEGIS_DECODED_BYTES_MAX) may be set to at most."""


def read_batch(batch: RawBatch, readers: Mapping[str, Callable[[bytes], T]]) -> T:
    """The records of a batch; `readers` go by wire format. Raises `Refused` for what the gateway should not have let through."""
    read = readers.get(batch.format)
    if read is None:
        raise Refused(f"cannot read a batch in format {batch.format}", code="bad_message")
    return read(without_encoding(batch).body)


def without_encoding(batch: RawBatch) -> RawBatch:
    """The batch with its body as the sender had it before compressing."""
    if batch.encoding == IDENTITY:
        return batch
    body = decoded(batch.body, batch.encoding, bytes_max=DECODED_BYTES_MAX)
    return replace(batch, body=body, encoding=IDENTITY)


def usage_of(batch: RawBatch, topic: str, rows: int, scrubbed: Mapping[str, int]) -> UsageCounts:
    """What a batch, without its encoding, adds to its organization's usage; `topic` is that of its normalized records."""
    counts = UsageCounts(batch.org_id, day_of(batch.received_at_ms), scrubbed=dict(scrubbed))
    if topic == LOGS:
        counts.logs_count, counts.logs_bytes = rows, len(batch.body)
    elif topic == METRICS:
        counts.metrics_count = rows
    elif topic == TRACES:
        counts.spans_count = rows
    elif topic == RUM:
        counts.rum_events = rows
    return counts


def shared_columns(batch: RawBatch, *, partition: int, offset: int, rows: int) -> dict[str, pa.Array[Any]]:
    """Whose the records are, when they came, how long they stay, and their ids, made of where the batch stood."""
    return {
        "org_id": pa.repeat(pa.scalar(batch.org_id, pa.string()), rows),
        "record_id": pa.array(record_ids(partition, offset, rows), pa.uint64()),
        "received_at": pa.repeat(pa.scalar(batch.received_at_ms, pa.int64()), rows).view(MILLISECONDS),
        "retention_days": pa.repeat(pa.scalar(batch.retention_days, pa.uint16()), rows),
    }


def record_batch(columns: Mapping[str, pa.Array[Any]], schema: pa.Schema) -> pa.RecordBatch:
    """The columns in the order of a schema."""
    return pa.record_batch([columns[name] for name in schema.names], schema=schema)


def texts(values: list[str | None]) -> pa.Array[Any]:
    """A column of texts; absent ones are ""."""
    return pa.array([value or "" for value in values], pa.string())
