"""The corpus: hand-written texts, what of each must go, and how good that makes the rules."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from privacy.policy import DEFAULT_POLICY
from privacy.scrub import Scrubber

CORPUS = Path(__file__).parent / "corpus.txt"
MARK = re.compile("⟦([a-z_]+)([:#])(.*?)⟧", re.S)


@dataclass(frozen=True)
class Case:
    line: int
    kind: str
    known: str
    text: str
    wanted: str
    rules: tuple[str, ...]

    def scrubbed(self) -> tuple[str, Counter[str]]:
        scrubber = Scrubber(DEFAULT_POLICY, b"k" * 16)
        columns = {"text": scrubber.texts, "url": scrubber.urls, "json": scrubber.json_texts}
        [neighbour, out, other] = columns[self.kind](['{"clean":1}', self.text, '{"clean":2}'])
        assert (neighbour, other) == ('{"clean":1}', '{"clean":2}')
        return out, scrubber.take_counts()


def read_corpus() -> list[Case]:
    cases = []
    for number, line in enumerate(CORPUS.read_text().splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        kind, _, rest = line.partition(" ")
        known = ""
        if rest.startswith(("!miss ", "!false ")):
            known, _, rest = rest.partition(" ")
        rest = rest.replace("␤", "\n")
        # Inside JSON that is itself in a string, the quotes that a number needs are escaped like those of its key.
        quote = r"\"" if r"\":⟦" in rest or r"{\"" in rest else '"'
        wanted = MARK.sub(lambda m, quote=quote: f"{quote}[{m[1]}]{quote}" if m[2] == "#" else f"[{m[1]}]", rest)
        wanted = re.sub(r"\[([a-z_]+)\]", _replacement, wanted) if MARK.search(rest) else rest
        cases.append(Case(number, kind, known, MARK.sub(r"\3", rest), wanted, tuple(m[1] for m in MARK.finditer(rest))))
    return cases


def _replacement(mark: re.Match[str]) -> str:
    if mark[1] == "url_password":
        return "REDACTED"
    return (
        f"[REDACTED:{mark[1]}]"
        if mark[1] in ("email", "card", "ssn", "phone", "api_key", "jwt", "iban", "sensitive_key")
        else mark[0]
    )


CASES = read_corpus()


@pytest.mark.parametrize("case", [c for c in CASES if not c.known], ids=lambda c: f"line-{c.line}")
def test_what_must_go_goes_and_nothing_else(case: Case) -> None:
    out, counts = case.scrubbed()
    assert out == case.wanted
    assert counts == Counter(case.rules)
    if case.kind == "json":
        json.loads(out)


@pytest.mark.parametrize("case", [c for c in CASES if c.known], ids=lambda c: f"line-{c.line}")
def test_known_faults_are_still_faults(case: Case) -> None:
    """A fault that is gone loses its mark, so that the figures stay true."""
    out, _ = case.scrubbed()
    assert out != case.wanted


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"line-{c.line}")
def test_scrubbing_twice_changes_nothing_more(case: Case) -> None:
    once, _ = case.scrubbed()
    again, counts = Case(case.line, case.kind, "", once, once, ()).scrubbed()
    assert again is once
    assert counts == Counter()


def test_precision_and_recall(capsys: pytest.CaptureFixture[str]) -> None:
    """Over all cases, known faults included. The bounds are what was measured, rounded down."""
    wanted, right, found = Counter[str](), Counter[str](), Counter[str]()
    for case in CASES:
        out, counts = case.scrubbed()
        should = Counter(case.rules)
        # As many as there are and yet another text: only a part of a value was found, which is not right.
        matched = Counter[str]() if counts == should and out != case.wanted else should & counts
        wanted += should
        found += counts
        right += matched
    with capsys.disabled():
        print(f"\n{len(CASES)} cases\n{'rule':<14} values  found  right  precision  recall")
        for rule in sorted(wanted):
            precision, recall = right[rule] / max(1, found[rule]), right[rule] / wanted[rule]
            print(f"{rule:<14} {wanted[rule]:6} {found[rule]:6} {right[rule]:6} {precision:10.3f} {recall:7.3f}")
        precision, recall = right.total() / found.total(), right.total() / wanted.total()
        print(f"{'all':<14} {wanted.total():6} {found.total():6} {right.total():6} {precision:10.3f} {recall:7.3f}")
    assert len(CASES) >= 300
    assert precision >= 0.969
    assert recall >= 0.91
