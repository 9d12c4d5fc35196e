"""A native logs request: JSON text -> `LogRecord`s, with every bound checked.

These Structs are the only model of an ingested log. The published schema (OpenAPI) is generated from them, the gateway
validates with them and the normalizer reads with them.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from topics.json_requests import (
    EMPTY_OBJECT,
    Attributes,
    Name,
    RequestReader,
    ShortText,
    Time,
    check_object,
    read_times,
)

LOGS_MAX = 1000


class LogRecord(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """One log line."""

    timestamp: Time
    service: Annotated[Name, Meta(description="what wrote it, for example `checkout`")]
    level: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=32,
            description="trace, debug, info, warn, error or fatal; their other names and numbers are put on this scale",
        ),
    ]
    message: Annotated[str, Meta(max_length=262_144, description="the line itself, up to 262,144 characters")]
    trace_id: Annotated[ShortText | None, Meta(description="trace that the line belongs to")] = None
    span_id: Annotated[ShortText | None, Meta(description="span that the line belongs to")] = None
    host: Annotated[ShortText | None, Meta(description="machine or pod")] = None
    environment: Annotated[ShortText | None, Meta(description="for example production")] = None
    version: Annotated[ShortText | None, Meta(description="version of the service")] = None
    attributes: Attributes = msgspec.field(default_factory=lambda: EMPTY_OBJECT)


class LogsRequest(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """Body of POST /v1/logs: 1 to 1000 logs."""

    logs: Annotated[list[LogRecord], Meta(min_length=1, max_length=LOGS_MAX)]


_READER: RequestReader[LogRecord] = RequestReader(LogsRequest, "logs", LOGS_MAX)


def read_logs(body: bytes) -> list[LogRecord]:
    """Decode and check a native logs body. Raises `Refused` as `RequestReader.read`."""
    logs = _READER.read(body)
    for i, log in enumerate(logs):
        if log.attributes is not EMPTY_OBJECT:
            check_object(log.attributes, "logs", i, "attributes")
    return logs


def read_log_timestamps(logs: list[LogRecord]) -> npt.NDArray[np.int64]:
    """The logs' timestamps as unix nanoseconds. Raises `Refused` with path `logs[i].timestamp`."""
    return read_times([log.timestamp for log in logs], "logs", "timestamp")
