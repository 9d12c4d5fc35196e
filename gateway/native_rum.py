"""POST /v1/rum in Aegis' own JSON: checked here, sent on as it came."""

from __future__ import annotations

from gateway.ingest import WireFormat
from topics.names import RUM_RAW
from topics.rum_records import read_rum_events, read_rum_timestamps


def check_native_rum(body: bytes) -> int:
    """How many events the body holds. Raises `Refused` naming the field at fault, timestamps included."""
    events = read_rum_events(body)
    read_rum_timestamps(events)
    return len(events)


NATIVE_RUM = WireFormat(
    signal="rum",
    name="native",
    topic=RUM_RAW,
    content_type=b"application/json",
    check=check_native_rum,
    from_browser=True,
)
