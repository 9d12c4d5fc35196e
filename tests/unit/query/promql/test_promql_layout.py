"""Expressions as format_query lays them out. Those of one line were compared with Prometheus' own answers."""

from __future__ import annotations

import pytest

from query.promql.layout import WIDTH, duration_text, laid_out, number_text
from topics.errors import Refused

LINES = {
    "foo/bar": "foo / bar",
    "sum(x)by(a,b)": "sum by (a, b) (x)",
    "sum by () (x)": "sum(x)",
    "sum(x)without()": "sum without () (x)",
    "topk(5,x)": "topk(5, x)",
    "count_values('v',x) # how often": 'count_values("v", x)',
    "a+on(b)group_left(c)d": "a + on (b) group_left (c) d",
    "a==bool on()d": "a == bool on () d",
    "a/ignoring(x)group_right d": "a / ignoring (x) group_right () d",
    "a unless b": "a unless b",
    "((x))*-y": "((x)) * -y",
    'a{c="d",b!~`x\\d`}': 'a{b!~"x\\\\d",c="d"}',
    '{"a.b","c.d"=~"x|y"}': '{"c.d"=~"x|y",__name__="a.b"}',
    '{__name__="a",b="\\"é\\n\\x01"}': '{__name__="a",b="\\"é\\n\\x01"}',
    "x offset -1h30m": "x offset -1h30m",
    "x[5m]offset 90d@-1.5": "x[5m] @ -1.500 offset 90d",
    "x[14d:1m]@end()": "x[2w:1m] @ end()",
    "rate(x[1500])[1h:]": "rate(x[25m])[1h:]",
    "time()": "time()",
    "1_000_000*0x10": "1e+06 * 16",
    "x ^ 2 ^ 0.00001": "x ^ 2 ^ 1e-05",
    "-Inf": "-Inf",
}


@pytest.mark.parametrize("text", LINES)
def test_one_line(text: str) -> None:
    assert laid_out(text) == LINES[text]
    assert laid_out(LINES[text]) == LINES[text]


def test_what_is_too_long_has_its_parts_on_lines_of_their_own() -> None:
    a, b = "a" * 60, "b" * 60
    assert laid_out(f"{a}+{'b' * (WIDTH - 63)}") == f"{a} + {'b' * (WIDTH - 63)}"
    assert laid_out(f"-max_over_time(({a} > bool on(x) {b})[5m:1m] offset 3m)").splitlines() == [
        "-max_over_time(", "  (", f"      {a}", "    > bool on (x)", f"      {b}", "  )[5m:1m] offset 3m", ")"
    ]  # fmt: skip
    assert laid_out(f"topk by (x) (5, label_join({a}, '{b}', ''))").splitlines() == [
        "topk by (x) (", "  5,", "  label_join(", f"    {a},", f'    "{b}",', '    ""', "  )", ")"
    ]  # fmt: skip
    assert laid_out(f'{a}{{b="{b}"}}') == f'{a}{{b="{b}"}}'


def test_numbers_and_durations() -> None:
    numbers = (0.0, -0.0, 1.5, 999999.0, 1234567.5, 1e6, -1e21, 1e-5, 0.0001, float("nan"), float("-inf"))
    assert [number_text(value) for value in numbers] == [
        "0", "-0", "1.5", "999999", "1.2345675e+06", "1e+06", "-1e+21", "1e-05", "0.0001", "NaN", "-Inf"
    ]  # fmt: skip
    day = 86_400_000
    shown = [duration_text(ms) for ms in (0, 100, 61_001, 7 * day, 8 * day, 365 * day, -5000)]
    assert shown == ["0s", "100ms", "1m1s1ms", "1w", "8d", "1y", "-5s"]


def test_what_is_no_expression_is_refused() -> None:
    with pytest.raises(Refused, match="1:5"):
        laid_out("sum(")
