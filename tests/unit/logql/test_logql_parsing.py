"""LogQL text becomes a query, or is refused with the place and the reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logql.parsing import CHARACTERS_MAX, NESTING_MAX, STAGES_MAX, parse_log_query
from logql.query import (
    AllOf,
    AnyOf,
    JsonParser,
    LineFilter,
    LogfmtParser,
    LogQuery,
    NumberTest,
    RegexpParser,
    TextTest,
    placed_tests,
)
from topics.errors import Refused

API = TextTest("service", "=", "api")


def stages(text: str) -> tuple[object, ...]:
    return parse_log_query(f'{{service="api"}} {text}').stages


def test_a_selector_has_any_number_of_conditions() -> None:
    assert parse_log_query("{}") == LogQuery(())
    assert parse_log_query('{service="api", level=~"err.*", host!="a", version!~`1\\..`,}').selector == (
        API, TextTest("level", "=~", "err.*"), TextTest("host", "!=", "a"), TextTest("version", "!~", "1\\.."),
    )  # fmt: skip


def test_a_level_is_asked_for_by_any_of_its_names() -> None:
    assert parse_log_query('{level="WARNING"} | level!="crit"') == LogQuery(
        (TextTest("level", "=", "warn"),), (TextTest("level", "!=", "fatal"),)
    )
    assert parse_log_query('{level=~"WARNING"}').selector == (TextTest("level", "=~", "WARNING"),)


def test_lines_are_filtered_by_texts_and_patterns() -> None:
    assert stages('|= "a" or `b\\d` != "c" |~ "x.*y" !~ "z"') == (
        LineFilter("|=", ("a", "b\\d")), LineFilter("!=", ("c",)), LineFilter("|~", ("x.*y",)), LineFilter("!~", ("z",)),
    )  # fmt: skip


def test_parsers_and_their_fields() -> None:
    assert stages('| json | json a="b.c", d, e="f[0][\\"x y\\"]" | logfmt | logfmt k="K-1"') == (
        JsonParser(),
        JsonParser((("a", ("b", "c")), ("d", ("d",)), ("e", ("f", 0, "x y")))),
        LogfmtParser(),
        LogfmtParser((("k", "K-1"),)),
    )
    assert stages('| regexp "(?P<ip>\\\\S+) (a)?(?P<code>\\\\d+)"') == (
        RegexpParser("(?P<ip>\\S+) (a)?(?P<code>\\d+)", (("ip", 1), ("code", 3))),
    )


def test_conditions_bind_as_in_loki() -> None:
    a, b, c = (NumberTest(name, "==", 1.0) for name in "abc")
    assert stages("| a=1 or b==1 and c=1") == (AnyOf((a, AllOf((b, c)))),)
    assert stages("| (a=1 or b=1) and c=1") == (AllOf((AnyOf((a, b)), c)),)
    assert stages("| a=1, b=1, (c=1)") == (AllOf((a, b, c)),)
    assert stages("| a=1 | b=1") == (a, b)


@pytest.mark.parametrize(
    ("written", "unit", "value"),
    [
        ("500", "number", 500.0), ("-1.5e2", "number", -150.0), ("+3", "number", 3.0), ("1h30m", "duration", 5400 * 10**9),
        ("1.5ms", "duration", 1_500_000), ("-2s", "duration", -2 * 10**9), ("10KB", "bytes", 10_000), ("5MiB", "bytes", 5 << 20),
        ("1.5k", "bytes", 1500),
    ],
)  # fmt: skip
def test_quantities(written: str, unit: str, value: float) -> None:
    (test,) = stages(f"| x > {written}")
    assert (test.unit, test.value, test.op) == (unit, value, ">")  # type: ignore[attr-defined]  # a NumberTest


def test_texts_have_the_escapes_of_go() -> None:
    assert stages(r'|= "\t\"\\\u00e9\U0001F600\x41\101"') == (LineFilter("|=", ('\t"\\é😀AA',)),)
    assert stages("|= `\\t\n`") == (LineFilter("|=", ("\\t\n",)),)


def test_labels_may_have_names_of_stages() -> None:
    assert stages('| drop="x" | jsonx="y" | ip="z" | or=1') == (
        TextTest("drop", "=", "x"), TextTest("jsonx", "=", "y"), TextTest("ip", "=", "z"), NumberTest("or", "==", 1.0),
    )  # fmt: skip


def test_a_condition_sees_the_parsers_before_it() -> None:
    query = parse_log_query('{service="api"} | a="1" | json | b="2" | logfmt | c="3"')
    assert [placed.parsers for placed in placed_tests(query)] == [
        (), (), (JsonParser(),), (JsonParser(), LogfmtParser()),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("", "line 1, column 1", "expected one of: {"),
        ("errors", "line 1, column 1", "found 'errors'"),
        ('{service="api"', "line 1, column 15", "the end of the query"),
        ('{service="api"}\n  | x', "line 2, column 6", "the end of the query"),
        ('{service="api"} |= timeout', "line 1, column 20", "a text in quotes"),
        ('{app="api"}', "line 1, column 2", "no label of streams"),
        ('{service=~"("}', "line 1, column 11", "missing )"),
        ('{service=~"a)|(b"}', "line 1, column 11", "unexpected )"),
        ('{service="\\q"}', "line 1, column 10", "no escape"),
        ('{service="\\xff"}', "line 1, column 10", "no character"),
        ('{} |~ "(?=x)"', "line 1, column 7", "invalid perl operator"),
        ('{} | json | a=1 or b=2, c=3', "line 1, column 23", "found ','"),
        ('{} | a > "x"', "line 1, column 10", "a number, duration or size"),
        ("{} | a > 5q", "line 1, column 10", "5q is no number"),
        ("{} | a > 1e300", "line 1, column 10", "within 1e+99"),
        ('{} | json a="b..c"', "line 1, column 13", "no path"),
        ('{} | json __error__="a"', "line 1, column 11", "cannot be made"),
        ('{} | __error_details__="a"', "line 1, column 6", "not supported"),
        ('{} | regexp "a"', "line 1, column 13", "no named group"),
        ('{} |= ip("10.0.0.0/8")', "line 1, column 10", "ip() is not supported"),
        ('{} | a = ip("10.0.0.0/8")', "line 1, column 6", "ip() is not supported"),
        ('{} | line_format "{{.a}}"', "line 1, column 6", "line_format is not supported"),
        ("{} | drop a, b", "line 1, column 6", "drop is not supported"),
        ('{} | pattern "<a> <b>"', "line 1, column 6", "use regexp"),
        ("{} | unwrap bytes", "line 1, column 6", "metric queries"),
        ("{} | json --strict", "line 1, column 11", "found '-'"),
        ('rate({service="api"}[5m])', "line 1, column 1", "metric queries come later"),
        ("sum by (service) (count_over_time({}[1m]))", "line 1, column 1", "metric queries come later"),
        ('{service="api"}[5m]', "line 1, column 16", "found '['"),
        ('{} offset 5m', "line 1, column 4", "found 'offset'"),
        ("{} {}", "line 1, column 4", "found '{'"),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_refused_with_its_place(text: str, where: str, why: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_log_query(text)
    assert (caught.value.code, caught.value.path) == ("invalid_field", "query")
    assert where in caught.value.reason
    assert why in caught.value.reason


@pytest.mark.parametrize(
    "text",
    [
        "{}" + " " * CHARACTERS_MAX,
        "{}" + '|="a"' * (STAGES_MAX + 1),
        "{} | " + "(a=1 or b=2 and " * NESTING_MAX + "c=3" + ")" * NESTING_MAX,
        "{} | " + " or ".join(["a=1"] * 101),
        "{} |= " + " or ".join(['"a"'] * 101),
        '{} |~ "' + "a" * 1001 + '"',
        '{} |~ "((a{100}){100}){100}"',
        "{} | json " + ",".join(f"a{i}" for i in range(51)),
        "{} | json a, a",
        '{} |= "\ud800"',
    ],
)
def test_everything_is_bounded(text: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_log_query(text)
    assert (caught.value.code, caught.value.path) == ("invalid_field", "query")


def test_parentheses_alone_are_no_depth() -> None:
    assert stages("| " + "(" * 1000 + "a=1" + ")" * 1000) == (NumberTest("a", "==", 1.0),)


@contextmanager
def suppress_refusal() -> Iterator[None]:
    """A refusal of the query is as good as an answer; any other exception is not."""
    try:
        yield
    except Refused as exc:
        if (exc.code, exc.path) != ("invalid_field", "query"):
            raise


_PIECES = [
    "{", "}", "(", ")", ",", "|", "=", "!=", "=~", "!~", "|=", "|~", "==", ">", "<=", "service", "level", "json", "logfmt",
    "regexp", "or", "and", "ip", "drop", "line_format", "x", '"a"', '"("', "`b`", "5", "5m", "5KB", "1e999", "#", "\n", "\\", "é",
    '"(?P<n>a)"', "rate", "[5m]", "-", '"',
]  # fmt: skip


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(_PIECES), max_size=25).map(" ".join)))
def test_any_text_is_a_query_or_is_refused(text: str) -> None:
    for asked in (text, "{} " + text):
        with suppress_refusal():
            hash(parse_log_query(asked))
