"""POST /v1/metrics in Aegis' own JSON: checked here, sent on as it came."""

from __future__ import annotations

from gateway.ingest import WireFormat
from topics.metric_records import read_metric_timestamps, read_metrics, read_series
from topics.names import METRICS_RAW


def check_native_metrics(body: bytes) -> int:
    """How many points the body holds. Raises `Refused` naming the field at fault, labels and timestamps included."""
    points = read_metrics(body)
    read_series(points)
    read_metric_timestamps(points, received_at_ms=0)
    return len(points)


NATIVE_METRICS = WireFormat(
    signal="metrics", name="native", topic=METRICS_RAW, content_type=b"application/json", check=check_native_metrics
)
