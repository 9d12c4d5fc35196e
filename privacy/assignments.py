"""Names of secrets in plain text (`password=x`, `"token": "x"` in a logged body, parameters of a URL) -> where its value is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from privacy.key_names import KeyNames
from privacy.rules import compile_bytes
from privacy.views import View

_VALUE_MAX = 16_384
_BARE = re.compile(r"[^\s,;&\"'<>(){}\[\]|\\^`]+")
_SCHEME = re.compile(r"(?i)(?:bearer|basic|digest|token|negotiate|apikey|aws4-hmac-sha256)\s+")
_LINE = re.compile(r"[^\r\n\"]+")
_BEFORE = re.compile(r"[\w.-]*\Z")
_NOTHING = frozenset(("null", "none", "nil", "undefined", "true", "false", "empty", "missing", "n/a", "-", "*", "****"))
_TO_END_OF_LINE = ("cookie", "cookies")


class Assigned(NamedTuple):
    """Characters `start` to `end` of the view are the value; `quote` is the range of a quote to put around what replaces it."""

    start: int
    end: int
    quote: tuple[int, int] | None


class Assignments:
    """Finds values of sensitive names in views."""

    def __init__(self, names: KeyNames, memory_bytes: int) -> None:
        self._names = names
        ends = names.search_pattern().encode("latin-1", "privacy.views")
        self._search = compile_bytes(b"(" + ends + rb")(?:([\"'])[ \t\r\n]*|[ \t]*)(=>|:=|=|:)[ \t]*", memory_bytes)
        self.gate = ends + rb"(?:[\"'][ \t\r\n]*|[ \t]*)[=:]"

    def find(self, view: View) -> Iterator[Assigned]:
        """Values whose name is sensitive, not those that say nothing (null, empty) or stand for another (`${PASSWORD}`)."""
        text, done = view.text, 0
        for match in self._search.finditer(view.shadow):
            if match.start() < done:
                continue  # Within a value that goes as a whole; looking again would make a hostile text quadratic.
            word = _BEFORE.search(text, max(0, match.start() - 100), match.start())
            name = (word[0] if word else "") + text[match.start(1) : match.end(1)].rstrip()
            if not self._names.is_sensitive(name):
                continue
            quoted, at = bool(match.group(2)), match.end()
            while quoted and text[at : at + 1] in ("\n", "\r", "\t", " "):
                at += 1
            in_prose = match.group(3) == b":" and at > match.end(3) and not quoted
            found = _value_at(text, at, name, quoted, in_prose)
            if found is None:
                continue
            start, done, needs_quote = found
            quote = (match.start(2), match.end(2)) if needs_quote else None
            yield Assigned(start, done, quote)


def _value_at(text: str, at: int, name: str, quoted: bool, in_prose: bool) -> tuple[int, int, bool] | None:
    """The value that begins at `at`: (start, end, whether it needs quotes), None if it is not one worth hiding."""
    first = text[at : at + 1]
    if first in ('"', "'"):
        start, end = at + 1, _end_of_quoted(text, at + 1, first)
        return (start, end, False) if _says_something(text[start:end]) else None
    if quoted and first in ("{", "["):
        end = end_of_brackets(text, at)
        return (at, end, True) if end - at > 2 else None
    if not first or first in "=<{" or text.startswith(("${", "%s", "%("), at):
        return None
    end = _end_of_bare(text, at, name)
    value = text[at:end]
    if not _says_something(value):
        return None
    if in_prose and not _looks_random(value):
        return None
    return at, end, quoted


def _end_of_quoted(text: str, start: int, quote: str) -> int:
    at = start
    limit = min(len(text), start + _VALUE_MAX)
    while at < limit and text[at] != quote:
        at += 2 if text[at] == "\\" and at + 1 < limit and text[at + 1] in ("\\", quote) else 1
    return min(at, limit)


def end_of_brackets(text: str, at: int) -> int:
    """Where the object or array that begins at `at` ends; the end of the text if it does not."""
    depth, inside, limit = 0, False, min(len(text), at + 4 * _VALUE_MAX)
    while at < limit:
        c = text[at]
        if inside:
            at += c == "\\"
            inside = c != '"'
        elif c == '"':
            inside = True
        elif c in "{[":
            depth += 1
        elif c in "}]":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return min(at, limit)


def _end_of_bare(text: str, at: int, name: str) -> int:
    if name.lower().endswith(_TO_END_OF_LINE) or text.startswith("[", at):
        line = _LINE.match(text, at)
        if line and not text.startswith("[", at):
            return line.end()
        bracket = text.find("]", at)
        return bracket + 1 if bracket != -1 else len(text)
    scheme = _SCHEME.match(text, at)
    bare = _BARE.match(text, scheme.end() if scheme else at)
    if bare is None:
        return at
    return at + len(text[at : bare.end()].rstrip(".:!?")) if bare.end() > at else at


def _says_something(value: str) -> bool:
    return value.strip("*. ") != "" and value.lower() not in _NOTHING


def _looks_random(value: str) -> bool:
    """Behind `name: ` stands a sentence as often as a secret; a secret has a digit or a sign in it."""
    return len(value) >= 4 and not value.isalpha() and not value.isdigit()
