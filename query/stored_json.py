"""JSON text as senders wrote it and stores keep it, in; the same text for an answer that every reader of JSON can read, out.

JSON bounds no number (RFC 8259 section 6), and many readers refuse a whole answer that has one past a double. So such a number is
shown as a text; everything else goes out as it is, names that stand there twice included.
"""

from __future__ import annotations

import math
import re
from typing import Final

import orjson

# A text without these has no such number: an exponent of three digits, or 200 digits in a row, which two more take past a double.
_EXPONENT: Final = re.compile(r"[eE]\+?[0-9]{3}")
_LONG: Final = re.compile(r"[0-9.]{200}")
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.]*(?:[eE][+-]?[0-9]+)?', re.DOTALL)


def shown_json(text: str) -> orjson.Fragment:
    """One JSON value, as a part of an answer."""
    if _EXPONENT.search(text) or _LONG.search(text):
        text = _TOKEN.sub(_shown_token, text)
    return orjson.Fragment(text)


def _shown_token(found: re.Match[str]) -> str:
    token = found[0]
    return token if token[0] == '"' or math.isfinite(float(token)) else f'"{token}"'
