"""Normalized spans: the columns of a message on `traces`, in the order of the ClickHouse table `spans`."""

from __future__ import annotations

import pyarrow as pa

from topics.arrow_messages import MILLISECONDS, NANOSECONDS, TEXT, ArrowMessages

SPAN_MESSAGES = ArrowMessages(
    b"spans/1",
    [
        ("org_id", TEXT),
        ("ts", NANOSECONDS),
        ("record_id", pa.uint64()),
        ("trace_id", TEXT),
        ("span_id", TEXT),
        ("parent_span_id", TEXT),
        ("service", TEXT),
        ("operation", TEXT),
        ("kind", TEXT),
        ("duration_ns", pa.uint64()),
        ("status", TEXT),
        ("status_message", TEXT),
        ("attributes", TEXT),
        ("events", TEXT),
        ("links", TEXT),
        ("received_at", MILLISECONDS),
        ("retention_days", pa.uint16()),
    ],
)
SCHEMA = SPAN_MESSAGES.schema
