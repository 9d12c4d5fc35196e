"""What every search asks (times, order, page) in, checked; a position between two pages as an opaque text, out and back."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from topics.errors import Refused

LIMIT_MAX = 1000
TEXT_CHARACTERS_MAX = 1000

_INT64_MAX = (1 << 63) - 1
# Version, ts in nanoseconds, record id.
_CURSOR = struct.Struct(">BqQ")
_CURSOR_VERSION = 1


@dataclass(frozen=True, slots=True)
class RecordCursor:
    """The last record of a page: `ts_ns` since 1970, and the `record_id` that breaks ties.

    It says only where to go on. Whose records are seen is decided by the scope of each search, so a cursor from another
    organization shows nothing of it.
    """

    ts_ns: int
    record_id: int

    def encode(self) -> str:
        """23 characters of URL-safe base64."""
        return base64.urlsafe_b64encode(_CURSOR.pack(_CURSOR_VERSION, self.ts_ns, self.record_id)).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, what: str = "records") -> RecordCursor:
        """Read what `encode` made; raises `Refused` (path "cursor") for anything else. `what` is for the message."""
        try:
            packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            version, ts_ns, record_id = _CURSOR.unpack(packed)
        except (binascii.Error, ValueError, struct.error):
            raise refused_field(what, "cursor", "it is not one that a search gave") from None
        cursor = cls(ts_ns, record_id)
        # Compared, because base64 has several spellings of the same bytes.
        if version != _CURSOR_VERSION or cursor.encode() != text:
            raise refused_field(what, "cursor", "it is not one that a search gave")
        return cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSelection:
    """Which records: those with `start_ns` <= ts < `end_ns` (nanoseconds since 1970), on pages of `limit`.

    `cursor` is the `next_cursor` of the page before, of the same selection. Each signal adds its conditions. Raises `Refused`
    with the path of the field at fault.
    """

    what: ClassVar[str] = "records"

    start_ns: int
    end_ns: int
    order: Literal["newest", "oldest"] = "newest"
    limit: int = 100
    cursor: str | None = None

    def __post_init__(self) -> None:
        check_time_range(self.what, self.start_ns, self.end_ns)
        if self.order not in ("newest", "oldest"):
            raise refused_field(self.what, "order", "it is neither newest nor oldest")
        if not 1 <= self.limit <= LIMIT_MAX:
            raise refused_field(self.what, "limit", f"it is not between 1 and {LIMIT_MAX}")
        for path, text in self.texts().items():
            if text is not None:
                check_text(self.what, path, text)
        self.decoded_cursor()

    def exact(self) -> Mapping[str, str | None]:
        """Conditions that compare a column of the same name, None for those not asked."""
        return {}

    def texts(self) -> Mapping[str, str | None]:
        """Every text that came from outside, by its path; those compared exactly unless a signal has more."""
        return self.exact()

    def decoded_cursor(self) -> RecordCursor | None:
        """Where this page starts, if not at the first record."""
        return None if self.cursor is None else RecordCursor.decode(self.cursor, self.what)


def check_time_range(what: str, start_ns: int, end_ns: int) -> None:
    """Raise `Refused` for a range that cannot be: paths "start" and "end"."""
    for path, ns in (("start", start_ns), ("end", end_ns)):
        if not -_INT64_MAX <= ns <= _INT64_MAX:
            raise refused_field(what, path, "the time is outside the years 1678 to 2262")
    if end_ns < start_ns:
        raise refused_field(what, "end", "it is before start")


def check_text(what: str, path: str, text: str) -> None:
    """Raise `Refused` for a text that no record can have, or that is too long to ask for."""
    if len(text) > TEXT_CHARACTERS_MAX:
        raise refused_field(what, path, f"it has more than {TEXT_CHARACTERS_MAX} characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise refused_field(what, path, "it is not valid Unicode") from None


def refused_field(what: str, path: str, why: str) -> Refused:
    """`cannot search <what>: <path>: <why>`."""
    return Refused(f"cannot search {what}: {path}: {why}", code="invalid_field", path=path)
