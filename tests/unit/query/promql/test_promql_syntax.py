"""What Prometheus 3 takes and what it refuses, text by text; what the texts mean stands in the *.test files."""

from __future__ import annotations

import pytest

from query.promql.nodes import Aggregate, Binary, Selector, Window
from query.promql.parsing import nodes_of
from query.promql.source import Matcher
from topics.errors import Refused

TAKEN = r"""
foo{a=`b\d`}
sum by (on, bool, offset, and, group_left, start, end, sum, by, without, ignoring, or, unless, atan2) (x)
and
without
avg
count
start
end
or{a="b"}
unless
group
limitk
step
range
quantile{a="b"}
foo{offset="1", on="2", bool="x", and="y", start="z", inf="q", nan="w", by="1", sum="2", ignoring="3", group_left="4"}
INF
nAn
1.e5
0XAF
{"a b"="c", d="e"}
{"metric", "a"="b"}
{"metric"}
{'metric'}
{`metric`, a="b"}
sum by ("a b", c) (x)
sum without ("a b") (x)
x * on ("a b") y
x * on ("a b") group_left ("c d") y
x * ignoring ('a') group_right (b, "c") y
foo > bool on (a) group_left () bar
foo > bool on (a) bar
foo == on () bar
a unless b or c and d
1 + foo offset 5m
-foo offset 5m
-(foo)
foo atan2 on(x) bar
(rate(x[1m]))[5m:1m]
rate(x[1m])[5m:1m]
vector(1)[5m:1m]
vector(time())[5m:]
foo @ 1e3
foo @ +10
histogram_quantile(scalar(x), y)
round(x, -1)
topk by (a) (2, x)
topk(2, x) by (a)
bottomk without (a) (2, x)
sum(x) BY (a) > BOOL 2
X AND ON(a) Y
foo{a="b"}#comment
x[5m]offset 1m
x[5m]@1
x@1
1+1
a<b
a<=b
a!=b
a==b
a>=bool b
a^-1
2^-1
-1^-1
(1)
+1
+foo
--foo
foo:bar:baz:sum_rate5m
:foo
_foo
__foo__
foo{__bar__="x"}
foo{a!=""}
foo{a=~""}
{a=~".+"}
{a!~"^$"}
foo{a="\"\\\n\t"}
foo{a="é日本"}
label_join(x, "a", ",", "b", "c", "d", "e")
sum(rate(http_requests_total{job="api"}[5m])) by (le, job) / ignoring (le) group_left sum(rate(http_requests_total[5m])) by (job)
avg_over_time(max_over_time(x[5m])[1h:5m])[1d:1h]
x[5m:1m]
x[1h:] @ end()
quantile_over_time(0.99, x[1h:5m])
scalar(x) * y
y ^ scalar(x)
1 == bool 1
pi() * 2
x and on() (vector(1) == 1)
absent_over_time(x[5m:])
sum_over_time(x[5m]) > 0 or vector(0)
clamp(x, 0, scalar(y))
x > 1 < 5
x != 1 == 2
hour() == 5
hour() > 9 and hour() < 17
month() == bool 2
sum(1 * x)
min(x) without()
x{}
x{} offset 1h
label_replace(x,"a","b","c","d")
x % 2 == 0
x * y / z
stddev(x) by (a)
stdvar(x) by (a)
group(x) by (a)
count(x) by (a)
count by (a) (count by (a, b) (x))
sgn(x)
sort(x)
x[100ms]
x[1y1w1d1h1m1s1ms]
x offset 1y1w
"""
REFUSED = r"""
on
bool
ignoring
x bool
x on (a) y
sum(x) by
sum by (x
x{
x{a}
x{a=}
x{a=b}
x{"a"}
x[5m:1m:1m]
x[]
x[:1m]
x[5m:1m
rate(x)
x y
1 1
x, y
sum()
sum(x y)
by (a) sum(x)
x offset
x offset foo
x @
x @ y
x + + * y
* x
x *
and x
x and
(x
x)
"a" "b"
x == == y
x =~ y
x = y
x ! y
x[5m] + y[5m]
sum(x[5m])
abs(x, y)
time(1)
vector(x)
scalar(1)
label_replace(x, "a", "b", "c")
label_replace(x, a, "b", "c", "d")
topk("a", x)
quantile(x, y)
count_values(1, x)
histogram_quantile("a", x)
x[foo]
x{a="b" c="d"}
x{a="b";}
rate(x[5m])[5m]
x offset "5m"
1 offset 5m
time() offset 5m
(x + y) offset 5m
x and bool y
1 or vector(1)
x + on(a) group_left(b)
x + on(a) group_left(b) group_right(c) y
x + group_left(b) y
x and group_left y
x unless on(a) group_right y
foo{a~"b"}
foo{a=="b"}
foo{a=>"b"}
sum by (a b) (x)
sum by (1) (x)
sum by ((a)) (x)
sum(x) by (a) by (b)
sum by (a) (x) without (b)
0x
0xg
1e
1e+
1..2
5m5m
1h5d
5mm
'a
`a
x[5m:-1m]
x{a=~"*"}
x{a=~"[a"}
"""


@pytest.mark.parametrize("text", [*TAKEN.strip().splitlines(), "sum(# a comment\nx)", "x  # 'not closed"])
def test_taken(text: str) -> None:
    nodes_of(text)


@pytest.mark.parametrize("text", ["", "  ", "# nothing", *REFUSED.strip().splitlines()])
def test_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        nodes_of(text)
    assert refused.value.code == "bad_data"


def test_strings_are_read_as_go_reads_them() -> None:
    for text, value in (
        (r'x{a="\\d\"\n\t\x41\u00e9\U0001F600\101"}', '\\d"\n\tAé😀A'),
        (r"x{a='\''}", "'"),
        ('x{a=`\\d\\n"`}', '\\d\\n"'),
        ('x{a="é日本"}', "é日本"),
    ):
        node = nodes_of(text)
        assert isinstance(node, Selector)
        assert node.matchers[1].value == value, text


def test_patterns_stay_as_they_are_written() -> None:
    node = nodes_of(r"""{a=~"\\d+|x", b!~`\d{2}"`, c=~'', d!="", e!~"^$"}""")
    assert isinstance(node, Selector)
    assert set(node.matchers) == {
        Matcher("a", "=~", r"\d+|x"),
        Matcher("b", "!~", r'\d{2}"'),
        Matcher("c", "=~", ""),
        Matcher("d", "!=", ""),
        Matcher("e", "!~", "^$"),
    }


def test_times_and_durations_keep_every_millisecond() -> None:
    node = nodes_of("x[1w1ms] @ -1234.567 offset -1y1ms")
    assert isinstance(node, Window)
    assert (node.range_ms, node.selector.at, node.selector.offset_ms) == (604_800_001, -1_234_567, -31_536_000_001)


def test_labels_may_have_the_names_of_words() -> None:
    node = nodes_of('sum by (on, "a b", Bool) (x) / ignoring (by) group_left (or) y')
    assert isinstance(node, Binary)
    assert isinstance(node.left, Aggregate)
    assert node.left.labels == ("on", "a b", "Bool")
    assert (node.matching.labels, node.matching.lent) == (("by",), ("or",))
