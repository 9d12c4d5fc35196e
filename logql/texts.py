"""Texts in a query's quotes, and the paths of its json parser, read."""

from __future__ import annotations

import re
from typing import Final

from topics.errors import Refused

PATH_PARTS_MAX: Final = 16
_POSITION_MAX: Final = 100_000
_ESCAPE: Final = re.compile(
    r"\\(?:([abfnrtv\\'\"])|x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([0-7]{3})|(.?))", re.S
)
_SIMPLE: Final = dict(zip("abfnrtv\\'\"", "\a\b\f\n\r\t\v\\'\"", strict=True))
_PATH_PART: Final = re.compile(r"""\.?([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]{1,6})\]|\[("(?:[^"\\]|\\.)*")\]""", re.S)


def unquoted(text: str) -> str:
    """A text in quotes or backquotes, with Go's escapes. Raises `Refused` (without a path) for another escape."""
    return text[1:-1] if text[0] == "`" else _ESCAPE.sub(_unescaped, text[1:-1])


def read_json_path(text: str) -> tuple[str | int, ...]:
    """`servers[0].name` or `["a.b"]` as its parts. Raises `Refused` (without a path)."""
    parts: list[str | int] = []
    at = 0
    while at < len(text):
        found = _PATH_PART.match(text, at)
        # A name follows a point, and the first one nothing.
        if found is None or (found[1] is not None and (text[at] == ".") is (at == 0)):
            raise Refused(f'{text[:80]!r} is no path like a.b[0]["c d"], from its character {at + 1} on')
        parts.append(found[1] or (int(found[2]) if found[2] else unquoted(found[3])))
        at = found.end()
    if not 1 <= len(parts) <= PATH_PARTS_MAX:
        raise Refused(f"a path has 1 to {PATH_PARTS_MAX} parts")
    if any(isinstance(part, int) and part > _POSITION_MAX for part in parts):
        raise Refused(f"a position in an array is at most {_POSITION_MAX}")
    return tuple(parts)


def _unescaped(found: re.Match[str]) -> str:
    simple, byte, short, long, octal, other = found.groups()
    if simple:
        return _SIMPLE[simple]
    if other is not None:
        raise Refused(f"\\{other} is no escape; in backquotes a backslash is itself")
    number = int(octal, 8) if octal else int(byte or short or long, 16)
    if (byte or octal) and number > 0x7F:
        raise Refused(f"{found[0]} is a byte that is no character; write \\u{number:04x}")
    if number > 0x10FFFF or 0xD800 <= number < 0xE000:
        raise Refused(f"{found[0]} is no character")
    return chr(number)
