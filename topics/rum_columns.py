"""Normalized RUM events: the columns of a message on `rum`, in the order of the ClickHouse table `rum_events`."""

from __future__ import annotations

import pyarrow as pa

from topics.arrow_messages import MILLISECONDS, NANOSECONDS, TEXT, ArrowMessages

RUM_MESSAGES = ArrowMessages(
    b"rum/1",
    [
        ("org_id", TEXT),
        ("ts", NANOSECONDS),
        ("record_id", pa.uint64()),
        ("type", TEXT),
        ("session_id", TEXT),
        ("view_id", TEXT),
        ("page_url", TEXT),
        ("page_path", TEXT),
        ("user_id", TEXT),
        ("name", TEXT),
        ("value", pa.float64()),
        ("error_type", TEXT),
        ("error_message", TEXT),
        ("error_stack", TEXT),
        ("country", TEXT),
        ("region", TEXT),
        ("city", TEXT),
        ("timezone", TEXT),
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
        ("browser", TEXT),
        ("browser_version", TEXT),
        ("os", TEXT),
        ("device_type", TEXT),
        ("is_bot", pa.uint8()),
        ("client", TEXT),
        ("attributes", TEXT),
        ("received_at", MILLISECONDS),
        ("retention_days", pa.uint16()),
    ],
)
SCHEMA = RUM_MESSAGES.schema
