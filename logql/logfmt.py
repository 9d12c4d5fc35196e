"""A line in; its key=value pairs out, by one regular expression, which ClickHouse runs too.

A key has no space, quote or =. A value in quotes is read as a JSON text where it is one, else it is what stands between the
quotes; another value ends at a space or a quote. The first pair of a key counts. Whatever else stands in the line is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import orjson
import re2

from logql.names import label_of

PAIR: Final = r"""([^\s="]+)=("(?:[^"\\]|(?s:\\.))*"|[^\s"]*)"""

_PAIR: Final = re2.compile(PAIR)


def pairs_of(line: str) -> Iterator[tuple[str, str]]:
    """Key and value, in their order."""
    if "=" not in line:
        return
    for found in _PAIR.finditer(line):
        yield found[1], _unquoted(found[2])


def labels_of(line: str) -> dict[str, str]:
    """label -> value; what a label may not have is an underscore, and one before a digit at its begin."""
    labels: dict[str, str] = {}
    for key, value in pairs_of(line):
        label = label_of(key)
        labels.setdefault(f"_{label}" if label[0].isdigit() else label, value)
    return labels


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(orjson.loads(value))
    except ValueError:
        return value[1:-1]
