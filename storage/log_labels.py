"""A label's name in; the SQL that gives its text in the table `logs`, "" for none, out. The rules are those of docs/logql.md.

logql/evaluate.py finds the same in Python, tests/integration/test_logql_answers.py compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from string import Template
from typing import Any, Final

from logql.logfmt import PAIR
from logql.names import ERROR_LABEL, IDS, STREAM_LABELS, shadowed
from logql.patterns import within
from logql.query import JsonParser, LogfmtParser, Parser
from storage.named_queries import load_queries
from topics.errors import TooExpensive

JOINTS_MAX: Final = 10

SQL: Final = load_queries("log_conditions.sql")
_PLAIN: Final = re.compile(r"[A-Za-z0-9]+", re.ASCII)
_FRAGMENTS_MAX: Final = 3
_NONE: Final = "''"


@dataclass(slots=True)
class Bound:
    """SQL in the making, and the values that it binds, under names of its own that begin with `prefix`."""

    prefix: str
    parameters: dict[str, Any] = field(default_factory=dict)
    _names: dict[tuple[str, str], str] = field(default_factory=dict)

    def value(self, value: Any, kind: str = "String") -> str:
        """A value's place in a statement; the same value has one place."""
        known = self._names.get((kind, repr(value)))
        if known is None:
            known = self._names[(kind, repr(value))] = f"{self.prefix}_{len(self.parameters)}"
            self.parameters[known] = value
        return f"{{{known}:{kind}}}"

    def piece(self, name: str, /, **parts: str) -> str:
        """A piece of log_conditions.sql, its placeholders filled with SQL."""
        return Template(SQL[name]).substitute(parts)


@dataclass(frozen=True, slots=True)
class LabelTexts:
    """Makes the SQL of labels and fields; what it binds goes into `bound`."""

    bound: Bound

    def label(self, name: str, parsers: Sequence[Parser]) -> str:
        """A label behind `parsers`."""
        column = STREAM_LABELS.get(name)
        if name == ERROR_LABEL:
            return SQL["json_error"] if any(isinstance(parser, JsonParser) for parser in parsers) else _NONE
        if column in ("service", "level"):
            return column
        choices = [] if column is None else [column]
        base = shadowed(name)
        # One that stands there twice finds the same twice; its SQL would be read, and analyzed, as often.
        for parser in dict.fromkeys(reversed(parsers)):
            if base is not None:
                found = self._found_by(parser, base)
                choices.append(f"if({STREAM_LABELS[base]} != {_NONE}, {found}, {_NONE})")
            choices.append(self._found_by(parser, name))
        if name in IDS:
            choices.append(name)
        choices.append(self.member("attributes", name, "_"))
        choices = [choice for choice in choices if choice != _NONE]
        return choices[0] if len(choices) == 1 else self.bound.piece("first_text", texts=", ".join(choices))

    def member(self, json: str, name: str, joint: str) -> str:
        """What a JSON column has under a name; `joint` stands between nested names: "_" makes labels, "." keeps names."""
        if joint not in name:
            return self._json_at(json, self.bound.value(name), "1")
        return self.bound.piece(
            "json_walk_text", walk=self._walk(json, name, joint), possible=self._possible(json, name)
        )

    def has_member(self, json: str, name: str) -> str:
        """Whether a JSON column has something other than null under a name joined by points."""
        return self.bound.piece(
            "json_walk_exists", walk=self._walk(json, name, "."), possible=self._possible(json, name)
        )

    def _walk(self, json: str, name: str, joint: str) -> str:
        joints = name.count(joint)
        if joints > JOINTS_MAX:
            raise TooExpensive(f"joints of a name = {JOINTS_MAX}", f"{name[:100]} with {joints}")
        walk = ""
        for at in range(joints + 1):
            # A label does not begin with a digit, so its first part may have an underscore more.
            named = (
                "name_as_it_is" if joint == "." else "name_as_label" if at or name[0] != "_" else "name_as_first_label"
            )
            step = "json_walk_step" if at else "json_walk_first_step"
            parts = {
                "named": SQL[named],
                "joint": self.bound.value(joint),
                "name": self.bound.value(name),
                "json": json,
            }
            walk = self.bound.piece(step, walk=walk, **parts)
        return walk

    def _possible(self, json: str, name: str) -> str:
        """Whether the text can hold such a name at all: most do not, and are not read."""
        fragments = sorted(set(_PLAIN.findall(name)), key=len, reverse=True)[:_FRAGMENTS_MAX]
        if not fragments:
            return "1"
        held = [self.bound.piece("json_holds", json=json, text=self.bound.value(text)) for text in fragments]
        return f"({' AND '.join(held)} OR {self.bound.piece('json_escaped', json=json)})"

    def _found_by(self, parser: Parser, label: str) -> str:
        bound = self.bound
        if isinstance(parser, JsonParser):
            if not parser.fields:
                return self.member("message", label, "_")
            path = dict(parser.fields).get(label)
            return _NONE if path is None else self._at(path)
        if isinstance(parser, LogfmtParser):
            key = dict(parser.fields).get(label) if parser.fields else label
            if key is None:
                return _NONE
            matches = bound.piece("logfmt_is_key" if parser.fields else "logfmt_is_label", name=bound.value(key))
            return bound.piece("logfmt_value", matches=matches, pairs=bound.value(PAIR))
        group = dict(parser.groups).get(label)
        if group is None:
            return _NONE
        return bound.piece(
            "regexp_group", pattern=bound.value(within(parser.pattern)), number=bound.value(group, "UInt16")
        )

    def _at(self, path: Sequence[str | int]) -> str:
        """A path into the message; positions are only followed in arrays, as ClickHouse counts members of objects too."""
        places = [
            self.bound.value(part) if isinstance(part, str) else self.bound.value(part + 1, "UInt32") for part in path
        ]
        arrays = [
            self.bound.piece("json_is_array", json="message", path="".join(f", {place}" for place in places[:at]))
            for at, part in enumerate(path)
            if isinstance(part, int)
        ]
        return self._json_at("message", ", ".join(places), " AND ".join(arrays) or "1")

    def _json_at(self, json: str, path: str, possible: str) -> str:
        kind = self.bound.piece("json_type", json=json, path=path)
        text = self.bound.piece("json_text", json=json, path=path)
        return self.bound.piece("json_at", type=kind, text=text, possible=possible)
