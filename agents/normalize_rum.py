"""Cleans RUM events: topic `rum.raw` (request bodies) -> topic `rum` (Arrow columns), one message each."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from agents.raw_batches import read_batch, record_batch, shared_columns, texts
from topics.arrow_messages import NANOSECONDS
from topics.json_requests import json_text
from topics.raw import Headers, RawBatch
from topics.rum_columns import RUM_MESSAGES
from topics.rum_records import RumError, read_rum_events, read_rum_timestamps

_READERS = {"native": read_rum_events}
"""Wire format -> how its bodies are read."""

_UNKNOWN: Final = (
    ("country", pa.scalar("")),
    ("region", pa.scalar("")),
    ("city", pa.scalar("")),
    ("timezone", pa.scalar("")),
    ("latitude", pa.scalar(None, pa.float64())),
    ("longitude", pa.scalar(None, pa.float64())),
    ("browser", pa.scalar("")),
    ("browser_version", pa.scalar("")),
    ("os", pa.scalar("")),
    ("device_type", pa.scalar("")),
    ("is_bot", pa.scalar(0, pa.uint8())),
)
"""What only enrichment can tell, and what stands there without it."""

_NO_ERROR = RumError()


def normalize_rum(batch: RawBatch, *, partition: int, offset: int) -> tuple[bytes, Headers]:
    """The message on `rum` for one raw batch, which stood at (partition, offset) of `rum.raw`.

    Raises `Refused` for a body that the gateway should not have let through.
    """
    events = read_batch(batch, _READERS)
    rows = len(events)
    errors = [event.error or _NO_ERROR for event in events]
    columns = shared_columns(batch, partition=partition, offset=offset, rows=rows) | {
        "ts": pa.array(read_rum_timestamps(events), pa.int64()).view(NANOSECONDS),
        "type": pa.array([event.type for event in events], pa.string()),
        "session_id": pa.array([event.session_id for event in events], pa.string()),
        "view_id": texts([event.view_id for event in events]),
        "page_url": texts([event.page_url for event in events]),
        "page_path": texts([event.page_path for event in events]),
        "user_id": texts([event.user_id for event in events]),
        "name": texts([event.name for event in events]),
        "value": pa.array([event.value for event in events], pa.float64()),
        "error_type": texts([error.type for error in errors]),
        "error_message": texts([error.message for error in errors]),
        "error_stack": texts([error.stack for error in errors]),
        "client": pa.array([json_text(event.client, absent=b"{}") for event in events], pa.string()),
        "attributes": pa.array([json_text(event.attributes, absent=b"{}") for event in events], pa.string()),
    }
    columns |= {name: pa.repeat(value, rows) for name, value in _UNKNOWN}
    return RUM_MESSAGES.message(record_batch(columns, RUM_MESSAGES.schema))
