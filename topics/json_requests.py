"""A native request body, JSON text -> its records as msgspec Structs, or a refusal with the path of the field at fault.

What the four signals share; their Structs and bounds are in topics/*_records.py. JSON of unknown shape inside a record
(attributes, events) stays undecoded text, which is what makes a record cost half a microsecond here instead of three
(design.md section 5).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Generic, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta, Raw

from topics.errors import Refused
from topics.timestamps import Timestamp, parse_timestamps

OBJECT_BYTES_MAX = 65_536

EMPTY_OBJECT = Raw(b"{}")
EMPTY_ARRAY = Raw(b"[]")

Name = Annotated[str, Meta(min_length=1, max_length=200)]
ShortText = Annotated[str, Meta(max_length=200)]
Time = Annotated[
    str | int | float, Meta(description="ISO 8601 text, or unix seconds, milliseconds, microseconds or nanoseconds")
]
Attributes = Annotated[
    Raw,
    Meta(
        description="a JSON object of anything else, up to 65,536 bytes",
        extra_json_schema={"type": ["object", "null"], "additionalProperties": True},
    ),
]

_FIELD_NAMED = re.compile(r"^Object (?:missing required|contains unknown) field `([^`]{1,100})`")
_OBJECT_OR_NULL = b"{n"  # how a JSON text of either begins
_ARRAY_OR_NULL = b"[n"

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


def reason_and_path(message: str) -> tuple[str, str]:
    """A msgspec validation message ("Expected `str`, got `int` - at `$.logs[0].level`") -> our reason and path."""
    reason, _, where = message.partition(" - at `$")
    path = where.rstrip("`").lstrip(".")
    field = _FIELD_NAMED.search(reason)
    if field is not None:
        path = f"{path}.{field[1]}" if path else field[1]
    return reason[:1].lower() + reason[1:], path


def invalid_field(path: str, reason: str) -> Refused:
    """The refusal of one field: 422 with its path."""
    return Refused(reason, code="invalid_field", path=path)


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
    """Raises `Refused` unless undecoded JSON is an object or null, within its bound."""
    text = memoryview(raw)
    if len(text) > bytes_max or text[0] not in _OBJECT_OR_NULL:
        raise invalid_field(f"{collection}[{i}].{field}", _fault(len(text), bytes_max, field, "an object"))


def read_array(raw: Raw, decoder: msgspec.json.Decoder[list[T] | None], collection: str, i: int, field: str) -> list[T]:
    """Decode undecoded JSON that is an array of what `decoder` reads, or null. Raises `Refused`, also for what is too long."""
    text = memoryview(raw)
    path = f"{collection}[{i}].{field}"
    if len(text) > OBJECT_BYTES_MAX or text[0] not in _ARRAY_OR_NULL:
        raise invalid_field(path, _fault(len(text), OBJECT_BYTES_MAX, field, "an array"))
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
