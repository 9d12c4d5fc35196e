r"""Text -> what it says once escapes are read, one byte a character, each with its place in the text.

A value may hide behind escapes, once or several times: `a\u0040b.com` in JSON inside a log line, `a%40b.com` in a URL,
`\n4111...` where the `n` is no letter; and behind full-width digits or a no-break space. Rules look at every view, and what
they find is cut out of the text itself.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

LEVELS_MAX = 8
"""How often escapes are read; every level of JSON in JSON takes one and doubles the backslashes."""

_ESCAPE = re.compile(r"""\\u[0-9a-fA-F]{4}|\\[nrtbf"'/\\]|%[0-9a-fA-F]{2}""")
_JSON_ESCAPE = re.compile(r"""\\u[0-9a-fA-F]{4}|\\[nrtbf"/\\]""")
_SIMPLE = {"n": "\n", "r": "\r", "t": "\t", "b": " ", "f": " "}


def _plain_characters() -> dict[int, str]:
    """Digits of every script, full-width forms, dashes and spaces -> the ASCII character that they stand for; signs -> SIGN."""
    plain: dict[int, str] = {}
    for code in range(0x80, 0x20000):
        digit = unicodedata.decimal(chr(code), None)
        if digit is not None:
            plain[code] = str(digit)
    plain |= {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    plain |= dict.fromkeys((*range(0x2010, 0x2016), 0x2212, 0xFE63), "-")
    plain |= dict.fromkeys((0xA0, 0xAD, 0x1680, *range(0x2000, 0x2010), 0x202F, 0x205F, 0x2060, 0x3000, 0xFEFF), " ")
    plain |= {code: "\x7f" for code in range(0x80, 0x100) if code not in plain and not chr(code).isalpha()}
    return plain | {0xFE6B: "@"}


PLAIN = _plain_characters()

LETTER, SIGN = 0xFF, 0x7F
"""Stand for a character that has no byte of its own: a letter to all rules, or a sign (an emoji, a quotation mark) to none."""


def _other(exc: UnicodeError) -> tuple[bytes, int]:
    assert isinstance(exc, UnicodeEncodeError)
    return bytes(LETTER if _is_letter(c) else SIGN for c in exc.object[exc.start : exc.end]), exc.end


def _is_letter(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character)[0] == "M"


codecs.register_error("privacy.views", _other)


@dataclass(frozen=True)
class View:
    """`text` is what is said, `shadow` the same with a byte for each character; `starts[i]` is where character i begins in the
    text that was looked at, None if simply at i.
    """

    text: str
    shadow: bytes
    starts: list[int] | None

    def place(self, start: int, end: int) -> tuple[int, int]:
        """A range of the shadow -> the range of the original text that says it."""
        return (start, end) if self.starts is None else (self.starts[start], self.starts[end])


def views_of(text: str, *, in_json: bool = False) -> Iterator[View]:
    """The text as it stands, then with its escapes read once, twice, ... until there are none.

    `in_json`: the text is the inside of a JSON string, so it says nothing before its escapes are read once, and no range that is
    found cuts an escape in two.
    """
    starts: list[int] | None = None
    if in_json:
        text, starts = _unescape(text, _JSON_ESCAPE)
    for _ in range(LEVELS_MAX):
        yield View(text, _shadow(text), starts)
        if ("\\" not in text and "%" not in text) or not _ESCAPE.search(text):
            return
        text, places = _unescape(text, _ESCAPE)
        starts = places if starts is None else [starts[place] for place in places]


def _shadow(text: str) -> bytes:
    if text.isascii():
        return text.encode()
    return text.translate(PLAIN).encode("latin-1", "privacy.views")


def _unescape(text: str, escape: re.Pattern[str]) -> tuple[str, list[int]]:
    """The text with its escapes read, and where each character of it begins, the end included."""
    parts: list[str] = []
    places: list[int] = []
    at = 0
    for found in escape.finditer(text):
        parts.append(text[at : found.start()])
        places.extend(range(at, found.start() + 1))
        parts.append(_read(found[0]))
        at = found.end()
    parts.append(text[at:])
    places.extend(range(at, len(text) + 1))
    return "".join(parts), places


def _read(escape: str) -> str:
    if escape[0] == "%":
        return chr(int(escape[1:], 16))
    if escape[1] == "u":
        return chr(int(escape[2:], 16))
    return _SIMPLE.get(escape[1], escape[1])
