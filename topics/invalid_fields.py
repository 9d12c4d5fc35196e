"""What msgspec says of a document in; the field at fault, as a refusal of ours, out."""

from __future__ import annotations

import re

from topics.errors import Refused

_FIELD_NAMED = re.compile(r"^Object (?:missing required|contains unknown) field `([^`]{1,100})`")


def reason_and_path(message: str) -> tuple[str, str]:
    """A msgspec validation message ("Expected `str`, got `int` - at `$.logs[0].level`") -> our reason and path."""
    reason, _, where = message.partition(" - at `$")
    path = where.rstrip("`").lstrip(".")
    field = _FIELD_NAMED.search(reason)
    if field is not None:
        path = f"{path}.{field[1]}" if path else field[1]
    return reason[:1].lower() + reason[1:], path


def invalid_field(path: str, reason: str) -> Refused:
    """The refusal of one field: 422 with its path."""
    return Refused(reason, code="invalid_field", path=path)
