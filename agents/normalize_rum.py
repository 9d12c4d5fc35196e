"""Cleans RUM events: topic `rum.raw` (request bodies) -> topic `rum` (Arrow columns), one message each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa

from agents.arrival_times import clamp_future, keep_originals
from agents.raw_batches import Keep, read_batch, record_batch, shared_columns, texts
from agents.scrubbing import UNSCRUBBED, Scrub
from enrichment.attributes import Enrichment
from enrichment.locations import UNKNOWN, Location
from enrichment.user_agents import NOBODY, Client
from topics.arrow_messages import NANOSECONDS
from topics.json_requests import EMPTY_OBJECT, json_text
from topics.raw import Headers, RawBatch
from topics.rum_columns import RUM_MESSAGES
from topics.rum_records import RumError, RumEvent, read_rum_events, read_rum_timestamps

_READERS = {"native": read_rum_events}
"""Wire format -> how its bodies are read."""

_NO_ERROR = RumError()


class _SaidOfItself(msgspec.Struct, gc=False):
    """What of a client's own description is enriched; of any type, since it is the sender's object."""

    ip: Any = None
    user_agent: Any = None


_SAID_OF_ITSELF = msgspec.json.Decoder(_SaidOfItself | None)
_SILENT = _SaidOfItself()


def normalize_rum(
    batch: RawBatch,
    *,
    partition: int,
    offset: int,
    enrichment: Enrichment | None = None,
    scrub: Scrub = UNSCRUBBED,
    keep: Keep | None = None,
) -> tuple[bytes, Headers]:
    """The message on `rum` for one raw batch, which stood at (partition, offset) of `rum.raw`.

    Where the client is and what it runs comes of `client.ip` and `client.user_agent`, else of the request itself. Raises
    `Refused` for a body that the gateway should not have let through.
    """
    events = read_batch(batch, _READERS)
    rows = len(events)
    times, late = clamp_future(read_rum_timestamps(events), received_at_ms=batch.received_at_ms, signal="rum")
    attributes = keep_originals([json_text(event.attributes, absent=b"{}") for event in events], late)
    errors = [event.error or _NO_ERROR for event in events]
    columns = shared_columns(batch, partition=partition, offset=offset, rows=rows) | {
        "ts": pa.array(times, pa.int64()).view(NANOSECONDS),
        "type": pa.array([event.type for event in events], pa.string()),
        "session_id": pa.array([event.session_id for event in events], pa.string()),
        "view_id": texts([event.view_id for event in events]),
        "page_url": _scrubbed(scrub, [event.page_url for event in events]),
        "page_path": _scrubbed(scrub, [event.page_path for event in events]),
        "user_id": _scrubbed(scrub, [event.user_id for event in events]),
        "name": _scrubbed(scrub, [event.name for event in events]),
        "value": pa.array([event.value for event in events], pa.float64()),
        "error_type": texts([error.type for error in errors]),
        "error_message": _scrubbed(scrub, [error.message for error in errors]),
        "error_stack": _scrubbed(scrub, [error.stack for error in errors]),
        "client": pa.array(scrub.json_texts([json_text(event.client, absent=b"{}") for event in events]), pa.string()),
        "attributes": pa.array(scrub.json_texts(attributes), pa.string()),
    }
    columns |= _client_columns(events, batch, enrichment)
    kept = record_batch(columns, RUM_MESSAGES.schema)
    if keep is not None:
        keep(kept)
    return RUM_MESSAGES.message(kept)


def _scrubbed(scrub: Scrub, values: list[str | None]) -> pa.Array[Any]:
    return pa.array(scrub.texts([value or "" for value in values]), pa.string())


def _client_columns(events: list[RumEvent], batch: RawBatch, enrichment: Enrichment | None) -> dict[str, pa.Array[Any]]:
    """The columns of `Location` and `Client`, by the names of their fields. The events of a request mostly share one of each."""
    if enrichment is None:
        return _spread([UNKNOWN], [0] * len(events)) | _spread([NOBODY], [0] * len(events))
    enrichment.refresh()
    addresses: dict[str, int] = {}
    agents: dict[str, int] = {}
    located: list[int] = []
    recognized: list[int] = []
    for event in events:
        said = _said(event)
        located.append(addresses.setdefault(_text(said.ip) or batch.client_address, len(addresses)))
        recognized.append(agents.setdefault(_text(said.user_agent) or batch.user_agent, len(agents)))
    locations = _spread([enrichment.locations.of(address) for address in addresses], located)
    return locations | _spread([enrichment.user_agents.of(agent) for agent in agents], recognized)


def _spread(different: Sequence[Location] | Sequence[Client], index: list[int]) -> dict[str, pa.Array[Any]]:
    """A column for each field: event i has the values of `different[index[i]]`."""
    columns = {}
    for name, values in zip(different[0]._fields, zip(*different, strict=True), strict=True):
        kind = RUM_MESSAGES.schema.field(name).type
        if kind == pa.uint8():
            values = tuple(map(int, values))
        if len(values) == 1:
            columns[name] = pa.repeat(pa.scalar(values[0], kind), len(index))
        else:
            columns[name] = pa.array([values[i] for i in index], kind)
    return columns


def _said(event: RumEvent) -> _SaidOfItself:
    if event.client is EMPTY_OBJECT:
        return _SILENT
    try:
        return _SAID_OF_ITSELF.decode(event.client) or _SILENT
    except msgspec.DecodeError:
        return _SILENT  # It is kept as it came; what it says cannot be read.


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
