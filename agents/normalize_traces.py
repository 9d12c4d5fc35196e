"""Cleans spans: topic `traces.raw` (request bodies) -> topic `traces` (Arrow columns), one message each."""

from __future__ import annotations

import pyarrow as pa

from agents.arrival_times import clamp_future, keep_originals
from agents.raw_batches import Keep, read_batch, record_batch, shared_columns
from agents.scrubbing import UNSCRUBBED, Scrub
from enrichment.attributes import Enrichment
from topics.arrow_messages import NANOSECONDS
from topics.json_requests import json_text
from topics.raw import Headers, RawBatch
from topics.span_columns import SPAN_MESSAGES
from topics.span_records import events_text, links_text, read_span_times, read_spans
from topics.trace_ids import normalize_ids

_READERS = {"native": read_spans}
"""Wire format -> how its bodies are read."""


def normalize_traces(
    batch: RawBatch,
    *,
    partition: int,
    offset: int,
    enrichment: Enrichment | None = None,
    scrub: Scrub = UNSCRUBBED,
    keep: Keep | None = None,
) -> tuple[bytes, Headers]:
    """The message on `traces` for one raw batch, which stood at (partition, offset) of `traces.raw`.

    Times become a start and a duration in nanoseconds, ids one form. Raises `Refused` for a body that the gateway should not
    have let through.
    """
    spans = read_batch(batch, _READERS)
    starts, durations = read_span_times(spans)
    starts, late = clamp_future(starts, received_at_ms=batch.received_at_ms, signal="traces")
    attributes = keep_originals([json_text(span.attributes, absent=b"{}") for span in spans], late)
    if enrichment is not None:
        attributes = enrichment.enrich(attributes)
    columns = shared_columns(batch, partition=partition, offset=offset, rows=len(spans)) | {
        "ts": pa.array(starts, pa.int64()).view(NANOSECONDS),
        "trace_id": pa.array(normalize_ids([span.trace_id for span in spans]), pa.string()),
        "span_id": pa.array(normalize_ids([span.span_id for span in spans]), pa.string()),
        "parent_span_id": pa.array(normalize_ids([span.parent_span_id for span in spans]), pa.string()),
        "service": pa.array([span.service for span in spans], pa.string()),
        "operation": pa.array(scrub.texts([span.operation for span in spans]), pa.string()),
        "kind": pa.array([span.kind or "internal" for span in spans], pa.string()),
        "duration_ns": pa.array(durations, pa.uint64()),
        "status": pa.array([span.status or "unset" for span in spans], pa.string()),
        "status_message": pa.array(scrub.texts([span.status_message or "" for span in spans]), pa.string()),
        "attributes": pa.array(scrub.json_texts(attributes), pa.string()),
        "events": pa.array(scrub.json_texts([events_text(span.events) for span in spans]), pa.string()),
        "links": pa.array(scrub.json_texts([links_text(span.links) for span in spans]), pa.string()),
    }
    rows = record_batch(columns, SPAN_MESSAGES.schema)
    if keep is not None:
        keep(rows)
    return SPAN_MESSAGES.message(rows)
