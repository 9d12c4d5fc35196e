"""The text of an expression -> a text that `promql-parser` reads exactly, with what was taken out of it.

The package follows Prometheus 2.45 and keeps no negative time behind @, no fraction of a second, no underscore in a number; its
patterns are not RE2, raw strings not raw, and it overflows the stack on deep nesting. Durations,
times and patterns are therefore replaced by their place in a list, numbers are written plainly, and depth is bounded, before it
sees the text.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NoReturn

from query.promql.nodes import At
from topics.errors import Refused

TEXT_MAX = 50_000
"""Characters of an expression."""
DEPTH_MAX = 100
OPERATORS_MAX = 400
"""Brackets inside each other, and operators in all: a thread's stack of 1 MB bears twice as many."""

_MS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = re.compile(r"(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m(?!s))?(\d+s)?(\d+ms)?")
_NUMBER = re.compile(r"0[xX][\da-fA-F]+(_[\da-fA-F]+)*|(\d+(_\d+)*\.?\d*|\.\d+)([eE][+-]?\d+)?")
_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
      | (?P<number>0[xX]\w*|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][+-]?\d[\w.]*|(?:\d|\.\d)[\w.]*)
      | (?P<word>[A-Za-z_][\w:]*|:[\w:]+)
      | (?P<mark>=~|!~|==|!=|<=|>=|[-+*/%^=<>@,:(){}\[\]])""",
    re.VERBOSE | re.ASCII,
)
_OPENED = {")": "(", "]": "[", "}": "{"}
_LISTING = frozenset(("by", "without", "on", "ignoring", "group_left", "group_right"))
_OPERATORS = frozenset(("+", "-", "*", "/", "%", "^", "==", "!=", "<=", ">=", "<", ">"))
_WORD_OPERATORS = frozenset(("and", "or", "unless", "atan2"))
_NO_OPERANDS = _WORD_OPERATORS | _LISTING | {"bool"}
_ESCAPE = re.compile(r"\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)
_PLAIN_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
}
_NO_UTF_8 = re.compile(r"[\ud800-\udfff]")
_INT64_MS = 1 << 63


@dataclass(slots=True)
class Prepared:
    """`text` names the n-th duration (ms), time behind @ (ms), pattern and string by n, counted from 1.

    Label names and the values that labels are equal to stay in the text, quoted in one way.
    """

    text: str = ""
    durations_ms: list[int] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)
    patterns: list[str] = field(default_factory=list)
    strings: list[str] = field(default_factory=list)

    def duration_ms(self, listed: timedelta) -> int:
        """What a duration of the package's tree stands for."""
        return self.durations_ms[round(listed.total_seconds()) - 1]

    def offset_ms(self, listed: timedelta | None) -> int:
        """The same with its sign; 0 for none."""
        if listed is None:
            return 0
        return self.duration_ms(listed) if listed > timedelta(0) else -self.duration_ms(-listed)

    def at(self, tree: Any) -> At:
        """What stands behind @ in the package's tree."""
        if tree is None:
            return None
        which = str(tree.type).rpartition(".")[2]
        if which == "At":
            place: int = round(tree.at.timestamp())
            return self.times_ms[place - 1]
        return "start" if which == "Start" else "end"

    def pattern(self, listed: str) -> str:
        """What the value of a matcher by pattern stands for."""
        return self.patterns[int(listed.rstrip("|")) - 1]


def refuse(reason: str, text: str, at: int | None = None) -> NoReturn:
    """An expression that Prometheus refuses too; `at` is the character at fault, where it is known."""
    if at is None:
        raise Refused(f"cannot parse the query: {reason}", code="bad_data", path="query")
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    raise Refused(f"cannot parse the query: {line}:{column}: {reason}", code="bad_data", path="query")


def number_of(word: str) -> float | None:
    """A number, or a duration in seconds; None if the word is neither."""
    if _NUMBER.fullmatch(word):
        plain = word.replace("_", "")
        if plain[:2].lower() == "0x":
            return float(int(plain, 16))
        if len(plain) > 1 and plain[0] == "0" and plain.isdigit() and not set(plain) & {"8", "9"}:
            return float(int(plain, 8))
        return float(plain)
    found = _DURATION.fullmatch(word)
    if word and found:
        return (
            sum(int(part[: -len(unit)]) * _MS[unit] for part, unit in zip(found.groups(), _MS, strict=True) if part)
            / 1000
        )
    return None


def string_of(token: str) -> str:
    """A quoted string -> what it says, as Go reads it. Bytes that are no UTF-8 become lone surrogates; raises `ValueError`."""
    if token[0] == "`":
        return token[1:-1]

    def said(escape: re.Match[str]) -> str:
        two, four, eight, octal, plain = escape.groups()
        if two or octal:
            return bytes([int(two, 16) if two else int(octal, 8)]).decode("latin-1").translate(_RAW_BYTES)
        if four or eight:
            return chr(int(four or eight, 16))
        if plain not in _PLAIN_ESCAPES:
            raise ValueError(f"unknown escape sequence \\{plain}")
        return _PLAIN_ESCAPES[plain]

    return _ESCAPE.sub(said, token[1:-1]).encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


_RAW_BYTES = {byte: 0xDC00 + byte for byte in range(0x80, 0x100)}


