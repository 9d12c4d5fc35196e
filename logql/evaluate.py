"""A checked log query in; a predicate over one log record, with the labels that it has there, out. Pure, and quick on batches.

Conditions on columns come first, then the line, then labels: JSON is read when a label is asked for that is nothing else, and
once a record. docs/logql.md says what it means.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from logql import json_labels, logfmt
from logql.names import ERROR_LABEL, IDS, JSON_ERROR, STREAM_LABELS, shadowed
from logql.patterns import compiled, whole, within
from logql.quantities import read_bytes, read_duration, read_number
from logql.query import (
    AllOf,
    AnyOf,
    JsonParser,
    LabelTest,
    LineFilter,
    LogfmtParser,
    LogQuery,
    NumberTest,
    Parser,
    PlacedTest,
    RegexpParser,
    TextTest,
    line_filters,
    placed_tests,
)

_COMPARED: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq, "!=": operator.ne, ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip
_READ: Final[Mapping[str, Callable[[str], float | int | None]]] = {
    "number": read_number, "duration": read_duration, "bytes": read_bytes,
}  # fmt: skip


@dataclass(slots=True)
class LogLine:
    """One log record. Absent texts are ""; `attributes` is the JSON text of an object, or the object."""

    service: str
    level: str
    message: str
    host: str = ""
    environment: str = ""
    version: str = ""
    trace_id: str = ""
    span_id: str = ""
    attributes: str | bytes | dict[str, Any] = "{}"
    # What was read of it so far: the attributes as labels, and what each parser found.
    _attributes: dict[str, str] | None = field(default=None, repr=False, compare=False)
    _object: dict[str, Any] | None = field(default=None, repr=False, compare=False)
    _object_read: bool = field(default=False, repr=False, compare=False)
    _found: dict[Parser, Mapping[str, str]] = field(default_factory=dict, repr=False, compare=False)

    def attribute_labels(self) -> dict[str, str]:
        """The attributes as labels."""
        if self._attributes is None:
            read = self.attributes
            found = (
                read if isinstance(read, dict) else None if read in ("{}", b"{}", "") else json_labels.read_object(read)
            )
            self._attributes = json_labels.labels_of(found) if found else {}
        return self._attributes

    def message_object(self) -> dict[str, Any] | None:
        """The message as a JSON object, None where it is none."""
        if not self._object_read:
            self._object_read = True
            if self.message.lstrip("\ufeff \t\r\n").startswith("{"):
                self._object = json_labels.read_object(self.message)
        return self._object

    def found_by(self, parser: Parser) -> Mapping[str, str]:
        """What a parser makes of the message, label -> text."""
        found = self._found.get(parser)
        if found is None:
            found = self._found[parser] = self._find(parser)
        return found

    def _find(self, parser: Parser) -> Mapping[str, str]:
        if isinstance(parser, JsonParser):
            read = self.message_object()
            if read is None:
                return {}
            if not parser.fields:
                return json_labels.labels_of(read)
            return {label: json_labels.text_at(read, path) for label, path in parser.fields}
        if isinstance(parser, LogfmtParser):
            if not parser.fields:
                return logfmt.labels_of(self.message)
            first: dict[str, str] = {}
            for key, value in logfmt.pairs_of(self.message):
                first.setdefault(key, value)
            return {label: first.get(key, "") for label, key in parser.fields}
        match = compiled(within(parser.pattern)).search(self.message[:PATTERN_TEXT_MAX])
        return {} if match is None else {label: match[group] or "" for label, group in parser.groups}


Predicate = Callable[[LogLine], bool]
PATTERN_TEXT_MAX: Final = 16_384
"""Bytes (characters where groups are taken) of a text that regular expressions look at. RE2 takes up to 10 ns for each byte and
each instruction of a program, so the largest pattern would need half a minute for the largest message."""


@dataclass(frozen=True, slots=True)
class CompiledQuery:
    """A log query, ready for many records."""

    query: LogQuery
    predicate: Predicate
    parsers: tuple[Parser, ...]

    def matches(self, line: LogLine) -> bool:
        """Whether the record is one that the query asks for."""
        return self.predicate(line)

    def label(self, line: LogLine, name: str) -> str:
        """A label of a record behind the query's last stage, "" where it has none: to group by."""
        return label_reader(name, self.parsers)(line)

    def labels(self, line: LogLine) -> dict[str, str]:
        """Every label that the record has behind the query's last stage."""
        names = {*STREAM_LABELS, *IDS, *line.attribute_labels()}
        for parser in self.parsers:
            for name in line.found_by(parser):
                names.add(f"{name}_extracted" if _column(line, name) else name)
        if self.parsers:
            names.add(ERROR_LABEL)
        found = {name: self.label(line, name) for name in sorted(names - {"service_name"})}
        return {name: text for name, text in found.items() if text}


def compile_query(query: LogQuery) -> CompiledQuery:
    """Make a predicate of a query from `logql.parsing`."""
    tests: list[tuple[int, Predicate]] = []
    for placed in placed_tests(query):
        tests.append((_cost(placed), _placed(placed)))
    tests += [(1, _line_test(each)) for each in line_filters(query)]
    # Stable, so that what costs the same is asked in the order of the query. No condition has an effect on another.
    tests.sort(key=lambda test: test[0])
    parsers = tuple(stage for stage in query.stages if isinstance(stage, Parser))
    return CompiledQuery(query, _all_of([test for _, test in tests]), parsers)


