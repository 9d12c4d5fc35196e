"""What a log query says, as frozen values: a selector of streams, then stages that each line goes through in their order.

Made by `logql.parsing`, which checks everything that can be wrong about one; read by `logql.evaluate` and by `storage/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

MatchOp = Literal["=", "!=", "=~", "!~"]
LineOp = Literal["|=", "!=", "|~", "!~"]
NumberOp = Literal["==", "!=", ">", ">=", "<", "<="]
Unit = Literal["number", "duration", "bytes"]


@dataclass(frozen=True, slots=True)
class TextTest:
    """A label's text, "" where a log has none, compared with `value`: exactly, or as a whole with a regular expression."""

    label: str
    op: MatchOp
    value: str


@dataclass(frozen=True, slots=True)
class NumberTest:
    """A label read as a number, as nanoseconds (`duration`) or as bytes, compared with `value`; never true of other texts."""

    label: str
    op: NumberOp
    value: float | int
    unit: Unit = "number"


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every one of two or more."""

    tests: tuple[LabelTest, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One at least of two or more."""

    tests: tuple[LabelTest, ...]


LabelTest: TypeAlias = TextTest | NumberTest | AllOf | AnyOf


@dataclass(frozen=True, slots=True)
class LineFilter:
    """The line holds one of `values` (|=), or a match of one (|~); != and !~: it holds none of them."""

    op: LineOp
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JsonParser:
    """The line is read as a JSON object: all of its members become labels, or with `fields`, those (label, path)s alone.

    A path is of names and of positions in arrays, from 0.
    """

    fields: tuple[tuple[str, tuple[str | int, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class LogfmtParser:
    """The line's key=value pairs become labels, or with `fields`, those (label, key)s alone."""

    fields: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RegexpParser:
    """The named groups of the pattern's first match in the line become labels; `groups` are (label, number of the group)."""

    pattern: str
    groups: tuple[tuple[str, int], ...]


Parser: TypeAlias = JsonParser | LogfmtParser | RegexpParser
Stage: TypeAlias = LineFilter | Parser | TextTest | NumberTest | AllOf | AnyOf


@dataclass(frozen=True, slots=True)
class LogQuery:
    """`selector` are conditions on stream labels, all of which must hold; none of them is every log."""

    selector: tuple[TextTest, ...]
    stages: tuple[Stage, ...] = ()


@dataclass(frozen=True, slots=True)
class PlacedTest:
    """A condition on labels, and the parsers whose labels it sees: those before it in the query.

    One `in_braces` sees the fields of the log alone, not what its attributes have under such a name.
    """

    test: LabelTest
    parsers: tuple[Parser, ...]
    in_braces: bool = False


def placed_tests(query: LogQuery) -> Iterator[PlacedTest]:
    """Every condition on labels in its place, the selector's first."""
    parsers: tuple[Parser, ...] = ()
    for matcher in query.selector:
        yield PlacedTest(matcher, (), in_braces=True)
    for stage in query.stages:
        if isinstance(stage, Parser):
            parsers = (*parsers, stage)
        elif not isinstance(stage, LineFilter):
            yield PlacedTest(stage, parsers)


def line_filters(query: LogQuery) -> Iterator[LineFilter]:
    """Every condition on the line, which no stage changes, so that their places do not matter."""
    return (stage for stage in query.stages if isinstance(stage, LineFilter))
