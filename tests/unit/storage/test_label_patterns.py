"""What PostgreSQL is told of a pattern is exactly what RE2 says of it, and the rest is left to RE2."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.label_patterns import LabelPattern
from topics.errors import Refused

# What patterns are made of, and short enough that texts match now and then.
PARTS = st.sampled_from(["a", "b", "ab", "|", ".", "*", "+", "?", "(", ")", "(?:", "[ab]", "^", "$", "\\.", "\\|", "\\a",
                         "\\d", "{1}", "{0}", "\\Q", "\\E", "(?i)", "é", "\n", "-", "\\-"])  # fmt: skip
PATTERNS = st.lists(PARTS, max_size=6).map("".join)
TEXTS = st.text(alphabet="ab.|AB*é\n-{1}Q\a", max_size=5)


@settings(max_examples=300, deadline=None)
@given(PATTERNS, st.lists(TEXTS, min_size=1, max_size=20))
def test_what_is_said_of_a_pattern_is_true(pattern: str, texts: list[str]) -> None:
    try:
        compiled = LabelPattern.of(pattern)
    except Refused:
        return
    for text in (*texts, *(compiled.texts or ()), compiled.prefix):
        matches = compiled.matches(text)
        if compiled.texts is not None:
            assert matches == (text in compiled.texts)
        if matches:
            assert text.startswith(compiled.prefix)
        if compiled.any_text or (compiled.any_but_empty and text):
            assert matches


@pytest.mark.parametrize(
    ("pattern", "texts", "prefix"),
    [
        ("a|b", ("a", "b"), ""),
        ("(a|b.)", None, ""),
        (r"(?:a\.b|)", ("a.b", ""), ""),
        ("api-.*", None, "api-"),
        ("apis?", None, "api"),
        (r"a\.b.+", None, "a.b"),
        ("a.|b", None, ""),
    ],
)
def test_what_postgresql_can_decide(pattern: str, texts: tuple[str, ...] | None, prefix: str) -> None:
    compiled = LabelPattern.of(pattern)
    assert (compiled.texts, compiled.prefix) == (texts, prefix)


@pytest.mark.parametrize("pattern", ["(", "a**b(", "[", r"\1", "(?=a)", "a{1001}"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(Refused, match="is no pattern") as refusal:
        LabelPattern.of(pattern)
    assert refusal.value.path == "labels"
