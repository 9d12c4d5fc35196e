"""POST /v1/logs in Aegis' own JSON: checked here, sent on as it came."""

from __future__ import annotations

from gateway.ingest import WireFormat
from topics.log_records import read_log_timestamps, read_logs
from topics.names import LOGS_RAW


def check_native_logs(body: bytes) -> int:
    """How many logs the body holds. Raises `Refused` naming the field at fault, timestamps included."""
    logs = read_logs(body)
    read_log_timestamps(logs)
    return len(logs)


NATIVE_LOGS = WireFormat(
    signal="logs", name="native", topic=LOGS_RAW, content_type=b"application/json", check=check_native_logs
)
