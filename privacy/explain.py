"""The dry run: a policy and a sample -> what the policy would do to it, value by value, without showing the values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from privacy.detector import Finding
from privacy.json_texts import apply_findings
from privacy.policy import Policy
from privacy.scrub import Scrubber
from privacy.strategies import TOKEN, replace

_DEPTH_MAX = 100


class Explained(msgspec.Struct, frozen=True):
    """One value that would be replaced: by which rule, where (`logs[0].attributes.email`), a mask of it, what would be stored.

    `after` is one value's replacement; the hashes of a dry run are made with its own key, so they are not the stored ones.
    """

    rule: str
    path: str
    before: str
    after: str


def explain(policy: Policy, sample: Any, *, hash_key: bytes = b"\0" * 16) -> list[Explained]:
    """`sample` is a text, or decoded JSON: dicts, lists, texts, numbers. In order of appearance."""
    return list(_Explainer(policy, hash_key).look(sample, "", "", 0))


class _Explainer:
    def __init__(self, policy: Policy, hash_key: bytes) -> None:
        self._policy = policy
        self._key = hash_key
        self._scrubber = Scrubber(policy, hash_key)

    def look(self, sample: Any, path: str, name: str, depth: int) -> Iterator[Explained]:
        if depth > _DEPTH_MAX:
            return
        if isinstance(sample, dict):
            for key, value in sample.items():
                yield from self._entry(str(key), value, f"{path}.{key}" if path else str(key), depth)
        elif isinstance(sample, list | tuple):
            for i, value in enumerate(sample):
                yield from self.look(value, f"{path}[{i}]", name, depth + 1)
        elif sample is not None and not isinstance(sample, bool):
            yield from self._leaf(sample, path, name)

    def _entry(self, key: str, value: Any, path: str, depth: int) -> Iterator[Explained]:
        findings = self._scrubber.detector.find(key)
        shown = path
        if findings:
            # A key that is personal itself may not be shown in the path either.
            shown = path[: len(path) - len(key)] + apply_findings(key, findings, self._after)
            yield from (self._explained(finding, shown) for finding in findings)
        empty = value is None or isinstance(value, bool) or (isinstance(value, str | list | tuple | dict) and not value)
        if self._scrubber.detector.names.is_sensitive(key) and not empty:
            if not (isinstance(value, str) and TOKEN.fullmatch(value)):
                yield self._explained(Finding(0, 0, "sensitive_key", _said(value)), shown)
        else:
            yield from self.look(value, shown, "" if findings else key, depth + 1)

    def _leaf(self, value: Any, path: str, name: str) -> Iterator[Explained]:
        # Exactly what a stored attribute goes through, with the name that it stands under.
        for finding in self._scrubber.find_in_json(msgspec.json.encode({name: value} if name else value)):
            yield self._explained(finding, path)

    def _explained(self, finding: Finding, path: str) -> Explained:
        return Explained(
            finding.rule, path, replace("mask", finding.rule, finding.value, self._key), self._after(finding)
        )

    def _after(self, finding: Finding) -> str:
        return self._scrubber.replacement(finding)


def _said(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
