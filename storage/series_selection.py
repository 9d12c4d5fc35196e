"""Conditions on labels in; what `find_series` binds, and what of the series that it finds RE2 must still decide, out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from storage.label_patterns import LabelPattern
from storage.metric_selection import LabelMatcher

NAME = "__name__"
"""The label that is the metric's name."""


@dataclass(slots=True)
class BoundMatchers:
    """The parameters of `find_series`, and with them the patterns that PostgreSQL cannot decide.

    `names` are those that the metric can have, None for any; `equal` are equalities that the index looks up. The three columns
    hold the conditions in PostgreSQL's form. `left` are (label, pattern, whether it must match).
    """

    names: list[str] | None = None
    equal: dict[str, str] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    operators: list[str] = field(default_factory=list)
    operands: list[str] = field(default_factory=list)
    left: list[tuple[str, LabelPattern, bool]] = field(default_factory=list)

    @classmethod
    def of(cls, matchers: Sequence[LabelMatcher]) -> BoundMatchers:
        """Raises `Refused` for a pattern that is none."""
        bound = cls()
        for matcher in matchers:
            bound._bind(matcher)
        return bound

    def values(self) -> tuple[str, list[str], list[str], list[str]]:
        """From $3 on."""
        return _json(self.equal), self.labels, self.operators, self.operands

    def meets(self, labels: Mapping[str, str]) -> bool:
        """Whether RE2 agrees to labels that include the name."""
        return all(pattern.matches(labels.get(label, "")) is wanted for label, pattern, wanted in self.left)

    def _bind(self, matcher: LabelMatcher) -> None:
        label, operand = matcher.label, matcher.operand
        if matcher.operator == "=":
            self._bind_equal(label, operand)
        elif matcher.operator == "!=":
            self._add(label, "!=", operand)
        else:
            self._bind_pattern(label, LabelPattern.of(operand), wanted=matcher.operator == "=~")

    def _bind_equal(self, label: str, operand: str) -> None:
        if label == NAME and operand:
            self._bind_names([operand])
        elif operand and label not in self.equal:
            self.equal[label] = operand
        else:
            self._add(label, "=", operand)

    def _bind_names(self, names: list[str]) -> None:
        self.names = names if self.names is None else [name for name in self.names if name in names]

    def _bind_pattern(self, label: str, pattern: LabelPattern, *, wanted: bool) -> None:
        if pattern.texts is not None:
            if wanted and label == NAME:
                self._bind_names([text for text in pattern.texts if text])
            else:
                self._add(label, "in" if wanted else "not in", _json(pattern.texts))
        elif pattern.any_but_empty:
            self._add(label, "!=" if wanted else "=", "")
        elif not (pattern.any_text and wanted):
            if wanted and pattern.prefix:
                self._add(label, "prefix", pattern.prefix)
            self.left.append((label, pattern, wanted))

    def _add(self, label: str, operator: str, operand: str) -> None:
        self.labels.append(label)
        self.operators.append(operator)
        self.operands.append(operand)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
