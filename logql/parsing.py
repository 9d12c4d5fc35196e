"""The text of a LogQL log query in; a `LogQuery`, or `Refused` with the line and column of what is wrong, out.

The grammar is grammar.lark. Everything is bounded: the text, its stages, its nesting, each regular expression.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, NoReturn, cast

from lark import Lark, Token, Transformer, UnexpectedInput, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedToken, VisitError

from logql.names import ERROR_LABEL, STREAM_LABELS
from logql.patterns import check_pattern, compiled, within
from logql.quantities import read_bytes, read_duration, read_number
from logql.query import (
    AllOf,
    AnyOf,
    JsonParser,
    LabelTest,
    LineFilter,
    LineOp,
    LogfmtParser,
    LogQuery,
    MatchOp,
    NumberOp,
    NumberTest,
    RegexpParser,
    Stage,
    TextTest,
    Unit,
)
from logql.texts import read_json_path, unquoted
from topics.errors import Refused
from topics.levels import normalize_level

CHARACTERS_MAX: Final = 5000
STAGES_MAX: Final = 32
NESTING_MAX: Final = 16
TESTS_MAX: Final = 100
FIELDS_MAX: Final = 50
NUMBER_MAX: Final = 1e99

_METRIC: Final = re.compile(
    r"\s*\(*\s*(rate|rate_counter|count_over_time|bytes_rate|bytes_over_time|absent_over_time|sum_over_time|avg_over_time"
    r"|min_over_time|max_over_time|first_over_time|last_over_time|stdvar_over_time|stddev_over_time|quantile_over_time"
    r"|sum|avg|min|max|count|stddev|stdvar|bottomk|topk|approx_topk|sort|sort_desc|vector|label_replace)\s*(\(|by\b|without\b)"
)
_LATER: Final = {
    "line_format": "it changes the line",
    "label_format": "it changes labels",
    "drop": "it changes labels",
    "keep": "it changes labels",
    "decolorize": "it changes the line",
    "unwrap": "it belongs to metric queries, which come later",
    "pattern": "use regexp",
    "unpack": "use json",
    "distinct": "Loki does not document it",
}
_SHOWN: Final = {
    "LBRACE": "{", "RBRACE": "}", "LPAR": "(", "RPAR": ")", "COMMA": ",", "VBAR": "|", "EQUAL": "=", "NAME": "a label",
    "STRING": "a text in quotes", "RAW_STRING": "a text in backquotes", "QUANTITY": "a number, duration or size",
    "$END": "the end", "IP": "ip(", "OR": "or", "AND": "and", "JSON": "json", "LOGFMT": "logfmt", "REGEXP": "regexp",
}  # fmt: skip
_RESERVED: Final = {"__error_details__", "__preserve_error__"}


def parse_log_query(text: str) -> LogQuery:
    """Read one query. Raises `Refused` (code invalid_field, path "query")."""
    if len(text) > CHARACTERS_MAX:
        raise _refused(f"it has more than {CHARACTERS_MAX} characters")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _refused("it is not valid Unicode") from None
    metric = _METRIC.match(text)
    if metric is not None:
        line, column = text.count("\n", 0, metric.start(1)) + 1, metric.start(1) - text.rfind("\n", 0, metric.start(1))
        raise _refused(
            f"line {line}, column {column}: {metric[1]} is of a metric query; metric queries come later,"
            " log queries begin with {"
        )
    try:
        return cast(LogQuery, _PARSER.parse(text))
    except VisitError as exc:
        if isinstance(exc.orig_exc, Refused):
            raise exc.orig_exc from None
        raise
    except UnexpectedInput as exc:
        raise _unexpected(text, exc) from None


class _Made(Transformer[Token, Any]):
    """Rules -> values, as the parser reduces them, so that no depth of nesting is ever a depth of calls."""

    @v_args(inline=True)
    def string(self, token: Token) -> tuple[Token, str]:
        try:
            return token, unquoted(token)
        except Refused as exc:
            _refuse_at(token, exc.reason)

    def match_op(self, parts: list[Token]) -> Token:
        return parts[0]

    line_op = number_op = match_op

    @v_args(inline=True)
    def matcher(self, label: Token, op: Token, value: tuple[Token, str]) -> TextTest:
        if label not in STREAM_LABELS:
            known = ", ".join(STREAM_LABELS)
            _refuse_at(
                label, f"{label} is no label of streams ({known}); ask for it behind the braces: | {label} = ..."
            )
        return _text_test(label, op, value)

    def selector(self, parts: list[TextTest | None]) -> tuple[TextTest, ...]:
        found = tuple(part for part in parts if part is not None)
        if len(found) > TESTS_MAX:
            raise _refused(f"it has more than {TESTS_MAX} conditions in its braces")
        return found

    def line_filter(self, parts: list[Any]) -> LineFilter:
        op = cast(LineOp, str(parts[0]))
        if len(parts) > TESTS_MAX:
            _refuse_at(parts[0], f"a line filter has more than {TESTS_MAX} texts")
        for token, value in parts[1:]:
            if op in ("|~", "!~"):
                _check_pattern(token, value)
        return LineFilter(op, tuple(value for _, value in parts[1:]))

    def ip_filter(self, parts: list[Any]) -> NoReturn:
        _refuse_at(parts[-1][0], "ip() is not supported")

    def ip_test(self, parts: list[Any]) -> NoReturn:
        _refuse_at(parts[0], "ip() is not supported")

    @v_args(inline=True)
    def json_field(self, label: Token, value: tuple[Token, str] | None) -> tuple[str, tuple[str | int, ...]]:
        _check_new_label(label)
        token, path = value or (label, str(label))
        try:
            return str(label), read_json_path(path)
        except Refused as exc:
            _refuse_at(token, exc.reason)

    @v_args(inline=True)
    def logfmt_field(self, label: Token, value: tuple[Token, str] | None) -> tuple[str, str]:
        _check_new_label(label)
        return str(label), value[1] if value else str(label)

    def json_fields(self, parts: list[Any]) -> tuple[Any, ...]:
        if len(parts) > FIELDS_MAX:
            raise _refused(f"a parser has more than {FIELDS_MAX} fields")
        if len({label for label, _ in parts}) < len(parts):
            raise _refused("a parser names a label twice")
        return tuple(parts)

    logfmt_fields = json_fields

    @v_args(inline=True)
    def json(self, fields: tuple[Any, ...] | None) -> JsonParser:
        return JsonParser(fields or ())

    @v_args(inline=True)
    def logfmt(self, fields: tuple[Any, ...] | None) -> LogfmtParser:
        return LogfmtParser(fields or ())

    @v_args(inline=True)
    def regexp(self, value: tuple[Token, str]) -> RegexpParser:
        token, pattern = value
        _check_pattern(token, pattern)
        groups = dict(compiled(within(pattern)).groupindex)
        if not groups:
            _refuse_at(token, "the pattern of regexp has no named group: (?P<name>...)")
        for name in groups:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                _refuse_at(token, f"the group {name} has no name of a label")
            _check_new_label(token, name)
        return RegexpParser(pattern, tuple(sorted(groups.items(), key=lambda group: int(group[1]))))

    @v_args(inline=True)
    def text_test(self, label: Token, op: Token, value: tuple[Token, str]) -> TextTest:
        return _text_test(label, op, value)

    @v_args(inline=True)
    def number_test(self, label: Token, op: Token, quantity: Token) -> NumberTest:
        _check_asked_label(label)
        unit, value = _quantity(quantity)
        return NumberTest(str(label), cast(NumberOp, "==" if op == "=" else str(op)), value, unit)

    def any_of(self, parts: list[LabelTest]) -> LabelTest:
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def all_of(self, parts: list[LabelTest]) -> LabelTest:
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def listed(self, parts: list[LabelTest]) -> LabelTest:
        return AllOf(tuple(parts))

    @v_args(inline=True)
    def nested(self, test: LabelTest) -> LabelTest:
        if _depth(test) > NESTING_MAX:
            raise _refused(f"its conditions are nested more than {NESTING_MAX} deep")
        return test

    def start(self, parts: list[Any]) -> LogQuery:
        selector, *stages = parts
        if len(stages) > STAGES_MAX:
            raise _refused(f"it has more than {STAGES_MAX} stages")
        if sum(_size(stage) for stage in stages) > TESTS_MAX:
            raise _refused(f"it has more than {TESTS_MAX} conditions")
        return LogQuery(selector, tuple(stages))


def _text_test(label: Token, op: Token, value: tuple[Token, str]) -> TextTest:
    _check_asked_label(label)
    token, text = value
    if op in ("=~", "!~"):
        _check_pattern(token, text)
    elif label == "level":
        text = normalize_level(text)
    return TextTest(str(label), cast(MatchOp, str(op)), text)


def _quantity(token: Token) -> tuple[Unit, float | int]:
    text = token.removeprefix("+")
    readings: tuple[tuple[Unit, float | int | None], ...] = (
        ("number", read_number(text)),
        ("duration", read_duration(text)),
        ("bytes", read_bytes(text)),
    )
    found = next(((unit, value) for unit, value in readings if value is not None), None)
    if found is None:
        _refuse_at(token, f"{token} is no number, duration (250ms, 1h30m) or size (10KB, 5MiB)")
    unit, value = found
    if unit == "number" and abs(value) > NUMBER_MAX:
        _refuse_at(token, f"a number must be within {NUMBER_MAX:g}")
    if unit != "number" and not -(1 << 63) < value < 1 << 63:
        _refuse_at(token, f"{token} is beyond 64 bits")
    return unit, value


def _check_pattern(token: Token, pattern: str) -> None:
    try:
        check_pattern(pattern)
    except Refused as exc:
        _refuse_at(token, exc.reason)


def _check_new_label(token: Token, name: str | None = None) -> None:
    label = name or str(token)
    if label == ERROR_LABEL or label in _RESERVED:
        _refuse_at(token, f"{label} cannot be made by a parser")


def _check_asked_label(token: Token) -> None:
    if token in _RESERVED:
        _refuse_at(token, f"{token} is not supported; {ERROR_LABEL} is")


def _depth(test: LabelTest) -> int:
    return 1 + max(map(_depth, test.tests)) if isinstance(test, AllOf | AnyOf) else 1


def _size(stage: Stage) -> int:
    if isinstance(stage, AllOf | AnyOf):
        return sum(map(_size, stage.tests))
    return len(stage.values) if isinstance(stage, LineFilter) else 1


def _refuse_later(token: Token) -> Token:
    _refuse_at(token, f"{token} is not supported: {_LATER[token]}")


def _refuse_at(token: Token, why: str) -> NoReturn:
    raise _refused(f"line {token.line}, column {token.column}: {why}")


def _refused(why: str) -> Refused:
    return Refused(f"cannot read the query: {why}", code="invalid_field", path="query")


def _unexpected(text: str, exc: UnexpectedInput) -> Refused:
    if isinstance(exc, UnexpectedCharacters):
        found, line, column = repr(text[exc.pos_in_stream or 0]), exc.line, exc.column
        expected = set(exc.allowed or ())
    else:
        expected = set(exc.accepts or exc.expected) if isinstance(exc, UnexpectedToken) else set()
        if isinstance(exc, UnexpectedToken) and exc.token.type != "$END":
            found, line, column = repr(str(exc.token)[:40]), exc.line, exc.column
        else:
            end = text.rstrip()
            found, line, column = "the end of the query", end.count("\n") + 1, len(end) - end.rfind("\n")
    names = sorted({_shown(name) for name in expected} - {""})
    return _refused(f"line {line}, column {column}: found {found}, expected one of: {'  '.join(names)}")


def _shown(terminal: str) -> str:
    if terminal in ("LATER", "SPACE", "COMMENT"):
        return ""
    if terminal in _SHOWN:
        return _SHOWN[terminal]
    pattern = next((each.pattern.value for each in _PARSER.terminals if each.name == terminal), terminal)
    return str(pattern)


_PARSER: Final = Lark(
    (Path(__file__).parent / "grammar.lark").read_text(encoding="utf-8"),
    parser="lalr",
    transformer=_Made(),
    maybe_placeholders=True,
    lexer_callbacks={"LATER": _refuse_later},
)
