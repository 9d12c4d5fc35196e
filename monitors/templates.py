"""A monitor's own text with variables in -> checked once when it is defined; a transition's facts in -> the text that is told.

    {{monitor.name}} is {{state}} on {{group.host}}: {{value}} is past {{threshold}}

A variable is replaced by a text and never looked at again, so that no value can bring in variables of its own. What a text means
to its reader (Slack's markup, a mail's header) the channels know and guard.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from topics.errors import Refused

TEXT_MAX: Final = 4000
VARIABLES_MAX: Final = 50
FILLED_MAX: Final = 8000
_VALUE_MAX: Final = 500

VARIABLES: Final = (
    "monitor.id",
    "monitor.name",
    "monitor.kind",
    "state",
    "previous_state",
    "value",
    "threshold",
    "group",
    "at",
    "url",
    "repeat",
)
"""What every monitor has; `group.<label>` is each label that it groups by."""

_PART: Final = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Template:
    """Texts and names of variables in turns, beginning and ending with a text."""

    parts: tuple[str, ...]

    def fill(self, facts: Mapping[str, str]) -> str:
        """The text, with what `facts` does not know left empty. At most 8000 characters."""
        filled = (part if i % 2 == 0 else facts.get(part, "")[:_VALUE_MAX] for i, part in enumerate(self.parts))
        text = "".join(filled)
        return text if len(text) <= FILLED_MAX else f"{text[: FILLED_MAX - 1]}…"


def parse_template(text: str, *, group_by: Collection[str] = (), path: str = "message") -> Template:
    """A text -> its parts. Raises `Refused` that blames `path` for an unknown variable, braces that do not match, or too much."""
    if len(text) > TEXT_MAX:
        raise _bad(f"it has more than {TEXT_MAX} characters", path)
    parts = _PART.split(text)
    if len(parts) // 2 > VARIABLES_MAX:
        raise _bad(f"it has more than {VARIABLES_MAX} variables", path)
    for i, part in enumerate(parts):
        if i % 2 == 0:
            if "{{" in part or "}}" in part:
                raise _bad("a {{ or }} has no other half", path)
            if any(not c.isprintable() and c not in "\n\t" for c in part):
                raise _bad("it has control characters", path)
        elif part not in VARIABLES and not (part.startswith("group.") and part[len("group.") :] in group_by):
            known = [*VARIABLES, *(f"group.{label}" for label in group_by)]
            raise _bad(f"there is no variable {part!r}; there are {', '.join(known)}", path)
    return Template(tuple(parts))


def _bad(why: str, path: str) -> Refused:
    return Refused(f"cannot use the message: {why}", code="invalid_field", path=path)
