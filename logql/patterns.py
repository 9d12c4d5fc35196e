"""A regular expression of a query in; the same one for RE2 here and in ClickHouse, with its flags written out, out.

ClickHouse lets . match a newline unless it is told, RE2 here does not, so what either should do stands in the pattern. Case
counts unless the pattern says (?i).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import re2

from topics.errors import Refused

CHARACTERS_MAX: Final = 1000
_MEMORY_BYTES_MAX: Final = 1 << 20

_OPTIONS: Final = re2.Options()
_OPTIONS.max_mem = _MEMORY_BYTES_MAX
_OPTIONS.log_errors = False


def whole(pattern: str) -> str:
    """Matches a text as a whole: . is any character, as in Loki's selectors."""
    return f"^(?s:{pattern})$"


def within(pattern: str) -> str:
    """Matches somewhere in a text: . is any character but a newline, as in Loki's line filters."""
    return f"(?-s:{pattern})"


@lru_cache(maxsize=256)
def compiled(pattern: str) -> Any:
    """RE2's form of it. Raises `Refused` for one that is none, or too large."""
    if len(pattern) > CHARACTERS_MAX + 10:
        raise Refused(f"the regular expression has more than {CHARACTERS_MAX} characters", code="invalid_field")
    try:
        return re2.compile(pattern, _OPTIONS)
    except re2.error as exc:
        why = exc.args[0] if exc.args else "it is none"
        text = why.decode(errors="replace") if isinstance(why, bytes) else str(why)
        raise Refused(f"the regular expression cannot be used: {text}", code="invalid_field") from None


def program_size(pattern: str) -> int:
    """How large RE2's program is, in instructions: matching takes at most some 10 ns for each of them and each byte of a text."""
    return int(compiled(pattern).programsize)


def check_pattern(pattern: str) -> None:
    r"""Raise `Refused` (without a path) for what RE2 does not take as it stands: inside a group, `a)|(b` would be another one.

    And for what it does not take inside one: an open \Q would swallow the end of the group.
    """
    if len(pattern) > CHARACTERS_MAX:
        raise Refused(f"the regular expression has more than {CHARACTERS_MAX} characters", code="invalid_field")
    compiled(pattern)
    compiled(within(pattern))
