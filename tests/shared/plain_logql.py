"""docs/logql.md once more, as plainly as it can be said: what queries and filters say of a log.

Neither `logql/` nor `storage/` is used here, so that tests can hold both of them against it. Questions are written as small trees
(tests/shared/logs_to_try.py), which are rendered to the text that is asked and are read here directly.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

from topics.levels import normalize_level

Log = dict[str, Any]
Members = list[tuple[str, Any]]
STREAM = {"service": "service", "service_name": "service", "level": "level", "host": "host", "environment": "environment",
          "version": "version"}  # fmt: skip


# JSON


class _Number(str):
    """A number as it is written."""


class _Unreadable(Exception):
    """What ClickHouse does not read."""


def read(text: str) -> Members | None:
    """The members of an object, in their order, repeated names too; None for what is not readable or no object."""
    try:
        found = json.loads(
            text, object_pairs_hook=_pairs, parse_int=_whole, parse_float=_fraction, parse_constant=_none_such
        )
    except (ValueError, _Unreadable):
        return None
    if not isinstance(found, tuple) or _broken(found):
        return None
    return list(found)


def _pairs(pairs: Members) -> tuple[Any, ...]:
    return tuple(pairs)


def _whole(digits: str) -> _Number:
    if not -(2**63) <= int(digits) < 2**64:
        raise _Unreadable
    return _Number(int(digits))


def _fraction(digits: str) -> _Number:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise _Unreadable
    return _Number(shown(number))


def _none_such(name: str) -> None:
    raise _Unreadable(name)


def _broken(value: Any) -> bool:
    """Half of a surrogate pair somewhere."""
    if isinstance(value, str):
        return any(0xD800 <= ord(c) < 0xE000 for c in value)
    return isinstance(value, tuple | list) and any(_broken(each) for each in value)


def shown(number: float) -> str:
    """ECMAScript's Number::toString, from the digits and the place of the point."""
    if number == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(number)).as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits)).rstrip("0")
    point = len(digits) + exponent
    if len(text) <= point <= 21:
        text = text + "0" * (point - len(text))
    elif 0 < point <= 21:
        text = f"{text[:point]}.{text[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{text}"
    else:
        text = f"{text[0]}{'.' if len(text) > 1 else ''}{text[1:]}e{point - 1}"
    return f"-{text}" if sign else text


