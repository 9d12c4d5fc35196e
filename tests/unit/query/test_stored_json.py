"""What senders wrote into attributes is answered so that every reader of JSON can read it."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from query.stored_json import shown_json

DIGITS = "1" * 400


def shown(text: str) -> str:
    return orjson.dumps({"attributes": shown_json(text)}).decode().removeprefix('{"attributes":').removesuffix("}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1e999, "b": [-1e999, 1.5]}', '{"a": "1e999", "b": ["-1e999", 1.5]}'),
        (f'{{"a": {DIGITS}}}', f'{{"a": "{DIGITS}"}}'),
        (f'{{"a": {DIGITS[:250]}e99}}', f'{{"a": "{DIGITS[:250]}e99"}}'),
        (f'{{"a": 0.{DIGITS}}}', f'{{"a": 0.{DIGITS}}}'),
        ('{"a": 1e308, "b": 1e-999, "c": 1e+0000999}', '{"a": 1e308, "b": 1e-999, "c": "1e+0000999"}'),
        (r'{"1e999": "1e999 \" 1e999", "a": 1, "a": 2}', r'{"1e999": "1e999 \" 1e999", "a": 1, "a": 2}'),
    ],
)
def test_only_a_number_past_a_double_is_shown_as_a_text(text: str, expected: str) -> None:
    assert shown(text) == expected
    orjson.loads(expected)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(json_values, st.sampled_from(["1e999", "2" * 320, "-3e0400"]), st.booleans())
def test_everything_else_stays_as_it_was(value: Any, past: str, escaped: bool) -> None:
    text = json.dumps(value, ensure_ascii=escaped)
    assert json.loads(shown(f'{{"v": {text}, "n": {past}}}')) == {"v": value, "n": past}
