"""A native traces request: JSON text -> `SpanRecord`s, with every bound checked.

These Structs are the only model of an ingested span, as in topics/log_records.py.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET, Meta, Raw, UnsetType

from topics.errors import Refused
from topics.invalid_fields import invalid_field
from topics.json_requests import (
    EMPTY_ARRAY,
    EMPTY_OBJECT,
    TIME_SCHEMA,
    Attributes,
    Name,
    RequestReader,
    ShortText,
    Time,
    check_object,
    json_text,
    read_array,
    read_times,
)
from topics.timestamps import format_timestamp, parse_timestamp
from topics.trace_ids import is_zero, normalize_id, normalize_ids

SPANS_MAX: Final = 500
EVENTS_MAX: Final = 128
LINKS_MAX: Final = 128
DURATION_MS_MAX: Final = 1e12

_NO_ZEROS: Final = {"not": {"pattern": r"^(0[xX])?0{16,}$|^0{8}(-0{4}){3}-0{12}$"}}  # as `is_zero` checks it


class SpanEvent(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """Something that happened at one moment of a span."""

    name: Annotated[str, Meta(min_length=1, max_length=1000)]
    timestamp: Time
    attributes: Attributes = msgspec.field(default_factory=lambda: EMPTY_OBJECT)


class SpanLink(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A span of this or another trace that this one has to do with."""

    trace_id: Name
    span_id: Name
    attributes: Attributes = msgspec.field(default_factory=lambda: EMPTY_OBJECT)


def _list_schema(of: str, most: int) -> dict[str, object]:
    items = {"$ref": f"#/components/schemas/{of}"}
    return {"type": ["array", "null"], "maxItems": most, "items": items}


