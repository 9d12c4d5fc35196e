"""JSON text in; its members as labels with their texts out, as ClickHouse reads the same text (storage/queries/log_labels.sql).

- A name and its members' names are joined with an underscore, and what a label may not have becomes one:
  `{"http": {"status.code": 500}}` is `http_status_code`. A label that would begin with a digit gets an underscore before it.
  Empty names are left out.
- Where two paths give one label, the smaller path counts, as a list of names; of a name that is there twice in one object, the
  first.
- Texts are kept, booleans are `true` and `false`, numbers are written as JavaScript does (1.50 is `1.5`, 1e3 `1000`). null,
  arrays and objects have no text, and give no label.
- Unreadable as a whole is what is no object, and one with a whole number beyond 64 bits, a number past a double, a half of a
  surrogate pair, or 1024 levels: simdjson, which ClickHouse reads with, refuses those.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final

import orjson

from logql.names import label_of

_MEMBER: Final = re.compile(r'"[ \t\r\n]*:')
_DEPTH_MAX: Final = 1023
_EXACT_BELOW: Final = 9.0e18
_Path = tuple[str, ...]


def read_object(text: str | bytes) -> dict[str, Any] | None:
    """The object, None where it is unreadable."""
    if isinstance(text, bytes):
        text = text.decode()
    text = text.removeprefix("\ufeff")
    try:
        found = orjson.loads(text)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    members, odd = _look(found)
    if odd is None:
        return None
    # As many colons as members: no name is there twice. Colons in texts may say otherwise, and then it is read again.
    if odd or len(_MEMBER.findall(text)) != members:
        return _read_slowly(text)
    return found


def labels_of(found: dict[str, Any]) -> dict[str, str]:
    """label -> text."""
    return _named(found, "_", label_of)


def fields_of(found: dict[str, Any]) -> dict[str, str]:
    """The same under names joined with points and kept as they are: `http.status.code`."""
    return _named(found, ".", str)


def text_at(found: dict[str, Any], path: Iterable[str | int]) -> str:
    """The text at a path of names and positions, "" where there is none."""
    value: Any = found
    deep = -1
    for part in path:
        deep += 1
        if isinstance(part, str):
            value = value.get(part) if isinstance(value, dict) else None
        else:
            value = value[part] if isinstance(value, list) and part < len(value) else None
    return text_of(value) or ""


def text_of(value: Any) -> str | None:
    """The text of one value; None for null, arrays and objects."""
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is int:
        return repr(value)
    if kind is bool:
        return "true" if value else "false"
    return number_text(value) if kind is float else None


def number_text(number: float) -> str:
    """The shortest digits that give the same double, as ECMAScript's Number::toString has them, and ClickHouse."""
    size = abs(number)
    if size < 1e-6 or size >= 1e21:
        if size == 0.0:
            return "0"
        digits, _, exponent = repr(number).partition("e")
        return f"{digits.removesuffix('.0')}e{int(exponent)}"
    text = repr(number)
    return (format(Decimal(text), "f") if "e" in text else text).removesuffix(".0")


def _named(found: dict[str, Any], joint: str, named: Callable[[str], str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    paths: dict[str, _Path] = {}
    waiting: list[tuple[_Path, str, dict[str, Any]]] = [((), "", found)]
    while waiting:
        above, prefix, members = waiting.pop()
        for key, value in members.items():
            if not key:
                continue
            name = prefix + named(key)
            if type(value) is dict:
                waiting.append(((*above, key), name + joint, value))
                continue
            text = text_of(value)
            if text is None:
                continue
            if joint == "_" and name[0].isdigit():
                name = f"_{name}"
            path = (*above, key)
            if name not in texts or path < paths[name]:
                texts[name], paths[name] = text, path
    return texts


def _look(found: dict[str, Any]) -> tuple[int, bool | None]:
    """How many members there are at all levels, and whether a number must be looked at in the text; None for too deep."""
    members = 0
    odd = False
    level: list[Any] = [found]
    depth = 0
    while level:
        depth += 1
        below: list[Any] = []
        for each in level:
            values = each
            if isinstance(each, dict):
                members += len(each)
                values = each.values()
            for value in values:
                kind = type(value)
                if kind is dict or kind is list:
                    below.append(value)
                elif kind is float and not -_EXACT_BELOW < value < _EXACT_BELOW:
                    odd = True
        level = below
    return (members, None) if depth > _DEPTH_MAX else (members, odd)


def _read_slowly(text: str) -> dict[str, Any] | None:
    """With the first of each repeated name, and whole numbers as they are written."""
    try:
        found = json.loads(text, object_pairs_hook=_first_of_each, parse_int=_within_64_bits)
    except (ValueError, RecursionError):
        return None
    return dict(found)


def _first_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        members.setdefault(key, value)
    return members


def _within_64_bits(digits: str) -> int:
    number = int(digits)
    if not -(1 << 63) <= number < 1 << 64:
        raise ValueError(digits)
    return number
