"""`start` and `end` of a question, in any form of timestamp -> unix nanoseconds, or a refusal that names the field."""

from __future__ import annotations

import re

from topics.errors import Refused
from topics.timestamps import parse_timestamp

# In an address a plus is a space, and a zone that nobody escaped has none: `...T12:00:00 02:00`.
_LOST_PLUS = re.compile(r"(T\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?) (\d\d:?\d\d)\Z", re.ASCII | re.IGNORECASE)
START = "first instant, included: ISO 8601, or unix s, ms, us or ns"
END = "last instant, excluded"


def read_range(start: str | int | float, end: str | int | float) -> tuple[int, int]:
    """Both instants. Raises `Refused` (invalid_field) for one that is none, and for an end that is not later."""
    start_ns, end_ns = read_instant("start", start), read_instant("end", end)
    if end_ns <= start_ns:
        raise Refused("must be later than start", code="invalid_field", path="end")
    return start_ns, end_ns


def read_instant(path: str, value: str | int | float) -> int:
    """One instant; `path` names the field."""
    if isinstance(value, str):
        value = _LOST_PLUS.sub(r"\1+\2", value)
    try:
        return parse_timestamp(value)
    except Refused as exc:
        raise Refused(exc.reason, code="invalid_field", path=path) from None
