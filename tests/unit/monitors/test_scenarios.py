"""Scenarios in plain text (scenarios/*.txt): what comes over time, and the transitions that must follow, no more and no fewer.

    == name
    monitor {definition without name}
    <time> cpu{host="a"} 95                  a metric point; several of them with ; between
    <time> 3 x log {...} | span {...} | rum {...}
    <time> late <time> <any of these>        it is so old when it comes
    <time> every <time> until <time> <any>   again and again
    <time> resolve <group> | edit {...} | delete | restart
    <time> expect <group> <state> -> <state> [value <number>] [because <words>]
    <time> expect <group> <state> again <n>
    end <time>

Times are like 90s, 2m or 1.5h. An expectation stands at the time at which the transition must happen, to 50 ms.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

FOLDER = Path(__file__).parent / "scenarios"
UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
SERIES = re.compile(r"([a-z_]+)(\{[^}]*\})?\s+(-?[\d.]+(?:e\d+)?|NaN)")
LABEL = re.compile(r'([a-z_]+)="([^"]*)"')


class Scenario(NamedTuple):
    name: str
    lines: list[str]


def scenarios() -> Iterator[Scenario]:
    for path in sorted(FOLDER.glob("*.txt")):
        for part in path.read_text().split("\n== ")[1:]:
            name, _, text = part.partition("\n")
            lines = [line.strip() for line in text.splitlines()]
            yield Scenario(f"{path.stem}: {name}", [line for line in lines if line and not line.startswith("#")])


def ms(text: str) -> int:
    number, unit = re.fullmatch(r"(-?[\d.]+)(ms|s|m|h|d)", text).groups()  # type: ignore[union-attr]  # a bad scenario fails here
    return round(float(number) * UNITS[unit])


def do(simulation: Any, what: str) -> None:
    verb, _, rest = what.partition(" ")
    match verb:
        case "resolve":
            simulation.resolve(rest)
        case "edit":
            simulation.edit(json.loads(rest))
        case "delete":
            simulation.delete()
        case "restart":
            simulation.restart()
        case _:
            send(simulation, what, 0)


def send(simulation: Any, what: str, late_ms: int) -> None:
    if what.startswith("late "):
        _, late, what = what.split(" ", 2)
        late_ms = ms(late)
    times = 1
    if counted := re.match(r"(\d+) x ", what):
        times, what = int(counted[1]), what[counted.end() :]
    kind, _, rest = what.partition(" ")
    if kind == "log":
        record = {"service": "api", "level": "info", "message": "m"} | json.loads(rest)
        simulation.send("logs", *[record] * times, late_ms=late_ms)
    elif kind == "span":
        record = {"trace_id": "a1", "span_id": "b1", "service": "api", "operation": "get", "duration_ms": 1.0}
        simulation.send("spans", *[record | json.loads(rest)] * times, late_ms=late_ms)
    elif kind == "rum":
        simulation.send("events", *[{"session_id": "s"} | json.loads(rest)] * times, late_ms=late_ms)
    else:
        points = []
        for text in what.split(";"):
            name, labels, value = SERIES.fullmatch(text.strip()).groups()  # type: ignore[union-attr]  # a bad scenario fails here
            number: Any = value if value == "NaN" else float(value)
            points.append({"name": name, "labels": dict(LABEL.findall(labels or "")), "value": number})
        simulation.send("metrics", *points * times, late_ms=late_ms)


def read(lines: list[str]) -> tuple[list[dict[str, Any]], list[tuple[int, str]], list[tuple[int, str]], int]:
    """Definitions, what happens, what is expected, and the end."""
    definitions: list[dict[str, Any]] = []
    happens: list[tuple[int, str]] = []
    expected: list[tuple[int, str]] = []
    end = 0
    for line in lines:
        first, rest = line.split(" ", 1)
        rest = rest.strip()
        if first == "monitor":
            definitions.append(json.loads(rest))
        elif first == "end":
            end = ms(rest)
        elif rest.startswith("expect "):
            expected.append((ms(first), rest.removeprefix("expect ")))
        elif rest.startswith("every "):
            _, step, _, until, what = rest.split(" ", 4)
            happens += [(at, what) for at in range(ms(first), ms(until) + 1, ms(step))]
        else:
            happens.append((ms(first), rest))
    return definitions, sorted(happens, key=lambda each: each[0]), expected, end


def shown(begin_ms: int, message: Any) -> tuple[int, str]:
    at = message.at_ms - begin_ms
    if message.repeat:
        return at, f"{message.group} {message.state} again {message.repeat}"
    return at, f"{message.group} {message.previous_state} -> {message.state}"


@pytest.mark.parametrize("scenario", [pytest.param(each, id=each.name) for each in scenarios()])
@pytest.mark.parametrize("restarts", [False, True], ids=["kept", "restarted"])
def test_scenario(scenario: Scenario, restarts: bool, watch_simulation: Any) -> None:
    definitions, happens, expected, end = read(scenario.lines)
    simulation = watch_simulation(*definitions)
    for at, what in happens:
        simulation.run_to(at)
        do(simulation, what)
        if restarts and not what.startswith("edit"):
            simulation.restart()
    simulation.run_to(end)
    sent = simulation.sent
    found = [shown(1_800_000_000_000, message) for message in sent]
    wanted = [(at, re.split(r" (?:value|because) ", text)[0]) for at, text in expected]
    assert [text for _, text in found] == [text for _, text in wanted], found
    for (at, text), (due, _), (_, full), message in zip(found, wanted, expected, sent, strict=True):
        # A worker that begins again waits once more for what may still come.
        assert -50 <= at - due <= (750 if restarts else 50), (text, at, due)
        if value := re.search(r" value (-?[\d.]+)", full):
            assert message.value == pytest.approx(float(value[1]), rel=0.011), full
        if words := re.search(r" because (.*)", full):
            assert words[1] in message.evidence["why"], message.evidence
    sequences = [message.sequence for message in sent if not message.repeat]
    by_group: dict[str, list[int]] = {}
    for message in sent:
        if not message.repeat:
            by_group.setdefault(message.group, []).append(message.sequence)
    assert len(sequences) == sum(map(len, by_group.values()))
    for numbers in by_group.values():
        assert numbers == sorted(set(numbers)), "a sequence came twice, or went back"
