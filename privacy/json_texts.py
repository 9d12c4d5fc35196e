"""One JSON text with findings -> the same text with them replaced, and every other byte as it was.

The text is not decoded and encoded again: numbers keep their form, keys their order and repetitions, and depth costs nothing.
Only strings and numbers that the prefilter points at are looked into.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation

from privacy.checks import CARD_LENGTHS, is_card
from privacy.detector import Detector, Finding
from privacy.strategies import TOKEN

Replace = Callable[[Finding], str]
"""A finding -> what is stored instead of it; counts it too."""

_TOKEN = re.compile(rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"(\s*+:\s*+)?|-?[0-9][0-9.eE+-]*', re.S)
_BRACKET = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]', re.S)
_SCALAR = re.compile(rb"[^,\]}\s]+")
_EMPTY = re.compile(rb"\s*[\[{]\s*[\]}]")
_PHONE_KEY = re.compile(r"(?i)(?:phone|mobile|cell|tel|fax|telephone|sms|whatsapp)(?:[ _-]?(?:number|no|nr))?\Z")
_BARE_PHONE = re.compile(r"\+?[0-9][0-9 ().-]{8,18}")
_EXPONENT_MAX = 30
_PASSES_MAX = 8
_APART = " \t\r\n,;\"'<>|=&"
"""Next to a value these hide nothing."""

Edit = tuple[int, int, bytes]


class JsonScrubber:
    """Replaces inside JSON texts what `detector` finds, by what `replace` says."""

    def __init__(self, detector: Detector, replace: Replace) -> None:
        self._detector = detector
        self._replace = replace

    def scrub(self, text: bytes, hits: Sequence[tuple[int, int]] | None = None) -> bytes:
        """`hits` are the prefilter's byte ranges, in order; None looks at everything. `text` itself if nothing is found."""
        edits: list[Edit] = []
        at, hit, is_phone = 0, 0, False
        while (token := _TOKEN.search(text, at)) is not None:
            start, at = token.span()
            if hits is not None:
                while hit < len(hits) and hits[hit][1] <= start:
                    hit += 1
                if hit == len(hits):
                    break
                if hits[hit][0] >= at:
                    continue
            if token[1] is None:
                self._scrub_number(token[0], start, is_phone, edits)
            else:
                self._scrub_string(token[1], start, is_phone, edits)
            is_phone = False
            if token[2] is not None:
                name = _decoded(token[1])
                if self._detector.names.is_sensitive(name):
                    at = self._scrub_value(text, at, edits)
                is_phone = _PHONE_KEY.search(name) is not None
        return _apply(text, edits) if edits else text

    def _scrub_string(self, body: bytes, start: int, is_phone: bool, edits: list[Edit]) -> None:
        text = body.decode()
        if is_phone and self._detector.looks_for("phone") and _BARE_PHONE.fullmatch(text):
            new = self._replace(Finding(0, len(text), "phone", text))
        else:
            new = scrub_text(text, self._detector, self._replace, in_json="\\" in text)
        if new is not text:
            edits.append((start + 1, start + 1 + len(body), new.encode()))

    def _scrub_number(self, number: bytes, start: int, is_phone: bool, edits: list[Edit]) -> None:
        digits = _whole_number(number)
        rule = ""
        if digits is not None and len(digits) in CARD_LENGTHS and is_card(digits):
            rule = "card"
        elif digits is not None and is_phone and 10 <= len(digits) <= 15:
            rule = "phone"
        if digits is not None and rule and self._detector.looks_for(rule):
            new = self._replace(Finding(0, 0, rule, digits.decode()))
            edits.append((start, start + len(number), b'"' + new.encode() + b'"'))

    def _scrub_value(self, text: bytes, at: int, edits: list[Edit]) -> int:
        """Replace the value at `at`, whatever it is, unless it says nothing or was replaced before; where it ends."""
        end = value_end(text, at)
        value = text[at:end]
        if value in (b"null", b"true", b"false", b'""') or _EMPTY.fullmatch(value):
            return end
        said = _decoded(value[1:-1]) if value[:1] == b'"' else value.decode()
        if value[:1] == b'"' and TOKEN.fullmatch(said):
            return end
        edits.append((at, end, b'"' + self._replace(Finding(0, 0, "sensitive_key", said)).encode() + b'"'))
        return end


def scrub_text(text: str, detector: Detector, replace: Replace, *, in_json: bool = False) -> str:
    """The text with what `detector` finds replaced; `text` itself if that is nothing. `in_json`: as for `Detector.find`.

    What stood right beside a value may have hidden another (`bob@example.com+49...`), so then the rest is looked at again.
    """
    for _ in range(_PASSES_MAX):
        findings = detector.find(text, in_json=in_json)
        if not findings:
            break
        crowded = any(
            text[max(0, finding.start - 1) : finding.start].strip(_APART)
            or text[finding.end : finding.end + 1].strip(_APART)
            for finding in findings
        )
        text = apply_findings(text, findings, replace)
        if not crowded:
            break
    return text


def value_end(text: bytes, at: int) -> int:
    """Where the JSON value that begins at `at` ends."""
    if text[at : at + 1] == b'"':
        string = _TOKEN.match(text, at)
        return at + len(string[1]) + 2 if string is not None and string[1] is not None else len(text)
    if text[at : at + 1] not in (b"{", b"["):
        scalar = _SCALAR.match(text, at)
        return scalar.end() if scalar else at
    depth = 0
    for bracket in _BRACKET.finditer(text, at):
        kind = bracket[0]
        depth += (kind in (b"{", b"[")) - (kind in (b"}", b"]"))
        if depth == 0:
            return bracket.end()
    return len(text)


def apply_findings(text: str, findings: Sequence[Finding], replace: Replace) -> str:
    """The text with its findings, which are in order, replaced."""
    parts: list[str] = []
    copied = 0
    for finding in findings:
        parts += (text[copied : finding.start], finding.quote, replace(finding), finding.quote)
        copied = finding.end
    parts.append(text[copied:])
    return "".join(parts)


def _apply(text: bytes, edits: list[Edit]) -> bytes:
    parts: list[bytes] = []
    copied = 0
    for start, end, new in edits:
        parts += (text[copied:start], new)
        copied = end
    parts.append(text[copied:])
    return b"".join(parts)


def _decoded(body: bytes) -> str:
    """What a JSON string says, its quotes left off."""
    if b"\\" not in body:
        return body.decode()
    said: str = json.loads(b'"' + body + b'"', strict=False)
    return said


def _whole_number(number: bytes) -> bytes | None:
    """The digits of a JSON number that is whole, however it is written (4.1e15); None for others, which no card can be."""
    if number.isdigit():
        return number
    try:
        value = Decimal(number.decode())
    except InvalidOperation:
        return None
    if value.adjusted() > _EXPONENT_MAX or value <= 0 or value != value.to_integral_value():
        return None
    return str(int(value)).encode()
