"""What a person asks of the logs in, checked; a position between two pages as an opaque text, out and back."""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from typing import Literal

from topics.errors import Refused

LIMIT_MAX = 1000
TEXT_CHARACTERS_MAX = 1000

_INT64_MAX = (1 << 63) - 1
_UINT64_MAX = (1 << 64) - 1
# Version, ts in nanoseconds, record id.
_CURSOR = struct.Struct(">BqQ")
_CURSOR_VERSION = 1


@dataclass(frozen=True, slots=True)
class LogCursor:
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
    def decode(cls, text: str) -> LogCursor:
        """Read what `encode` made; raises `Refused` (path "cursor") for anything else."""
        try:
            packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            version, ts_ns, record_id = _CURSOR.unpack(packed)
        except (binascii.Error, ValueError, struct.error):
            raise _refused("cursor", "it is not one that a search gave") from None
        cursor = cls(ts_ns, record_id)
        # Compared, because base64 has several spellings of the same bytes.
        if version != _CURSOR_VERSION or cursor.encode() != text:
            raise _refused("cursor", "it is not one that a search gave")
        return cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSelection:
    """Which logs: those with `start_ns` <= ts < `end_ns` (nanoseconds since 1970) that meet every condition given.

    `service`, `level` and `trace_id` are compared exactly. `search` is a substring of the message in any case, taken literally:
    % _ and \\ are ordinary characters. `cursor` is the `next_cursor` of the page before, of the same selection. Raises `Refused`
    with the path of the field at fault.
    """

    start_ns: int
    end_ns: int
    service: str | None = None
    level: str | None = None
    search: str | None = None
    trace_id: str | None = None
    order: Literal["newest", "oldest"] = "newest"
    limit: int = 100
    cursor: str | None = None

    def __post_init__(self) -> None:
        for path, ns in (("start", self.start_ns), ("end", self.end_ns)):
            if not -_INT64_MAX <= ns <= _INT64_MAX:
                raise _refused(path, "the time is outside the years 1678 to 2262")
        if self.end_ns < self.start_ns:
            raise _refused("end", "it is before start")
        if self.order not in ("newest", "oldest"):
            raise _refused("order", "it is neither newest nor oldest")
        if not 1 <= self.limit <= LIMIT_MAX:
            raise _refused("limit", f"it is not between 1 and {LIMIT_MAX}")
        for path, text in (
            ("service", self.service),
            ("level", self.level),
            ("search", self.search),
            ("trace_id", self.trace_id),
        ):
            if text is not None:
                _check_text(path, text)
        self.decoded_cursor()

    def decoded_cursor(self) -> LogCursor | None:
        """Where this page starts, if not at the first record."""
        return None if self.cursor is None else LogCursor.decode(self.cursor)


def _check_text(path: str, text: str) -> None:
    if len(text) > TEXT_CHARACTERS_MAX:
        raise _refused(path, f"it has more than {TEXT_CHARACTERS_MAX} characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _refused(path, "it is not valid Unicode") from None


def _refused(path: str, why: str) -> Refused:
    return Refused(f"cannot search logs: {path}: {why}", code="invalid_field", path=path)
