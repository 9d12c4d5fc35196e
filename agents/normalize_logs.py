"""Cleans logs: topic `logs.raw` (request bodies) -> topic `logs` (Arrow columns), one message each."""

from __future__ import annotations

import pyarrow as pa

from agents.arrival_times import clamp_future, keep_originals
from agents.raw_batches import Keep, read_batch, record_batch, shared_columns, texts
from agents.scrubbing import UNSCRUBBED, Scrub
from enrichment.attributes import Enrichment
from topics.arrow_messages import NANOSECONDS
from topics.json_requests import json_text
from topics.levels import normalize_levels
from topics.log_columns import LOG_MESSAGES
from topics.log_records import read_log_timestamps, read_logs
from topics.raw import Headers, RawBatch
from topics.trace_ids import normalize_ids

_READERS = {"native": read_logs}
"""Wire format -> how its bodies are read."""


def normalize_logs(
    batch: RawBatch,
    *,
    partition: int,
    offset: int,
    enrichment: Enrichment | None = None,
    scrub: Scrub = UNSCRUBBED,
    keep: Keep | None = None,
) -> tuple[bytes, Headers]:
    """The message on `logs` for one raw batch, which stood at (partition, offset) of `logs.raw`.

    Timestamps become nanoseconds, levels one scale, ids of traces one form, and ids of records are made of where the batch
    stood. `enrichment` sees attributes before `scrub` does. Raises `Refused` for a body that the gateway should not have let
    through.
    """
    logs = read_batch(batch, _READERS)
    times, late = clamp_future(read_log_timestamps(logs), received_at_ms=batch.received_at_ms, signal="logs")
    attributes = keep_originals([json_text(log.attributes, absent=b"{}") for log in logs], late)
    if enrichment is not None:
        attributes = enrichment.enrich(attributes)
    columns = shared_columns(batch, partition=partition, offset=offset, rows=len(logs)) | {
        "ts": pa.array(times, pa.int64()).view(NANOSECONDS),
        "service": pa.array([log.service for log in logs], pa.string()),
        "level": pa.array(normalize_levels([log.level for log in logs]), pa.string()),
        "message": pa.array(scrub.texts([log.message for log in logs]), pa.string()),
        "trace_id": pa.array(normalize_ids([log.trace_id for log in logs]), pa.string()),
        "span_id": pa.array(normalize_ids([log.span_id for log in logs]), pa.string()),
        "host": texts([log.host for log in logs]),
        "environment": texts([log.environment for log in logs]),
        "version": texts([log.version for log in logs]),
        "attributes": pa.array(scrub.json_texts(attributes), pa.string()),
    }
    rows = record_batch(columns, LOG_MESSAGES.schema)
    if keep is not None:
        keep(rows)
    return LOG_MESSAGES.message(rows)
