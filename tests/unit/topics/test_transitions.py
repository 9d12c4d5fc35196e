"""Transitions as messages, and the one text of a group's labels."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topics import panes, transitions
from topics.errors import Refused
from topics.transitions import GROUP_BYTES_MAX, AlertMessage, group_labels, group_text

LABELS = st.dictionaries(
    st.from_regex(r"[a-z_][a-z0-9_.]{0,20}", fullmatch=True),
    st.text(st.characters(codec="utf-8"), max_size=30),
    max_size=4,
)


def test_a_transition_comes_back_as_it_was() -> None:
    message = AlertMessage("o", "m", "host=a", 7, 0, "ALERT", "OK", 1_700_000_000_000, 5.0, 4.0, {"why": "past it"})
    assert transitions.decode(transitions.encode(message)) == message
    with pytest.raises(Refused):
        transitions.decode(b"\x93\x01\x02\x03")


def test_what_reaches_the_watch_agent_comes_back_as_it_was() -> None:
    counter = panes.Counter(7, 1, 1.0, 2, 3.0, 2.0)
    pane = panes.Pane(1000, 2, 4.0, 1.0, 3.0, 1500, 3.0, {5: 2}, [counter], ["trace:a"])
    for message in (
        panes.Parts("o", 5, [panes.Part("m", 9, "*", [pane])]),
        panes.Tick(5),
        panes.Resolve("o", "m", "host=a", 5, "u"),
    ):
        assert panes.decode(panes.encode(message)) == message
    with pytest.raises(Refused):
        panes.decode(b"\x92\xa4nope\x01")


@given(LABELS)
@settings(deadline=None)
def test_the_text_of_a_group_gives_its_labels_back(labels: dict[str, str]) -> None:
    assert group_labels(group_text(labels)) == labels


@given(LABELS, LABELS)
@settings(deadline=None)
def test_different_groups_have_different_texts(one: dict[str, str], other: dict[str, str]) -> None:
    assert (group_text(one) == group_text(other)) == (one == other)


def test_a_group_has_one_text_and_a_bound() -> None:
    assert group_text({}) == "*"
    assert group_text({"b": "2", "a": "x,=*\\"}) == "a=x\\,\\=\\*\\\\,b=2"
    long = {f"label_{i}_{'n' * 55}": "\\é" * 1000 for i in range(8)}
    other = {name: value + "!" for name, value in long.items()}
    assert len(group_text(long).encode()) <= GROUP_BYTES_MAX
    assert group_text(long) != group_text(other)
    assert list(group_labels(group_text(long))) == sorted(long)
