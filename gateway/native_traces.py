"""POST /v1/traces in Aegis' own JSON: checked here, sent on as it came."""

from __future__ import annotations

from gateway.ingest import WireFormat
from topics.names import TRACES_RAW
from topics.span_records import read_span_times, read_spans


def check_native_traces(body: bytes) -> int:
    """How many spans the body holds. Raises `Refused` naming the field at fault, times included."""
    spans = read_spans(body)
    read_span_times(spans)
    return len(spans)


NATIVE_TRACES = WireFormat(
    signal="traces", name="native", topic=TRACES_RAW, content_type=b"application/json", check=check_native_traces
)
