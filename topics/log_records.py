"""A native logs request: JSON text -> `LogRecord`s, with every bound checked.

These Structs are the only model of an ingested log. The published schema (OpenAPI) is generated from them, the gateway
validates with them and the normalizer reads with them. `attributes` stays undecoded JSON text, which is what makes a
log cost half a microsecond here instead of three (design.md section 5).
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import Meta, Raw

from topics.errors import Refused
from topics.timestamps import Timestamp, parse_timestamps

LOGS_MAX = 1000
ATTRIBUTES_BYTES_MAX = 65_536

_EMPTY = Raw(b"{}")
_OBJECT_OR_NULL = b"{n"  # how a JSON text of either begins

Name = Annotated[str, Meta(min_length=1, max_length=200)]
ShortText = Annotated[str, Meta(max_length=200)]


class LogRecord(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """One log line."""

    timestamp: Annotated[
        str | int | float, Meta(description="ISO 8601 text, or unix seconds, milliseconds, microseconds or nanoseconds")
    ]
    service: Annotated[Name, Meta(description="what wrote it, for example `checkout`")]
    level: Annotated[str, Meta(min_length=1, max_length=32, description="for example debug, info, warn, error, fatal")]
    message: Annotated[str, Meta(max_length=262_144, description="the line itself, up to 262,144 characters")]
    trace_id: Annotated[ShortText | None, Meta(description="trace that the line belongs to")] = None
    span_id: Annotated[ShortText | None, Meta(description="span that the line belongs to")] = None
    host: Annotated[ShortText | None, Meta(description="machine or pod")] = None
    environment: Annotated[ShortText | None, Meta(description="for example production")] = None
    version: Annotated[ShortText | None, Meta(description="version of the service")] = None
    attributes: Annotated[
        Raw,
        Meta(
            description="a JSON object of anything else, up to 65,536 bytes",
            extra_json_schema={"type": ["object", "null"], "additionalProperties": True},
        ),
    ] = msgspec.field(default_factory=lambda: _EMPTY)


class LogsRequest(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """Body of POST /v1/logs: 1 to 1000 logs."""

    logs: Annotated[list[LogRecord], Meta(min_length=1, max_length=LOGS_MAX)]


_FIELD_NAMED = re.compile(r"^Object (?:missing required|contains unknown) field `([^`]{1,100})`")
_DECODER = msgspec.json.Decoder(LogsRequest)


def read_logs(body: bytes) -> list[LogRecord]:
    """Decode and check a native logs body.

    Raises `Refused` with `code` invalid_utf8 or malformed_json (no path: the whole body is at fault), too_many_records,
    or invalid_field with the path of the first field at fault, like `logs[3].level`.
    """
    try:
        body.decode()  # msgspec.Raw lets invalid UTF-8 through, so look first.
        logs = _DECODER.decode(body).logs
    except UnicodeDecodeError as exc:
        raise Refused(f"cannot read the body: not UTF-8 at byte {exc.start}", code="invalid_utf8") from None
    except msgspec.ValidationError as exc:
        raise _refusal(str(exc)) from None
    except msgspec.DecodeError as exc:
        raise Refused(f"cannot read the body: {exc}", code="malformed_json") from None
    except RecursionError:
        raise Refused("cannot read the body: JSON is nested too deeply", code="malformed_json") from None
    for i, log in enumerate(logs):
        raw = log.attributes
        if raw is not _EMPTY:
            _check_attributes(raw, i)
    return logs


def read_log_timestamps(logs: list[LogRecord]) -> list[int]:
    """The logs' timestamps as unix nanoseconds. Raises `Refused` with path `logs[i].timestamp`."""
    values: list[Timestamp] = [log.timestamp for log in logs]
    try:
        parsed: list[int] = parse_timestamps(values).tolist()
    except Refused as exc:
        raise Refused(exc.reason, code="invalid_field", path=f"logs{exc.path}.timestamp") from None
    return parsed


def _check_attributes(raw: Raw, i: int) -> None:
    text = memoryview(raw)
    if len(text) > ATTRIBUTES_BYTES_MAX:
        raise Refused(
            f"attributes hold {len(text)} bytes, at most {ATTRIBUTES_BYTES_MAX} are allowed",
            code="invalid_field",
            path=f"logs[{i}].attributes",
        )
    if text[0] not in _OBJECT_OR_NULL:
        raise Refused("expected an object", code="invalid_field", path=f"logs[{i}].attributes")


def _refusal(message: str) -> Refused:
    """A msgspec validation message ("Expected `str`, got `int` - at `$.logs[0].level`") -> our refusal."""
    reason, _, where = message.partition(" - at `$")
    path = where.rstrip("`").lstrip(".")
    if path == "logs" and f"length <= {LOGS_MAX}" in reason:
        return Refused(f"at most {LOGS_MAX} logs are allowed in one request", code="too_many_records", path="logs")
    field = _FIELD_NAMED.search(reason)
    if field is not None:
        path = f"{path}.{field[1]}" if path else field[1]
    return Refused(reason[:1].lower() + reason[1:], code="invalid_field", path=path)