def _leaves(members: Members, above: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Every value that is no object by its path; and objects too, as None-less tuples, for `exists`."""
    found: list[tuple[tuple[str, ...], Any]] = []
    seen = set()
    for key, value in members:
        if key == "" or key in seen:
            seen.add(key)
            continue
        seen.add(key)
        found.append(((*above, key), value))
        if isinstance(value, tuple):
            found += _leaves(list(value), (*above, key))
    return found


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str) else None


def labels(members: Members) -> dict[str, str]:
    chosen: dict[str, tuple[tuple[str, ...], str]] = {}
    for path, value in _leaves(members):
        text = _text(value)
        if text is None:
            continue
        name = re.sub(r"[^A-Za-z0-9_]", "_", "_".join(path))
        name = f"_{name}" if name[0] in "0123456789" else name
        if name not in chosen or path < chosen[name][0]:
            chosen[name] = (path, text)
    return {name: text for name, (_, text) in chosen.items()}


def field_values(attributes: str, name: str) -> list[tuple[tuple[str, ...], Any]]:
    """Everything that stands under a name joined by points, by its path."""
    return [(path, value) for path, value in _leaves(read(attributes) or []) if ".".join(path) == name]


def at_path(members: Members, path: list[str | int]) -> str:
    value: Any = tuple(members)
    for part in path:
        if isinstance(part, int):
            value = value[part] if isinstance(value, list) and part < len(value) else None
        else:
            value = next((v for k, v in value if k == part), None) if isinstance(value, tuple) else None
    return _text(value) or ""


# logfmt


def pairs(line: str) -> list[tuple[str, str]]:
    """Read from left to right: a key up to its =, then a value in quotes, or one up to a space or quote."""
    found = []
    space = "\t\n\f\r "
    at = 0
    while at < len(line):
        end = at
        while end < len(line) and line[end] not in space + '="':
            end += 1
        if end == at or end == len(line) or line[end] != "=":
            at = end + 1
            continue
        key, at = line[at:end], end + 1
        close = at + 1
        while close < len(line) and line[close] != '"':
            close += 2 if line[close] == "\\" else 1
        if at < len(line) and line[at] == '"' and close < len(line):
            quoted = line[at : close + 1]
            try:
                value = json.loads(quoted)
                if _broken(value):
                    raise ValueError
            except ValueError:
                value = quoted[1:-1]
            at = close + 1
        else:
            end = at
            while end < len(line) and line[end] not in space + '"':
                end += 1
            value, at = line[at:end], end
        found.append((key, value))
    return found


# Questions: trees, and what they say of a log


def parsed(parser: tuple[Any, ...], log: Log) -> dict[str, str]:
    kind, fields = parser
    line = log["message"]
    if kind == "json":
        members = read(line)
        if members is None:
            return {}
        return labels(members) if not fields else {label: at_path(members, path) for label, path in fields}
    if kind == "logfmt":
        found: dict[str, str] = {}
        for key, value in pairs(line):
            if fields:
                name = key
            else:
                name = re.sub(r"[^A-Za-z0-9_]", "_", key)
                name = f"_{name}" if name[0] in "0123456789" else name
            found.setdefault(name, value)
        return {label: found.get(key, "") for label, key in fields} if fields else found
    match = re.search(fields, line)
    return {} if match is None else {name: text or "" for name, text in match.groupdict().items()}


def label(log: Log, name: str, parsers: list[tuple[Any, ...]]) -> str:
    if name == "__error__":
        failed = any(kind == "json" for kind, _ in parsers) and read(log["message"]) is None
        return "JSONParserErr" if failed else ""
    if log.get(STREAM.get(name, "")):
        return str(log[STREAM[name]])
    for parser in reversed(parsers):
        found = parsed(parser, log)
        renamed = {f"{each}_extracted": text for each, text in found.items() if text and log.get(STREAM.get(each, ""))}
        for source in (renamed, found):
            if source.get(name):
                return source[name]
    if name in ("trace_id", "span_id") and log[name]:
        return str(log[name])
    return labels(read(log["attributes"]) or []).get(name, "")


def number(text: str) -> Fraction | None:
    """As JSON writes one; the nearest double."""
    if not re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?", text, re.A):
        return None
    value = float(text)
    return None if value in (float("inf"), float("-inf")) else Fraction(value)


def duration(text: str) -> int | None:
    units = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 6 * 10**10, "h": 36 * 10**11}
    if not re.fullmatch(r"-?(\d{1,15}(\.\d{1,15})?(ns|us|µs|ms|s|m|h))+", text, re.A) or len(text.encode()) > 100:
        return None
    parts = re.findall(r"(\d+)(\.\d+)?(ns|us|µs|ms|s|m|h)", text, re.A)
    ns = sum(int(a) * units[u] + int(Fraction(f"0{b or '.0'}") * units[u]) for a, b, u in parts)
    return -ns if text.startswith("-") else ns


def size(text: str) -> int | None:
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?) ?([A-Za-z]*)", text, re.A)
    factors = {"": 1, "b": 1, "kb": 1000, "k": 1000, "kib": 1024, "ki": 1024, "mb": 10**6, "m": 10**6, "mib": 1 << 20,
               "mi": 1 << 20, "gb": 10**9, "gib": 1 << 30}  # fmt: skip
    if match is None or match[2].lower() not in factors:
        return None
    return int(Fraction(match[1]) * factors[match[2].lower()])


def compare(op: str, a: Any, b: Any) -> bool:
    return bool({"=": a == b, "==": a == b, "!=": a != b, ">": a > b, ">=": a >= b, "<": a < b, "<=": a <= b}[op])


def matched(pattern: str, text: str, *, whole: bool) -> bool:
    flags = re.I if pattern.startswith("(?i)") else re.NOFLAG
    pattern = pattern.removeprefix("(?i)")
    if whole:
        return re.fullmatch(pattern, text, flags | re.S) is not None
    return re.search(pattern, text, flags) is not None


def test_says(test: tuple[Any, ...], log: Log, parsers: list[tuple[Any, ...]]) -> bool:
    kind, *rest = test
    if kind in ("and", ","):
        return all(test_says(each, log, parsers) for each in rest)
    if kind == "or":
        return any(test_says(each, log, parsers) for each in rest)
    name, op, value = rest
    text = label(log, name, parsers)
    if kind == "number":
        read_it: Any = number if number(value) is not None else duration if duration(value) is not None else size
        found = read_it(text)
        return found is not None and compare(op, found, read_it(value))
    if op in ("=~", "!~"):
        return matched(value, text, whole=True) is (op == "=~")
    if name == "level":
        value = normalize_level(value)
    return (text == value) is (op == "=")


def query_says(query: list[tuple[Any, ...]], log: Log) -> bool:
    parsers: list[tuple[Any, ...]] = []
    for kind, *rest in query:
        if kind == "parser":
            parsers.append(rest[0])
        elif kind == "line":
            op, values = rest
            some = any(
                v in log["message"] if op[-1] == "=" else matched(v, log["message"], whole=False) for v in values
            )
            if some is not op.startswith("|"):
                return False
        elif kind == "stream":
            # The braces see fields alone.
            if not test_says(rest[0], log | {"attributes": "{}"}, []):
                return False
        elif not test_says(rest[0], log, parsers):
            return False
    return True


def filter_says(asked: dict[str, Any], log: Log) -> bool:
    name, op, value = asked["field"], asked["op"], asked.get("value")
    if name in log and name != "attributes":
        found = [((), log[name])] if log[name] else []
        text = log[name]
    else:
        found = [
            (path, each)
            for path, each in field_values(log["attributes"], name.removeprefix("attributes."))
            if each is not None
        ]
        text = next((t for t in (_text(each) for _, each in sorted(found, key=lambda f: f[0])) if t is not None), "")
    positive = op.removeprefix("not_")
    if op == "!=":
        positive = "="
    if positive == "exists":
        says = bool(found)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        read_number = number(text)
        says = read_number is not None and compare(positive, read_number, Fraction(value))
    else:
        value = str(value).lower() if isinstance(value, bool) else value
        if name == "level" and positive == "=":
            value = normalize_level(value)
        says = {
            "=": lambda: text == value,
            "contains": lambda: value in text,
            "regex": lambda: matched(value, text, whole=False),
        }[positive]()
    return says is (op == positive)
