"""What a query says of one record, by examples; every rule of docs/logql.md."""

from __future__ import annotations

import pytest

from logql.evaluate import LogLine, compile_query
from logql.json_labels import labels_of, number_text, read_object, text_at
from logql.parsing import parse_log_query


def log(message: str = "", **changes: str) -> LogLine:
    return LogLine(**({"service": "api", "level": "error", "message": message} | changes))


def matches(query: str, line: LogLine) -> bool:
    return compile_query(parse_log_query(query)).matches(line)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("{}", True),
        ('{service="api"}', True),
        ('{service_name="api"}', True),
        ('{service="ap"}', False),
        ('{service=~"ap"}', False),
        ('{service=~"a.*|b"}', True),
        ('{service=~"API"}', False),
        ('{service=~"(?i)API"}', True),
        ('{service!~"a.+"}', False),
        ('{host=""}', True),
        ('{host!=""}', False),
        ('{host=~".*"}', True),
        ('{} |= "Timeout"', True),
        ('{} |= "timeout"', False),
        ('{} |= "no" or "after"', True),
        ('{} != "no" or "after"', False),
        ('{} |~ "after \\\\d+ms"', True),
        ('{} |~ "Timeout.*second"', False),
        ('{} |~ "(?s)Timeout.*second"', True),
        ('{} !~ "^after"', True),
    ],
)
def test_streams_and_lines(query: str, expected: bool) -> None:
    assert matches(query, log("Timeout after 30ms\nsecond line")) is expected


ATTRIBUTES = '{"http.status": 503, "user": {"id": "u-1", "tags": ["a"]}, "ok": false, "took": "1m30s", "size": "2KiB", "n": null}'


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ('http_status="503"', True),
        ("http_status >= 500", True),
        ("http_status > 503", False),
        ("http_status != 503", False),
        ("user_id =~ `u-\\d`", True),
        ("ok=`false`", True),
        ("took > 1m29s and took <= 90s", True),
        ("size == 2048B", True),
        ("size > 1", False),
        ("user > 0 or user < 1", False),
        ('user="" and user_tags="" and n=""', True),
        ("missing != 1", False),
        ('missing != "1"', True),
        ("trace_id=`t`", True),
        ("span_id=``", True),
    ],
)
def test_attributes_are_labels_without_a_parser(test: str, expected: bool) -> None:
    assert matches(f"{{}} | {test}", log(attributes=ATTRIBUTES, trace_id="t")) is expected


def test_a_parser_finds_labels_for_what_follows_it() -> None:
    line = log(
        '{"status": 500, "user": {"name": "al"}, "service": "inner", "host": "h"}', attributes='{"status": "ours"}'
    )
    assert matches('{} | status="ours" | json | status=500', line)
    assert matches('{} | json | user_name="al" | service="api" | service_extracted="inner" | host="h"', line)
    assert not matches('{} | user_name="al" | json', line)
    assert matches('{} | json name="user.name", deep="a[0]" | name="al" | deep=""', line)
    assert not matches('{} | json | __error__!=""', line)


def test_a_line_that_is_no_json_has_an_error_and_no_labels() -> None:
    for text in ("plain", "[1]", "3", '{"a": 1', '{"a": 18446744073709551616}', '{"a": "\\ud800"}', ""):
        assert matches('{} | json | __error__="JSONParserErr" | a=""', log(text)), text
        assert not matches("{} | json | a >= 0", log(text))


def test_logfmt_and_regexp() -> None:
    line = log('level=info msg="a \\"b\\" c" took=12ms took=13ms 1st=x broken="a k=v')
    assert matches(
        '{} | logfmt | msg="a \\"b\\" c" | took=12ms | _1st="x" | k="v" | broken="" | level_extracted="info"', line
    )
    assert matches('{} | logfmt m="msg", t="took" | m=~"a.*" | t < 13ms | took=""', line)
    assert matches('{} | regexp "took=(?P<t>\\\\d+)(?P<unit>m?s)" | t=12 | unit="ms"', line)
    assert matches('{} | regexp "nothing=(?P<t>.*)" | t=""', line)


def test_labels_behind_the_last_stage() -> None:
    query = compile_query(parse_log_query("{} | json"))
    line = log('{"status": 500, "level": "x", "a": {"b": 1.50}}', attributes='{"region": "eu"}', trace_id="t")
    assert query.labels(line) == {
        "service": "api", "level": "error", "level_extracted": "x", "status": "500", "a_b": "1.5", "region": "eu",
        "trace_id": "t",
    }  # fmt: skip
    assert query.label(line, "status") == "500"
    assert query.labels(log("plain")) == {"service": "api", "level": "error", "__error__": "JSONParserErr"}


def test_names_that_meet_are_settled_by_their_paths() -> None:
    found = read_object('{"a_b": 1, "a": {"b": 2}, "a.b": 3, "": 4, "1": {"": 5, "x": 6}, "é": 7, "n": null, "l": [1]}')
    assert found is not None
    assert labels_of(found) == {"a_b": "2", "_1_x": "6", "_": "7"}


def test_of_a_repeated_name_the_first_counts() -> None:
    found = read_object('{"a": "x\\":", "a": 2, "b": {"c" : 3, "c": 4}}')
    assert found is not None
    assert labels_of(found) == {"a": 'x":', "b_c": "3"}


def test_depth_is_bounded_as_in_clickhouse() -> None:
    assert read_object('{"a":' * 1023 + "1" + "}" * 1023) is not None
    assert read_object('{"a":' * 1024 + "1" + "}" * 1024) is None


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1.5, "1.5"), (1000.0, "1000"), (1e21, "1e21"), (1e20, "100000000000000000000"), (1e-6, "0.000001"), (1.25e-9, "1.25e-9"),
        (-0.0, "0"), (9223372036854775808.0, "9223372036854776000"), (12345678901234567.0, "12345678901234568"),
    ],
)  # fmt: skip
def test_numbers_have_one_text(number: float, text: str) -> None:
    assert number_text(number) == text


def test_a_path_reaches_into_arrays() -> None:
    found = read_object('{"a": [{"b": true}, 2]}')
    assert found is not None
    assert (text_at(found, ("a", 0, "b")), text_at(found, ("a", 1)), text_at(found, ("a", 2)), text_at(found, ("a",))) == (
        "true", "2", "", "",
    )  # fmt: skip
