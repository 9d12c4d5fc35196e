"""A monitor's own text."""

from __future__ import annotations

import pytest

from monitors.templates import FILLED_MAX, parse_template
from topics.errors import Refused


def test_variables_are_replaced_and_never_looked_at_again() -> None:
    template = parse_template("{{monitor.name}} on {{ group.host }}: {{value}} {{threshold}}", group_by=["host"])
    facts = {"monitor.name": "{{value}}", "group.host": "a}}", "value": "7"}
    assert template.fill(facts) == "{{value}} on a}}: 7 "


def test_a_text_without_variables_is_itself() -> None:
    assert parse_template("a { b } c").fill({}) == "a { b } c"


@pytest.mark.parametrize(
    "text",
    ["{{nothing}}", "{{group.region}}", "{{ value", "value }}", "{{}}", "{{value}} {{", "{{__class__}}", "{{value.real}}",
     "x" * 4001, "{{value}}" * 51, "bell \x07"],
)  # fmt: skip
def test_what_cannot_be_filled_in_is_refused_when_it_is_defined(text: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_template(text, group_by=["host"])
    assert caught.value.path == "message"


def test_a_filled_text_is_bounded() -> None:
    text = parse_template("{{group}}" * 50).fill({"group": "x" * 100_000})
    assert len(text) == FILLED_MAX