class SpanRecord(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """One operation of one service, as part of a trace. It needs `end_time` or `duration_ms`."""

    trace_id: Annotated[
        Name,
        Meta(description="what all spans of one trace share, for example 32 hex digits", extra_json_schema=_NO_ZEROS),
    ]
    span_id: Annotated[
        Name, Meta(description="unique in the trace, for example 16 hex digits", extra_json_schema=_NO_ZEROS)
    ]
    service: Annotated[Name, Meta(description="what did it, for example `checkout`")]
    operation: Annotated[str, Meta(min_length=1, max_length=1000, description="for example `GET /orders/{id}`")]
    start_time: Time
    end_time: Annotated[
        str | int | float | UnsetType,
        Meta(description="as start_time, and not before it", extra_json_schema=TIME_SCHEMA),
    ] = UNSET
    duration_ms: Annotated[
        Annotated[float, Meta(ge=0, le=DURATION_MS_MAX)] | UnsetType,
        Meta(description="milliseconds; end_time counts if both are there"),
    ] = UNSET
    parent_span_id: Annotated[ShortText | None, Meta(description="absent or empty for the root of a trace")] = None
    kind: Annotated[
        Literal["internal", "server", "client", "producer", "consumer"] | None, Meta(description="internal by default")
    ] = None
    status: Annotated[Literal["unset", "ok", "error"] | None, Meta(description="unset by default")] = None
    status_message: Annotated[Annotated[str, Meta(max_length=4096)] | None, Meta(description="what went wrong")] = None
    attributes: Attributes = msgspec.field(default_factory=lambda: EMPTY_OBJECT)
    events: Annotated[
        Raw,
        Meta(
            description="up to 128, 65,536 bytes in all, nested up to 64 deep",
            extra_json_schema=_list_schema("SpanEvent", EVENTS_MAX),
        ),
    ] = msgspec.field(default_factory=lambda: EMPTY_ARRAY)
    links: Annotated[
        Raw,
        Meta(
            description="up to 128, 65,536 bytes in all, nested up to 64 deep",
            extra_json_schema=_list_schema("SpanLink", LINKS_MAX),
        ),
    ] = msgspec.field(default_factory=lambda: EMPTY_ARRAY)


_ENDS = {"anyOf": [{"required": ["end_time"]}, {"required": ["duration_ms"]}]}


class SpansRequest(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """Body of POST /v1/traces: 1 to 500 spans, of one trace or of many."""

    spans: Annotated[
        list[Annotated[SpanRecord, Meta(extra_json_schema=_ENDS)]], Meta(min_length=1, max_length=SPANS_MAX)
    ]


_READER: RequestReader[SpanRecord] = RequestReader(SpansRequest, "spans", SPANS_MAX)
_EVENTS = msgspec.json.Decoder(Annotated[list[SpanEvent], Meta(max_length=EVENTS_MAX)] | None)
_LINKS = msgspec.json.Decoder(Annotated[list[SpanLink], Meta(max_length=LINKS_MAX)] | None)
_ENCODER = msgspec.json.Encoder()


def read_spans(body: bytes) -> list[SpanRecord]:
    """Decode and check a native traces body, all but its times, which `read_span_times` checks.

    Raises `Refused` as `RequestReader.read`.
    """
    spans = _READER.read(body)
    for i, span in enumerate(spans):
        if span.end_time is UNSET and span.duration_ms is UNSET:
            raise invalid_field(f"spans[{i}].end_time", "a span needs end_time or duration_ms")
        if is_zero(span.trace_id) or is_zero(span.span_id):
            field = "trace_id" if is_zero(span.trace_id) else "span_id"
            raise invalid_field(f"spans[{i}].{field}", "an id of zeros is none")
        if span.attributes is not EMPTY_OBJECT:
            check_object(span.attributes, "spans", i, "attributes")
        if span.links is not EMPTY_ARRAY:
            _check_links(span.links, i)
        if span.events is not EMPTY_ARRAY:
            _check_events(span.events, i)
    return spans


def read_span_times(spans: list[SpanRecord]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
    """The spans' starts as unix nanoseconds, and how long they took, in nanoseconds.

    Raises `Refused` with a path like `spans[i].end_time`.
    """
    starts = read_times([span.start_time for span in spans], "spans", "start_time")
    took = np.array([span.duration_ms if span.duration_ms is not UNSET else 0.0 for span in spans], np.float64)
    durations = np.rint(took * 1e6).astype(np.int64)
    places = [i for i, span in enumerate(spans) if span.end_time is not UNSET]
    if places:
        ends = [span.end_time for span in spans if span.end_time is not UNSET]
        durations[places] = read_times(ends, "spans", "end_time", places) - starts[places]
        if durations.min() < 0:
            raise invalid_field(f"spans[{int(durations.argmin())}].end_time", "expected a time not before start_time")
    return starts, durations.astype(np.uint64)


def events_text(raw: Raw) -> bytes:
    """A span's events as JSON text with their timestamps in one form, RFC 3339."""
    if raw is EMPTY_ARRAY:
        return b"[]"
    events = _EVENTS.decode(raw) or []
    for event in events:
        event.timestamp = format_timestamp(parse_timestamp(event.timestamp))
    return _ENCODER.encode(events)


def links_text(raw: Raw) -> bytes:
    """A span's links as JSON text with their ids in one form; as it came where they are."""
    if raw is EMPTY_ARRAY:
        return b"[]"
    links = _LINKS.decode(raw) or []
    given = [text for link in links for text in (link.trace_id, link.span_id)]
    if normalize_ids(given) == given:
        return json_text(raw, absent=b"[]")
    for link in links:
        link.trace_id, link.span_id = normalize_id(link.trace_id), normalize_id(link.span_id)
    return _ENCODER.encode(links)


def _check_events(raw: Raw, i: int) -> None:
    for j, event in enumerate(read_array(raw, _EVENTS, "spans", i, "events")):
        try:
            parse_timestamp(event.timestamp)
        except Refused as exc:
            raise invalid_field(f"spans[{i}].events[{j}].timestamp", exc.reason) from None
        check_object(event.attributes, f"spans[{i}].events", j, "attributes")


def _check_links(raw: Raw, i: int) -> None:
    for j, link in enumerate(read_array(raw, _LINKS, "spans", i, "links")):
        check_object(link.attributes, f"spans[{i}].links", j, "attributes")
