"""A native request body, JSON text -> its records as msgspec Structs, or a refusal with the path of the field at fault.

What the four signals share; their Structs and bounds are in topics/*_records.py. JSON of unknown shape inside a record
(attributes, events) stays undecoded text, which is what makes a record cost half a microsecond here instead of three
(design.md section 5).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Annotated, Generic, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta, Raw

from topics.errors import Refused
from topics.invalid_fields import invalid_field, reason_and_path
from topics.timestamps import TIMESTAMP_FORMAT, Timestamp, parse_timestamps

OBJECT_BYTES_MAX = 65_536
DEPTH_MAX = 64
"""How deep undecoded JSON may be nested. Parsers stop at different depths, ours at one that depends on who calls it, so what one
accepts another may not; this bound is below all of theirs."""

EMPTY_OBJECT = Raw(b"{}")
EMPTY_ARRAY = Raw(b"[]")

Name = Annotated[str, Meta(min_length=1, max_length=200)]
ShortText = Annotated[str, Meta(max_length=200)]
DOUBLE_SCHEMA = {"minimum": -sys.float_info.max, "maximum": sys.float_info.max}
TIME_SCHEMA = {"format": TIMESTAMP_FORMAT}
Time = Annotated[
    str | int | float,
    Meta(
        description="ISO 8601 text (no zone means UTC), or unix seconds, milliseconds, microseconds or nanoseconds, as a number"
        " or as text of 9 to 19 digits; from 1970-01-01 to 2262-04-11",
        extra_json_schema=TIME_SCHEMA,
        examples=["2025-10-31T10:00:00.123456789Z", 1761904800000],
    ),
]
Attributes = Annotated[
    Raw,
    Meta(
        description="a JSON object of anything else, up to 65,536 bytes, nested up to 64 deep",
        extra_json_schema={"type": ["object", "null"], "additionalProperties": True},
    ),
]

_OBJECT_OR_NULL = b"{n"  # how a JSON text of either begins
_ARRAY_OR_NULL = b"[n"
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_DEEP_FROM_BYTES = 2 * DEPTH_MAX  # What opens must close.
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"{[")], _STEPS[list(b"}]")] = 1, -1

T = TypeVar("T")


class RequestReader(Generic[T]):
    """Reads the bodies of one request Struct, whose only field `collection` is a list of at most `records_max` records."""

    def __init__(self, request: type[msgspec.Struct], collection: str, records_max: int) -> None:
        self._decoder = msgspec.json.Decoder(request)
        self._collection = collection
        self._records_max = records_max

    def read(self, body: bytes) -> list[T]:
        """Decode a body and check what its Structs say.

        Raises `Refused` with `code` invalid_utf8 or malformed_json (no path: the whole body is at fault), too_many_records,
        or invalid_field with the path of the first field at fault, like `logs[3].level`.
        """
        try:
            body.decode()  # msgspec.Raw lets invalid UTF-8 through, so look first.
            records: list[T] = getattr(self._decoder.decode(body), self._collection)
        except UnicodeDecodeError as exc:
            raise Refused(f"cannot read the body: not UTF-8 at byte {exc.start}", code="invalid_utf8") from None
        except msgspec.ValidationError as exc:
            raise self._refusal(str(exc)) from None
        except msgspec.DecodeError as exc:
            raise Refused(f"cannot read the body: {exc}", code="malformed_json") from None
        except RecursionError:
            raise Refused("cannot read the body: JSON is nested too deeply", code="malformed_json") from None
        return records

    def _refusal(self, message: str) -> Refused:
        reason, path = reason_and_path(message)
        name = self._collection
        if path == name and f"length <= {self._records_max}" in reason:
            many = f"at most {self._records_max} {name} are allowed in one request"
            return Refused(many, code="too_many_records", path=name)
        return invalid_field(path, reason)


def read_times(
    values: Sequence[Timestamp], collection: str, field: str, places: Sequence[int] | None = None
) -> npt.NDArray[np.int64]:
    """A column of timestamps -> unix nanoseconds. `places` are the records that the values belong to, if not all in order.

    Raises `Refused` with a path like `logs[i].timestamp`.
    """
    try:
        return parse_timestamps(values)
    except Refused as exc:
        at = int(exc.path.strip("[]"))
        raise invalid_field(f"{collection}[{at if places is None else places[at]}].{field}", exc.reason) from None


def check_object(raw: Raw, collection: str, i: int, field: str, bytes_max: int = OBJECT_BYTES_MAX) -> None:
    """Raises `Refused` unless undecoded JSON is an object or null, within its bounds."""
    text = memoryview(raw)
    if len(text) > bytes_max or text[0] not in _OBJECT_OR_NULL:
        raise invalid_field(f"{collection}[{i}].{field}", _fault(len(text), bytes_max, field, "an object"))
    if len(text) > _DEEP_FROM_BYTES and _is_deep(bytes(text)):
        raise _too_deep(f"{collection}[{i}].{field}")


def _is_deep(text: bytes) -> bool:
    """Whether JSON is nested deeper than `DEPTH_MAX`."""
    if text.count(b"{") + text.count(b"[") <= DEPTH_MAX:
        return False
    steps = _STEPS[np.frombuffer(_STRING.sub(b"", text), np.uint8)]
    return bool(np.cumsum(steps, dtype=np.int32).max() > DEPTH_MAX)


def _too_deep(path: str) -> Refused:
    return invalid_field(path, f"nested more than {DEPTH_MAX} deep")


def read_array(raw: Raw, decoder: msgspec.json.Decoder[list[T] | None], collection: str, i: int, field: str) -> list[T]:
    """Decode undecoded JSON that is an array of what `decoder` reads, or null. Raises `Refused`, also for what is too long."""
    text = memoryview(raw)
    path = f"{collection}[{i}].{field}"
    if len(text) > OBJECT_BYTES_MAX or text[0] not in _ARRAY_OR_NULL:
        raise invalid_field(path, _fault(len(text), OBJECT_BYTES_MAX, field, "an array"))
    if len(text) > _DEEP_FROM_BYTES and _is_deep(bytes(text)):
        raise _too_deep(path)
    try:
        return decoder.decode(raw) or []
    except msgspec.ValidationError as exc:
        reason, inner = reason_and_path(str(exc))
        joint = "." if inner and not inner.startswith("[") else ""
        raise invalid_field(f"{path}{joint}{inner}", reason) from None


def _fault(size: int, bytes_max: int, field: str, expected: str) -> str:
    if size > bytes_max:
        return f"{field} hold {size} bytes, at most {bytes_max} are allowed"
    return f"expected {expected}"


def json_text(raw: Raw, *, absent: bytes) -> bytes:
    """Undecoded JSON as bytes; `absent` for null."""
    text = bytes(raw)
    return absent if text == b"null" else text
