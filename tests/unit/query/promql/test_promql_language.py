"""The language, from texts: load series, evaluate, expect. What is expected was worked out from Prometheus' documentation.

    clear
    load 5m
      metric{a="b"} 0+10x5 _ 3 stale
    eval instant at 50m sum(metric)
      {} 3
    eval range from 0 to 10m step 5m metric
      metric{a="b"} 0 10 20
    eval ordered at 50m sort(metric)
      metric{a="b"} 3
    warn instant at 0 quantile(2, metric)
      {} +Inf
    fail instant at 0 metric + on
      a part of what is said

`warn` and `info` are an `eval` that says something, and others must not. Every vector of one step is asked for again as the
middle of a range of three steps, so that columns do not mix.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from promql_series import MemorySeries, labels_of, ms_of, values_of

from query.promql.engine import run
from query.promql.labels import key_of
from query.promql.steps import Limits, Result, Steps
from topics.errors import Refused

TEXTS = sorted(Path(__file__).parent.glob("*.test"))


@dataclass(slots=True)
class Question:
    """One block of a text: what is asked, and the lines under it."""

    where: str
    words: list[str]
    lines: list[str] = field(default_factory=list)


def questions(path: Path) -> list[Question]:
    found: list[Question] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        line = line.rstrip()
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0].isspace():
            found[-1].lines.append(line.strip())
        else:
            found.append(Question(f"{path.name}:{number}", line.split()))
    return found


def _steps(question: Question) -> tuple[Steps, str]:
    words = question.words
    if words[1] in ("instant", "ordered"):
        return Steps.instant(ms_of(words[3])), " ".join(words[4:])
    start, end, step = (ms_of(words[at]) for at in (3, 5, 7))
    return Steps(start, end, step), " ".join(words[8:])


def _same(found: float, wanted: float) -> bool:
    if math.isnan(wanted):
        return math.isnan(found)
    return found == wanted or math.isclose(found, wanted, rel_tol=1e-6, abs_tol=1e-300)


def _found(result: Result, steps: Steps) -> list[tuple[tuple[tuple[str, str], ...], list[float | None]]]:
    listed = []
    for labels, times, values in result.series():
        by_time = dict(zip(times.tolist(), values.tolist(), strict=True))
        grid = steps.times_ms().tolist() if result.raw is None else times.tolist()
        listed.append((key_of(labels), [by_time.get(time) for time in grid]))
    return listed


def _expect(question: Question, result: Result, steps: Steps) -> None:
    if result.kind == "string":
        assert [result.text] == question.lines, question.where
        return
    wanted = []
    for line in question.lines:
        if result.kind == "scalar":
            line = "{} " + line
        labels, brace, values = line.rpartition("}") if "}" in line else (line.split()[0], "", line.partition(" ")[2])
        wanted.append((key_of(labels_of(labels + brace)), values_of(values)))
    found = _found(result, steps)
    if question.words[1] != "ordered":
        wanted.sort(key=lambda series: series[0])
        found.sort(key=lambda series: series[0])
    shown = f"{question.where}: {' '.join(question.words)}\nfound  {found}\nwanted {wanted}"
    assert [labels for labels, _ in found] == [labels for labels, _ in wanted], shown
    for (_, have), (_, want) in zip(found, wanted, strict=True):
        assert len(have) == len(want), shown
        for a, b in zip(have, want, strict=True):
            assert (a is None) == (b is None), shown
            assert a is None or b is None or _same(a, float(b)), shown


def _ask(question: Question, series: MemorySeries) -> None:
    steps, text = _steps(question)
    if question.words[0] == "fail":
        with pytest.raises(Refused) as refused:
            asyncio.run(run(series, text, steps, Limits()))
        for part in question.lines:
            assert part in refused.value.reason, question.where
        return
    try:
        result = asyncio.run(run(series, text, steps, Limits()))
    except Refused as refused:
        raise AssertionError(f"{question.where}: {' '.join(question.words)}: {refused}") from refused
    _expect(question, result, steps)
    said = {"warn": bool(result.warnings), "info": bool(result.infos)}
    assert said == {kind: kind == question.words[0] for kind in said}, (question.where, result.warnings, result.infos)
    if steps.step_ms == 0 and result.kind == "vector":
        _expect_in_ranges(question, series, text, steps, result)


def _expect_in_ranges(question: Question, series: MemorySeries, text: str, steps: Steps, result: Result) -> None:
    """The same step as the middle of a range of three, where the start and end of the query are not asked for."""
    if "start()" in text or "end()" in text:
        return
    around = Steps(steps.start_ms - 7000, steps.start_ms + 7000, 7000)
    try:
        ranged = asyncio.run(run(series, text, around, Limits()))
    except Refused:
        return  # An error of a neighbouring step.
    middle = {labels: values[1] for labels, values in _found(ranged, around) if values[1] is not None}
    at_once = {labels: values[0] for labels, values in _found(result, steps)}
    assert middle.keys() == at_once.keys(), (question.where, middle, at_once)
    for labels, value in at_once.items():
        assert value is not None
        assert _same(middle[labels] or 0.0, value), (question.where, labels, middle[labels], value)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_language(path: Path) -> None:
    series = MemorySeries()
    for question in questions(path):
        match question.words[0]:
            case "clear":
                series = MemorySeries()
            case "load":
                series.load(ms_of(question.words[1]), question.lines)
            case _:
                _ask(question, series)
