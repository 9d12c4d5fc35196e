"""A native RUM request: JSON text -> `RumEvent`s, with every bound checked.

These Structs are the only model of an ingested event of real-user monitoring, as in topics/log_records.py.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta, Raw

from topics.json_requests import (
    DOUBLE_SCHEMA,
    EMPTY_OBJECT,
    Attributes,
    Name,
    RequestReader,
    ShortText,
    Time,
    check_object,
    read_times,
)

EVENTS_MAX: Final = 1000
CLIENT_BYTES_MAX: Final = 16_384


class RumError(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """What a page failed with."""

    message: Annotated[str, Meta(max_length=16_384)] | None = None
    type: Annotated[ShortText | None, Meta(description="for example TypeError")] = None
    stack: Annotated[str, Meta(max_length=65_536)] | None = None


class RumEvent(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """One thing that happened in somebody's browser or app."""

    timestamp: Time
    type: Literal["page_view", "web_vital", "error", "action", "resource", "long_task"]
    session_id: Annotated[Name, Meta(description="what all events of one visit share")]
    view_id: Annotated[ShortText | None, Meta(description="what all events of one page view share")] = None
    page_url: Annotated[Annotated[str, Meta(max_length=8192)] | None, Meta(description="the whole address")] = None
    page_path: Annotated[Annotated[str, Meta(max_length=4096)] | None, Meta(description="for example /orders/{id}")] = (
        None
    )
    user_id: ShortText | None = None
    name: Annotated[
        Annotated[str, Meta(max_length=1000)] | None,
        Meta(description="of the web vital (LCP, INP, CLS, ...), action or resource"),
    ] = None
    value: Annotated[
        float | None,
        Meta(
            description="of the web vital; of a resource or long task how long it took, in milliseconds",
            extra_json_schema=DOUBLE_SCHEMA,
        ),
    ] = None
    error: RumError | None = None
    client: Annotated[
        Raw,
        Meta(
            description="what the client says of itself (user_agent, screen, connection, ...), up to 16,384 bytes,"
            " nested up to 64 deep",
            extra_json_schema={"type": ["object", "null"], "additionalProperties": True},
        ),
    ] = msgspec.field(default_factory=lambda: EMPTY_OBJECT)
    attributes: Attributes = msgspec.field(default_factory=lambda: EMPTY_OBJECT)


class RumRequest(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """Body of POST /v1/rum: 1 to 1000 events."""

    events: Annotated[list[RumEvent], Meta(min_length=1, max_length=EVENTS_MAX)]


_READER: RequestReader[RumEvent] = RequestReader(RumRequest, "events", EVENTS_MAX)


def read_rum_events(body: bytes) -> list[RumEvent]:
    """Decode and check a native RUM body. Raises `Refused` as `RequestReader.read`."""
    events = _READER.read(body)
    for i, event in enumerate(events):
        if event.attributes is not EMPTY_OBJECT:
            check_object(event.attributes, "events", i, "attributes")
        if event.client is not EMPTY_OBJECT:
            check_object(event.client, "events", i, "client", CLIENT_BYTES_MAX)
    return events


def read_rum_timestamps(events: list[RumEvent]) -> npt.NDArray[np.int64]:
    """The events' timestamps as unix nanoseconds. Raises `Refused` with path `events[i].timestamp`."""
    return read_times([event.timestamp for event in events], "events", "timestamp")
