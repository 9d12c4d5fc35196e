"""Ids of traces and spans as anybody writes them -> one form, so that records of one trace find each other.

Hexadecimal ids become lower case, without 0x, and a UUID without its dashes; an id of 16 or more zeros is none (W3C Trace
Context), a shorter one may be a number. Other texts are ids of the sender's own making and are kept as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I | re.ASCII)
_HEX: Final = re.compile(r"(?:0[xX])?([0-9a-fA-F]+)", re.ASCII)
_LOWER_HEX: Final = b"0123456789abcdef"
_ZEROS_FROM: Final = 16
_ZEROS: Final = frozenset("0" * n for n in range(_ZEROS_FROM, 201))  # as long as an id may be


def normalize_id(text: str | None) -> str:
    """One id, of a record as of a question about records; "" for none."""
    if not text:
        return ""
    if _UUID.fullmatch(text):
        text = text.replace("-", "")
    found = _HEX.fullmatch(text)
    if found is None:
        return text
    digits = found[1].lower()
    return digits if len(digits) < _ZEROS_FROM or digits.strip("0") else ""


def normalize_ids(values: Sequence[str | None]) -> list[str]:
    """A column of ids; None is "". Ids that are in form already, as most are, cost a look at their joined text."""
    texts = [value or "" for value in values]
    if not "".join(texts).encode().translate(None, _LOWER_HEX) and _ZEROS.isdisjoint(texts):
        return texts
    known = {text: normalize_id(text) for text in set(texts)}
    return [known[text] for text in texts]


def is_zero(text: str) -> bool:
    """Whether an id, which must not be empty, is one of zeros alone."""
    return text[0] == "0" and not normalize_id(text)
