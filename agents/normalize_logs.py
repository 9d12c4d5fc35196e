"""Cleans logs: topic `logs.raw` (request bodies) -> topic `logs` (Arrow columns), one message each."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from agents.raw_batches import read_batch, record_batch, shared_columns, texts
from topics.arrow_messages import NANOSECONDS
from topics.json_requests import json_text
from topics.log_columns import LOG_MESSAGES
from topics.log_records import read_log_timestamps, read_logs
from topics.raw import Headers, RawBatch

_READERS = {"native": read_logs}
"""Wire format -> how its bodies are read."""


def normalize_logs(batch: RawBatch, *, partition: int, offset: int) -> tuple[bytes, Headers]:
    """The message on `logs` for one raw batch, which stood at (partition, offset) of `logs.raw`.

    Timestamps become nanoseconds, levels lower case, ids are made of where the batch stood. Raises `Refused` for a body
    that the gateway should not have let through.
    """
    logs = read_batch(batch, _READERS)
    columns = shared_columns(batch, partition=partition, offset=offset, rows=len(logs)) | {
        "ts": pa.array(read_log_timestamps(logs), pa.int64()).view(NANOSECONDS),
        "service": pa.array([log.service for log in logs], pa.string()),
        "level": pc.utf8_lower(pa.array([log.level for log in logs], pa.string())),
        "message": pa.array([log.message for log in logs], pa.string()),
        "trace_id": texts([log.trace_id for log in logs]),
        "span_id": texts([log.span_id for log in logs]),
        "host": texts([log.host for log in logs]),
        "environment": texts([log.environment for log in logs]),
        "version": texts([log.version for log in logs]),
        "attributes": pa.array([json_text(log.attributes, absent=b"{}") for log in logs], pa.string()),
    }
    return LOG_MESSAGES.message(record_batch(columns, LOG_MESSAGES.schema))
