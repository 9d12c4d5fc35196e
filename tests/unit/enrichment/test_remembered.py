"""Answers are remembered while they are in use, and never more of them than the bound."""

from __future__ import annotations

from enrichment.remembered import Remembered


def test_it_is_bounded_and_keeps_what_is_used() -> None:
    asked: list[str] = []

    def work(text: str) -> str:
        asked.append(text)
        return text.upper()

    remembered = Remembered(work, generation=10)
    for n in range(1000):
        assert remembered(f"n{n}") == f"N{n}"
        assert remembered("used") == "USED"
        assert len(remembered) <= 20
    assert asked.count("used") == 1
    remembered.forget()
    assert (len(remembered), remembered("used"), asked.count("used")) == (0, "USED", 2)
