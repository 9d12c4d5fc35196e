"""A pattern on a label in; what PostgreSQL can decide of it exactly, and RE2's word on the rest, out.

Prometheus' patterns are RE2 and match the whole value; a dot matches a line feed too (model/labels/regexp.go, version 3). The
patterns of PostgreSQL are another language, so only what means the same in any goes there: alternatives without operators, and
how a match must begin.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field
from typing import Any

import re2

from topics.errors import Refused

_OPTIONS = re2.Options()
_OPTIONS.dot_nl = True
_OPTIONS.log_errors = False

_OPERATORS = frozenset("\\.+*?()|[]{}^$")
_COUNTS = frozenset("*?{+")  # what follows a character that may be there less than once, or begins a count
_ESCAPED = frozenset(string.punctuation)


@dataclass(frozen=True, slots=True)
class LabelPattern:
    """A pattern, compiled. `texts` are all that it matches, where it is nothing but alternatives; else None, and `prefix` is what
    every match begins with. `any_text` matches everything, `any_but_empty` all but the empty text."""

    pattern: str
    texts: tuple[str, ...] | None
    prefix: str
    _compiled: Any = field(repr=False, compare=False)

    @classmethod
    def of(cls, pattern: str) -> LabelPattern:
        """Raises `Refused` with path "labels" for what is no pattern of RE2's."""
        try:
            compiled = re2.compile(pattern, _OPTIONS)
        except re2.error as exc:
            why = exc.args[0].decode(errors="replace") if exc.args and isinstance(exc.args[0], bytes) else str(exc)
            raise Refused(
                f"cannot query metrics: labels: {pattern!r} is no pattern: {why}", code="invalid_field", path="labels"
            ) from None
        texts = _alternatives(pattern)
        return cls(pattern, texts, "" if texts is not None else _prefix(pattern), compiled)

    @property
    def any_text(self) -> bool:
        """Whether it matches every text."""
        return self.pattern == ".*"

    @property
    def any_but_empty(self) -> bool:
        """Whether it matches every text but the empty one."""
        return self.pattern == ".+"

    def matches(self, text: str) -> bool:
        """Whether it matches the whole text."""
        return self._compiled.fullmatch(text) is not None


def _alternatives(pattern: str) -> tuple[str, ...] | None:
    """The texts of a pattern like `a|b\\.c` or `(a|b)`; None for one with any other operator."""
    inner = pattern
    if pattern.endswith(")") and not pattern.endswith("\\)"):
        inner = pattern.removeprefix("(?:") if pattern.startswith("(?:") else pattern.removeprefix("(")
        if inner == pattern:
            return None
        inner = inner[:-1]
    found, text, i = [], "", 0
    while i < len(inner):
        character = inner[i]
        if character == "|":
            found.append(text)
            text = ""
        elif character == "\\" and inner[i + 1 : i + 2] in _ESCAPED and i + 1 < len(inner):
            i += 1
            text += inner[i]
        elif character in _OPERATORS:
            return None
        else:
            text += character
        i += 1
    return (*found, text)


def _prefix(pattern: str) -> str:
    """What every match of a pattern begins with, as far as it can be told at a glance."""
    if "|" in pattern:
        return ""
    text, i = "", 0
    while i < len(pattern):
        character = pattern[i]
        if character == "\\" and i + 1 < len(pattern) and pattern[i + 1] in _ESCAPED:
            i += 1
            character = pattern[i]
        elif character in _OPERATORS:
            return text[:-1] if character in _COUNTS else text
        text += character
        i += 1
    return text
