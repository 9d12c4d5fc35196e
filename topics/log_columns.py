"""Normalized logs: the columns of a message on `logs`, in the order of the ClickHouse table `logs`."""

from __future__ import annotations

import pyarrow as pa

from topics.arrow_messages import MILLISECONDS, NANOSECONDS, TEXT, ArrowMessages

LOG_MESSAGES = ArrowMessages(
    b"logs/1",
    [
        ("org_id", TEXT),
        ("ts", NANOSECONDS),
        ("record_id", pa.uint64()),
        ("service", TEXT),
        ("level", TEXT),
        ("message", TEXT),
        ("trace_id", TEXT),
        ("span_id", TEXT),
        ("host", TEXT),
        ("environment", TEXT),
        ("version", TEXT),
        ("attributes", TEXT),
        ("received_at", MILLISECONDS),
        ("retention_days", pa.uint16()),
    ],
)
SCHEMA = LOG_MESSAGES.schema
