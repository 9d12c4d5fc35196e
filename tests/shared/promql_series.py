"""Series for tests of PromQL: written as text, kept in memory, read like from a store."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from query.promql.labels import NAME, Labels, LabelTable, key_of
from query.promql.lexical import number_of
from query.promql.parsing import nodes_of, pattern_of
from query.promql.source import STALE_BITS, Matcher, Selection, SeriesBlock

STALE = np.array([STALE_BITS], dtype=np.int64).view(np.float64)[0]
_REPEAT = re.compile(r"(.+?)(?:([+-])((?:\d|\.\d|Inf|NaN)[^x]*))?x(\d+)")

Points = dict[int, np.float64]
"""Time in ms -> value; the value keeps its bits."""


def ms_of(text: str) -> int:
    """A time or duration as it stands in an expression."""
    value = number_of(text.removeprefix("-"))
    assert value is not None, text
    return round(value * 1000) * (-1 if text.startswith("-") else 1)


def labels_of(text: str) -> Labels:
    """name{label="value"} -> labels."""
    text = text.strip()
    if text in ("", "{}"):
        return {}
    parsed: Labels = {}
    name, brace, rest = text.partition("{")
    if name:
        parsed[NAME] = name
    if brace:
        # The parser of expressions reads what is between the braces; one matcher more makes it a selector.
        node = nodes_of('{zzz="1",' + rest) if rest.strip() != "}" else nodes_of('{zzz="1"}')
        parsed |= {matcher.label: matcher.value for matcher in node.matchers if matcher.label != "zzz"}  # type: ignore[union-attr]  # a series is a plain selector
    return parsed


def _value(text: str) -> np.float64:
    return STALE if text == "stale" else np.float64(float(text))


def values_of(text: str) -> list[np.float64 | None]:
    """`1 _ 2x3 0+10x2 stale` -> 1, nothing, 2 four times, 0 10 20, a stale marker."""
    values: list[np.float64 | None] = []
    for word in text.split():
        found = _REPEAT.fullmatch(word)
        if word == "_":
            values.append(None)
        elif word.startswith("_x"):
            values.extend([None] * int(word[2:]))
        elif found is None or word.startswith("0x"):
            values.append(_value(word))
        else:
            first, sign, step, count = found.groups()
            if step is None:
                values.extend([_value(first)] * (int(count) + 1))
            else:
                by = float(sign + step)
                values.extend(np.float64(float(first) + by * k) for k in range(int(count) + 1))
    return values


@dataclass(slots=True)
class MemorySeries:
    """A `SeriesSource` of what was loaded."""

    series: dict[tuple[tuple[str, str], ...], Points] = field(default_factory=dict)

    def load(self, step_ms: int, lines: Sequence[str], start_ms: int = 0) -> None:
        for line in lines:
            name, _, values = line.rpartition("}") if "}" in line else (line.split()[0], "", line.partition(" ")[2])
            labels = labels_of(name + ("}" if "}" in line else ""))
            points = self.series.setdefault(key_of(labels), {})
            for k, value in enumerate(values_of(values)):
                if value is not None:
                    points[start_ms + k * step_ms] = value

    def block(self, selection: Selection) -> SeriesBlock:
        rows, counts, times, values = [], [], [], []
        for key, points in self.series.items():
            labels = dict(key)
            chosen = sorted(t for t in points if selection.start_ms <= t <= selection.end_ms)
            if chosen and all(matches(labels, matcher) for matcher in selection.matchers):
                rows.append(labels)
                counts.append(len(chosen))
                times.extend(chosen)
                values.extend(points[t] for t in chosen)
        offsets = np.concatenate(([0], np.cumsum(np.array(counts, dtype=np.int64))))
        return SeriesBlock(
            LabelTable(rows), offsets, np.array(times, dtype=np.int64), np.array(values, dtype=np.float64)
        )

    async def select(self, selection: Selection) -> SeriesBlock:
        return self.block(selection)


def matches(labels: Labels, matcher: Matcher) -> bool:
    value = labels.get(matcher.label, "")
    if matcher.op in ("=", "!="):
        return (value == matcher.value) == (matcher.op == "=")
    return (pattern_of(matcher.value).search(value) is not None) == (matcher.op == "=~")
