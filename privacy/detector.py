"""A policy -> `Detector`: finds in a text every value that the policy wants replaced, each with its place.

One detector serves all organizations with the same policy; keys for hashing are not its business.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from typing import NamedTuple

import re2

from privacy.assignments import Assignments
from privacy.key_names import KeyNames
from privacy.policy import RULES, Policy, compile_pattern, policy_text, read_policy
from privacy.prefilter import compile_prefilter, memory_for
from privacy.rules import BUILT_IN, latin1
from privacy.strategies import tokens_in
from privacy.views import View, views_of
from topics.errors import Refused

_OF_LETTERS = {"email", "api_key", "url_password"}
_DETECTORS_KEPT = 64


class Finding(NamedTuple):
    """Characters `start` to `end` of a text are `value`, which `rule` found; `quote` goes on both sides of what replaces it."""

    start: int
    end: int
    rule: str
    value: str
    quote: str = ""


_Ranked = tuple[int, int, int, Finding]


class Detector:
    """Finds what a policy names. `prefilter` runs over the joined text of a column, `find` over one text."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.names = KeyNames(policy.keys, policy.keep_keys)
        self.prefilter = compile_prefilter(policy, self.names)
        self._assignments = Assignments(self.names, memory_for(policy))
        self._rules = [(rule, BUILT_IN[rule].find) for rule in RULES if rule in BUILT_IN and self.looks_for(rule)]
        self._gates = re2.Set.SearchSet(latin1(memory_for(policy)))
        for gate in (self._assignments.gate, *(BUILT_IN[rule].gate for rule, _ in self._rules)):
            self._gates.Add(gate)
        self._gates.Compile()
        if not self._gates.Match(b"password=x"):
            # A set that has no room answers that nothing matches.
            raise Refused(
                "cannot use the policy: its keys make too large an automaton", code="invalid_field", path="keys"
            )
        self._extra = [(pattern.name, compile_pattern(pattern.pattern, "")) for pattern in policy.patterns]

    def looks_for(self, rule: str) -> bool:
        """Whether the policy has this rule on."""
        return self.policy.strategy_of(rule) != "off"

    def find(self, text: str, *, in_json: bool = False) -> list[Finding]:
        """What to replace in a text, in order and without overlap; nothing that was replaced before.

        `in_json`: the text is the inside of a JSON string with escapes.
        """
        found: list[_Ranked] = []
        for level, view in enumerate(views_of(text, in_json=in_json)):
            self._find_in(text, view, level, found)
        if not found:
            return []
        return _choose(found, tokens_in(text))

    def _find_in(self, text: str, view: View, level: int, found: list[_Ranked]) -> None:
        shadow = view.shadow
        for rank in sorted(self._gates.Match(shadow) or ()):
            if rank == 0:
                self._find_assigned(text, view, found)
                continue
            rule, find = self._rules[rank - 1]
            for first, last in find(shadow):
                # The shadow, not the text: a number in other digits is the same number.
                value = view.text[first:last] if rule in _OF_LETTERS else shadow[first:last].decode("latin-1")
                # Of a literal \nbob@x.com the first look takes the n for a part of the name, and the next one knows better.
                found.append(
                    _ranked(rank, level if rule == "email" else 0, Finding(*view.place(first, last), rule, value))
                )
        for rank, (name, pattern) in enumerate(self._extra, 100):
            for match in pattern.finditer(view.text):
                if match.end() > match.start():
                    found.append(_ranked(rank, 0, Finding(*view.place(*match.span()), name, match.group())))

    def _find_assigned(self, text: str, view: View, found: list[_Ranked]) -> None:
        for value_start, value_end, quoted in self._assignments.find(view):
            start, end = view.place(value_start, value_end)
            quote = text[slice(*view.place(*quoted))] if quoted else ""
            found.append(_ranked(0, 0, Finding(start, end, "sensitive_key", view.text[value_start:value_end], quote)))


def _ranked(rank: int, level: int, finding: Finding) -> _Ranked:
    """Sorts the rule that comes first before others, then the deeper view, then the longer finding."""
    return rank, -level, finding.start - finding.end, finding


def _choose(found: list[_Ranked], tokens: list[tuple[int, int]]) -> list[Finding]:
    """The findings that stay: of two that overlap the first by rank, and none that is a part of a token or cuts one."""
    chosen: list[Finding] = []
    tokens = sorted(tokens)
    for *_, finding in sorted(found):
        if _spoils(tokens, finding.start, finding.end):
            continue
        at = bisect_left(chosen, finding)
        before_ends = at == 0 or chosen[at - 1].end <= finding.start
        if before_ends and (at == len(chosen) or finding.end <= chosen[at].start):
            chosen.insert(at, finding)
    return chosen


def _spoils(tokens: list[tuple[int, int]], start: int, end: int) -> bool:
    """Whether a range is a token, lies in one or cuts one. Whole tokens with more around them may go."""
    at = max(0, bisect_left(tokens, (start, start)) - 1)
    if any(low < end and start < high and (low < start or high > end) for low, high in tokens[at : at + 2]):
        return True
    last = bisect_left(tokens, (end, end)) - 1
    return (last >= 0 and tokens[last][1] > end) or (start, end) in tokens[at : at + 2]


@lru_cache(maxsize=_DETECTORS_KEPT)
def _detector(text: bytes) -> Detector:
    return Detector(read_policy(text))


def detector_of(policy: Policy) -> Detector:
    """The detector of a policy; organizations with equal policies share one."""
    return _detector(policy_text(policy))
