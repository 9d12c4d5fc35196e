"""Columns of a batch -> the same columns without what the organization's policy names, and how many of what was found.

A column is joined and searched once; only the texts with hits are looked into. A column without findings comes back as the very
same list, a text without as the very same text.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

from privacy.detector import Finding, detector_of
from privacy.json_texts import JsonScrubber, scrub_text
from privacy.policy import Policy, Strategy
from privacy.prefilter import SEPARATOR
from privacy.strategies import HASH_KEY_BYTES_MIN, TOKEN, URL_PASSWORD, replace

HITS_OF_TEXT_MAX = 64
"""After so many hits in one JSON text all of it is looked at."""

_SEPARATOR = SEPARATOR.encode()

Text = TypeVar("Text", str, bytes, "str | None")
Counts = Counter[str]
"""Rule -> values replaced."""


class Hit(NamedTuple):
    """Text number `row` of a column has a finding of the prefilter at each of `places`, byte ranges in the text."""

    row: int
    places: list[tuple[int, int]]


class Scrubber:
    """Scrubs for one organization. Cheap to make: what a policy compiles to is shared by all who have it.

    `hash_key` is the organization's, at least 16 bytes; only the strategy hash uses it. `counts` adds up what was replaced, by
    rule, since `take_counts`.
    """

    def __init__(self, policy: Policy, hash_key: bytes) -> None:
        if len(hash_key) < HASH_KEY_BYTES_MIN:
            raise ValueError(f"a hash key has at least {HASH_KEY_BYTES_MIN} bytes")
        self.policy = policy
        self.detector = detector_of(policy)
        self._hash_key = hash_key
        self._json = JsonScrubber(self.detector, self._replace)
        self._strategies: dict[str, Strategy] = {}
        self.counts: Counts = Counter()

    def take_counts(self) -> Counts:
        """What was replaced since the last call, by rule."""
        taken, self.counts = self.counts, Counter()
        return taken

    def texts(self, column: Sequence[Text]) -> Sequence[Text]:
        """Plain text: messages, stacks, names, URLs with their parameters. None stays None."""
        new: list[Text] | None = None
        for hit in self._hits(column, every=False):
            text = column[hit.row]
            assert isinstance(text, str)
            scrubbed = self.text(text)
            if scrubbed is not text:
                new = list(column) if new is None else new
                new[hit.row] = scrubbed
        return column if new is None else new

    urls = texts
    """A URL is text: parameters are names with values, and percent escapes are read as any others."""

    def text(self, text: str) -> str:
        """One text, looked into without the prefilter."""
        return scrub_text(text, self.detector, self._replace)

    def json_texts(self, column: Sequence[Text]) -> Sequence[Text]:
        """Valid JSON texts, as str or as UTF-8 bytes: attributes, labels, events. Stays valid; None stays None."""
        new: list[Text] | None = None
        for hit in self._hits(column, every=True):
            text = column[hit.row]
            assert text is not None
            raw = text.encode("utf-8") if isinstance(text, str) else text
            places = None if len(hit.places) >= HITS_OF_TEXT_MAX or self.policy.patterns else hit.places
            scrubbed = self._json.scrub(raw, places)
            if scrubbed is not raw:
                new = list(column) if new is None else new
                new[hit.row] = scrubbed.decode() if isinstance(text, str) else scrubbed
        return column if new is None else new

    def labels(self, sets: Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, str]]:
        """Label sets of metrics; names stay, and what is clean comes back as it is. Call once a series, not once a point."""
        values = [value for labels in sets for value in labels.values()]
        scrubbed = iter(self.texts(values))
        new: list[Mapping[str, str]] = []
        for labels in sets:
            changed = {name: self._value(name, value, next(scrubbed)) for name, value in labels.items()}
            new.append(labels if changed == labels else changed)
        return sets if all(a is b for a, b in zip(new, sets, strict=True)) else new

    def _value(self, name: str, value: str, scrubbed: str) -> str:
        if not value or not self.detector.names.is_sensitive(name) or TOKEN.fullmatch(value):
            return scrubbed
        return self._replace(Finding(0, 0, "sensitive_key", value))

    def count_hits(self, column: Sequence[Text], *, every: bool = False) -> int:
        """How many texts of a column the prefilter points at, for benchmarks; `every`: looking for every place, as JSON needs."""
        return sum(1 for _ in self._hits(column, every=every))

    def find_in_json(self, text: bytes) -> list[Finding]:
        """What `json_texts` would replace in one JSON text, not counted; places are those in its strings."""
        findings: list[Finding] = []

        def keep(finding: Finding) -> str:
            findings.append(finding)
            return self.replacement(finding)

        JsonScrubber(self.detector, keep).scrub(text)
        return findings

    def replacement(self, finding: Finding) -> str:
        """What is stored instead of a finding."""
        rule = finding.rule
        if rule == "url_password":
            return URL_PASSWORD
        strategy = self._strategies.get(rule)
        if strategy is None:
            setting = self.policy.strategy_of(rule)
            assert setting != "off"
            strategy = self._strategies[rule] = setting
        return replace(strategy, rule, finding.value, self._hash_key)

    def _replace(self, finding: Finding) -> str:
        self.counts[finding.rule] += 1
        return self.replacement(finding)

    def _hits(self, column: Sequence[Any], *, every: bool) -> Iterator[Hit]:
        """Texts of a column that the prefilter points at; `every`: with all places, otherwise the first is enough."""
        blob = join(column)
        search = self.detector.prefilter.search
        found = search(blob)
        if found is None:
            return
        # Text i stands at starts[i], behind its separator.
        starts = list(accumulate((size + 1 for size in _sizes(column, len(blob))), initial=1))
        while found is not None:
            first, last = found.span()
            row = bisect_right(starts, first + (blob[first] == _SEPARATOR[0])) - 1
            begin, end = starts[row], starts[row + 1] - 1
            places = [(max(0, first - begin), min(last, end) - begin)]
            while every and len(places) < HITS_OF_TEXT_MAX:
                found = search(blob, max(first + 1, last - 1), end)
                if found is None:
                    break
                first, last = found.span()
                places.append((first - begin, last - begin))
            yield Hit(row, places)
            if row + 2 >= len(starts):
                return
            found = search(blob, starts[row + 1] - 1)


def join(column: Sequence[Any]) -> bytes:
    """The texts of a column as one, in UTF-8, each behind a separator."""
    if not column:
        return _SEPARATOR
    try:
        if isinstance(column[0], str):
            return (SEPARATOR + SEPARATOR.join(column)).encode()
        return _SEPARATOR + _SEPARATOR.join(column)
    except TypeError:
        empty = next((text[:0] for text in column if text is not None), "")
        return join([empty if text is None else text for text in column])
    except UnicodeEncodeError:
        return _SEPARATOR + _SEPARATOR.join((text or "").encode("utf-8", "replace") for text in column)


def _sizes(column: Sequence[Any], total: int) -> Iterator[int]:
    """The texts' sizes in bytes; lengths are sizes where all is ASCII."""
    lengths = [0 if text is None else len(text) for text in column]
    if sum(lengths) + len(lengths) == total:
        return iter(lengths)
    return (0 if text is None else len(text.encode("utf-8", "replace")) for text in column)