def patterns_of(query: LogQuery) -> list[str]:
    """Every regular expression of a query, as RE2 gets it."""
    found = [whole(each.value) for each in _text_tests(query) if each.op in ("=~", "!~")]
    found += [within(value) for each in line_filters(query) if each.op in ("|~", "!~") for value in each.values]
    return found + [within(stage.pattern) for stage in query.stages if isinstance(stage, RegexpParser)]


def _text_tests(query: LogQuery) -> Iterator[TextTest]:
    waiting: list[LabelTest] = [placed.test for placed in placed_tests(query)]
    while waiting:
        test = waiting.pop()
        if isinstance(test, AllOf | AnyOf):
            waiting += test.tests
        elif isinstance(test, TextTest):
            yield test


def label_reader(name: str, parsers: tuple[Parser, ...]) -> Callable[[LogLine], str]:
    """How a label is found behind `parsers`; the rules are those of `logql.names`."""
    column = STREAM_LABELS.get(name)
    if name == ERROR_LABEL:
        if not any(isinstance(parser, JsonParser) for parser in parsers):
            return lambda line: ""
        return lambda line: JSON_ERROR if line.message_object() is None else ""
    if column in ("service", "level"):
        # Every log has them, so nothing else is looked at.
        return operator.attrgetter(column)
    backwards = tuple(reversed(parsers))
    base = shadowed(name)

    def read(line: LogLine) -> str:
        if column is not None:
            text: str = getattr(line, column)
            if text:
                return text
        for parser in backwards:
            found = line.found_by(parser)
            text = (found.get(base, "") if base and _column(line, base) else "") or found.get(name, "")
            if text:
                return text
        if name in IDS:
            text = getattr(line, name)
            if text:
                return text
        return line.attribute_labels().get(name, "")

    return read


def _column(line: LogLine, name: str) -> str:
    column = STREAM_LABELS.get(name)
    return "" if column is None else str(getattr(line, column))


def _all_of(tests: list[Predicate]) -> Predicate:
    if len(tests) == 1:
        return tests[0]
    every = tuple(tests)

    def predicate(line: LogLine) -> bool:
        return all(test(line) for test in every)

    return predicate


def _cost(placed: PlacedTest) -> int:
    """0 for columns, 1 for the line, 2 for what must be read from JSON or by a parser."""
    return (
        0
        if placed.in_braces or all(STREAM_LABELS.get(name) in ("service", "level") for name in _names(placed.test))
        else 2
    )


def _names(test: LabelTest) -> list[str]:
    if isinstance(test, AllOf | AnyOf):
        return [name for each in test.tests for name in _names(each)]
    return [test.label]


def _placed(placed: PlacedTest) -> Predicate:
    if placed.in_braces and isinstance(placed.test, TextTest):
        return _text_test(operator.attrgetter(STREAM_LABELS[placed.test.label]), placed.test)
    return _tested(placed.test, placed.parsers)


def _tested(test: LabelTest, parsers: tuple[Parser, ...]) -> Predicate:
    if isinstance(test, AllOf):
        return _all_of([_tested(each, parsers) for each in test.tests])
    if isinstance(test, AnyOf):
        some = tuple(_tested(each, parsers) for each in test.tests)
        return lambda line: any(each(line) for each in some)
    read = label_reader(test.label, parsers)
    if isinstance(test, NumberTest):
        return _number_test(read, test)
    return _text_test(read, test)


def _number_test(read: Callable[[LogLine], str], test: NumberTest) -> Predicate:
    compare, value, number_of = _COMPARED[test.op], test.value, _READ[test.unit]

    def predicate(line: LogLine) -> bool:
        number = number_of(read(line))
        return number is not None and compare(number, value)

    return predicate


def _text_test(read: Callable[[LogLine], str], test: TextTest) -> Predicate:
    value = test.value
    if test.op == "=":
        return lambda line: read(line) == value
    if test.op == "!=":
        return lambda line: read(line) != value
    # Of bytes, as RE2's offsets in a text would be counted in characters first, which takes three times as long.
    search = compiled(whole(value)).search
    if test.op == "=~":
        return lambda line: search(_looked_at(read(line))) is not None
    return lambda line: search(_looked_at(read(line))) is None


def _looked_at(text: str) -> bytes:
    """What of a text patterns are matched against. A character that is cut in two is none to RE2, and matches nothing."""
    return text[:PATTERN_TEXT_MAX].encode()[:PATTERN_TEXT_MAX]


def _line_test(test: LineFilter) -> Predicate:
    wanted = test.op in ("|=", "|~")
    values = test.values
    if test.op in ("|=", "!="):
        return lambda line: any(value in line.message for value in values) is wanted
    searches = tuple(compiled(within(value)).search for value in values)

    def predicate(line: LogLine) -> bool:
        message = _looked_at(line.message)
        return any(search(message) is not None for search in searches) is wanted

    return predicate


__all__ = ["CompiledQuery", "LogLine", "RegexpParser", "compile_query", "label_reader", "patterns_of"]