class _Reader:
    """Reads one text, token by token; what it writes goes to `parts`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.prepared = Prepared()
        self.parts: list[str] = []
        self.open: list[str] = []
        self.operators = 0
        self.operand = False
        """The token before is the end of something that an operator or a modifier may follow."""
        self.listing = False
        """The token before is a word that label names in parentheses follow."""
        self.awaits = ""
        """What the next number is, if it is not a value: "@", "offset"."""
        self.sign = 1

    def read(self) -> Prepared:
        at = 0
        while at < len(self.text):
            found = _TOKEN.match(self.text, at)
            if found is None:
                refuse(f"unexpected character {self.text[at]!r}" + self._unclosed(at), self.text, at)
            token = found[0]
            if self.open and self.open[-1] == "[" and token[0] == ":":
                token = ":"  # Of a subquery; elsewhere a name may begin with it.
            kind = found.lastgroup or ""
            if kind != "space":
                self._take(kind if token != ":" else "mark", token, at)
            else:
                self.parts.append(" " if "\n" not in token else "\n")
            at += len(token)
        if self.open:
            refuse(f"unclosed {self.open[-1].replace('by', '(')!r}", self.text, len(self.text))
        self.prepared.text = "".join(self.parts)
        return self.prepared

    def _unclosed(self, at: int) -> str:
        return ": a string that is not closed" if self.text[at] in "\"'`" else ""

    def _take(self, kind: str, token: str, at: int) -> None:
        awaited, self.awaits = self.awaits, ""
        if awaited and token in "+-" and kind == "mark":
            self.sign = -1 if token == "-" else 1
            self.awaits = awaited
            if awaited == "offset":
                self.parts.append(token)
            return
        if kind == "number":
            self._number(token, at, awaited)
        elif kind == "string":
            self._string(token, at)
        elif kind == "word":
            self._word(token, at)
        else:
            self._mark(token, at)

    def _number(self, token: str, at: int, awaited: str) -> None:
        try:
            value = number_of(token)
        except (OverflowError, ValueError):  # Of more digits than a double, or Python, takes.
            value = math.inf
        if value is None:
            refuse(f"bad number or duration: {token!r}", self.text, at)
        if not math.isfinite(value):
            refuse(f"number out of range: {token!r}", self.text, at)
        if awaited == "@":
            self.parts.append(self._listed(self.prepared.times_ms, self.sign * value, at))
        elif awaited or (self.open and self.open[-1] == "["):
            if not awaited and value <= 0:
                refuse("a duration must be greater than 0", self.text, at)
            self.parts.append(self._listed(self.prepared.durations_ms, value, at))
        else:
            self.parts.append(repr(value))
        self.operand = True

    def _listed(self, values: list[int], seconds: float, at: int) -> str:
        ms = seconds * 1000
        if abs(ms) >= _INT64_MS // 1_000_000:  # Prometheus counts durations in nanoseconds.
            refuse("duration or time out of range", self.text, at)
        values.append(round(ms))
        return str(len(values))

    def _string(self, token: str, at: int) -> None:
        try:
            said = string_of(token)
        except (ValueError, OverflowError) as error:
            refuse(str(error), self.text, at)
        if not said.isprintable() and _NO_UTF_8.search(said):
            # No label has such a text, PostgreSQL and RE2 take none, and JSON cannot say it.
            refuse("a string that is not UTF-8", self.text, at)
        place = self.open[-1] if self.open else ""
        operator = "".join(self.parts[-3:]).rstrip()[-2:] if place == "{" else ""
        if operator in ("=~", "!~"):
            self.prepared.patterns.append(said)
            # The package wants to see that "" is not selected, and whether it is is looked at later.
            self.parts.append(f'"{len(self.prepared.patterns)}{"|" if operator == "!~" else ""}"')
        elif place in ("{", "by"):
            self.parts.append(_quoted(said))
        else:
            self.prepared.strings.append(said)
            self.parts.append(f'"{len(self.prepared.strings)}"')
        self.operand = True

    def _word(self, token: str, at: int) -> None:
        word = token.lower()
        inside = bool(self.open) and self.open[-1] == "{"
        if not inside and word == "offset" and self.operand:
            self.awaits, self.sign, self.operand = "offset", 1, False
        elif not inside and word in _NO_OPERANDS and self.operand:
            self._count(word in _WORD_OPERATORS, at)
            self.operand = False
        else:
            self.operand = True
        self.listing = word in _LISTING
        # A label may have the name of any word of the language.
        self.parts.append(f'"{token}"' if self.open and self.open[-1] == "by" else token)

    def _mark(self, token: str, at: int) -> None:
        if token in "([{":
            self.open.append("by" if token == "(" and self.listing else token)
            if len(self.open) > DEPTH_MAX:
                refuse(f"more than {DEPTH_MAX} brackets inside each other", self.text, at)
        elif token in _OPENED:
            opened = self.open.pop() if self.open else ""
            if opened != _OPENED[token] and (opened, token) != ("by", ")"):
                refuse(f"unexpected {token!r}", self.text, at)
        elif token == "@":
            self.awaits, self.sign = "@", 1
        else:
            self._count(token in _OPERATORS, at)
        self.operand = token in _OPENED
        self.listing = False
        self.parts.append(token)

    def _count(self, operator: bool, at: int) -> None:
        self.operators += operator
        if self.operators > OPERATORS_MAX:
            refuse(f"more than {OPERATORS_MAX} operators", self.text, at)


def prepare(text: str) -> Prepared:
    """Raises `Refused` (code "bad_data") where the text is no sequence of PromQL's tokens, or past a bound."""
    if len(text) > TEXT_MAX:
        refuse(f"more than {TEXT_MAX} characters", text)
    return _Reader(text).read()
