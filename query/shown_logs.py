"""A stored log -> what the API shows of it."""

from __future__ import annotations

from typing import Any, Final

from query.stored_json import shown_json
from storage.logs import LogRow
from topics.timestamps import format_timestamp

LOG_EXAMPLE: Final[dict[str, Any]] = {
    "id": "8423011950823473153",
    "timestamp": "2025-10-31T10:00:00.000Z",
    "service": "api",
    "level": "error",
    "message": "Database connection failed",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "span_id": "00f067aa0ba902b7",
    "host": "api-1",
    "environment": "production",
    "version": "1.4.2",
    "attributes": {"http.status_code": 503},
}


def shown_log(row: LogRow) -> dict[str, Any]:
    """One log as the API shows it; attributes go out as the JSON text that they are stored as."""
    return {
        "id": str(row.record_id),
        "timestamp": format_timestamp(row.ts_ns),
        "service": row.service,
        "level": row.level,
        "message": row.message,
        "trace_id": row.trace_id or None,
        "span_id": row.span_id or None,
        "host": row.host or None,
        "environment": row.environment or None,
        "version": row.version or None,
        "attributes": shown_json(row.attributes),
    }
