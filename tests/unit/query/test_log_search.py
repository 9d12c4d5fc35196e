"""A search asks for levels and ids in the form in which they are stored."""

from __future__ import annotations

import pytest

from query.logs import LogSearch


def selected(**conditions: str) -> tuple[str | None, str | None]:
    selection = LogSearch(start=1_761_904_800, end=1_761_904_900, **conditions).selection()
    return selection.level, selection.trace_id


@pytest.mark.parametrize(
    ("asked", "level"), [("warning", "warn"), ("CRITICAL", "fatal"), ("3", "error"), ("Audit", "audit")]
)
def test_a_level_is_asked_for_by_any_of_its_names(asked: str, level: str) -> None:
    assert selected(level=asked) == (level, None)


@pytest.mark.parametrize(
    ("asked", "trace_id"),
    [("0x4BF92F3577B34DA6A3CE929D0E0E4736", "4bf92f3577b34da6a3ce929d0e0e4736"), ("t-1", "t-1"), ("0" * 32, "0" * 32)],
)
def test_a_trace_is_asked_for_by_any_form_of_its_id(asked: str, trace_id: str) -> None:
    assert selected(trace_id=asked) == (None, trace_id)


def test_nothing_asked_is_no_condition() -> None:
    assert selected() == (None, None)
