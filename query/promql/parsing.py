"""The text of an expression -> its nodes, checked as Prometheus 3 checks them. The grammar is that of `promql-parser`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import promql_parser
import re2

from query.promql.labels import NAME
from query.promql.lexical import Prepared, prepare, refuse
from query.promql.nodes import (
    Aggregate,
    Binary,
    Call,
    Card,
    Matching,
    Negation,
    Node,
    Number,
    Selector,
    Subquery,
    Text,
    Window,
    kind_of,
)
from query.promql.source import Matcher, MatchOp
from query.promql.steps import Kind

EXPERIMENTAL = frozenset(
    (
        "double_exponential_smoothing", "end", "first_over_time", "histogram_quantiles", "info", "integral", "limit_ratio",
        "limitk", "mad_over_time", "range", "sort_by_label", "sort_by_label_desc", "start", "step", "ts_of_first_over_time",
        "ts_of_last_over_time", "ts_of_max_over_time", "ts_of_min_over_time",
    )
)  # fmt: skip
"""What Prometheus 3 refuses too without `--enable-feature=promql-experimental-functions`."""
NATIVE = frozenset(("histogram_avg", "histogram_count", "histogram_stddev", "histogram_stdvar", "histogram_sum"))
"""Functions of native histograms alone, which are not stored here."""

LEVELS_MAX = 150
"""Expressions inside each other; a chain of operators is one inside the other too. Each takes a few of Python's 1,000 frames."""

MATCH_OPS: dict[str, MatchOp] = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
_CARDS: dict[str, Card] = {
    "OneToOne": "one-to-one",
    "ManyToOne": "many-to-one",
    "OneToMany": "one-to-many",
    "ManyToMany": "many-to-many",
}
_KINDS: dict[str, Kind] = {"Vector": "vector", "Scalar": "scalar", "Matrix": "matrix", "String": "string"}
_UNKNOWN = re.compile(r"unknown function with name '(\w+)'")


def pattern_of(pattern: str) -> Any:
    """A pattern of RE2 that matches whole values; a dot matches line ends too. Raises `re2.error`."""
    options = re2.Options()
    options.log_errors = False
    return re2.compile(f"^(?s:{pattern})$", options)


def matches_empty(matcher: Matcher) -> bool:
    """Whether a series without the label matches."""
    if matcher.op in ("=", "!="):
        return (matcher.value == "") == (matcher.op == "=")
    return (pattern_of(matcher.value).search("") is not None) == (matcher.op == "=~")


class _Builder:
    """Turns the package's tree into ours."""

    def __init__(self, text: str, prepared: Prepared) -> None:
        self.text = text
        self.prepared = prepared
        self.selectors = 0
        self.levels = 0

    def node(self, tree: Any) -> Node:
        build: Callable[[Any], Node] = getattr(self, f"_{type(tree).__name__}")
        self.levels += 1
        if self.levels > LEVELS_MAX:
            refuse(f"more than {LEVELS_MAX} expressions inside each other", self.text)
        node = build(tree)
        self.levels -= 1
        return node

    def _refuse_word(self, reason: str, word: str) -> None:
        found = re.search(rf"\b{re.escape(word)}\b", self.text, re.IGNORECASE)
        refuse(reason, self.text, found.start() if found else None)

    def _ParenExpr(self, tree: Any) -> Node:
        return self.node(tree.expr)

    def _NumberLiteral(self, tree: Any) -> Node:
        return Number(float(tree.val))

    def _StringLiteral(self, tree: Any) -> Node:
        return Text(self.prepared.strings[int(tree.val) - 1])

    def _UnaryExpr(self, tree: Any) -> Node:
        return Negation(self.node(tree.expr))

    def _VectorSelector(self, tree: Any) -> Selector:
        if tree.matchers.or_matchers:
            refuse("alternatives of matchers (or) are not PromQL", self.text)
        matchers = [self._matcher(matcher) for matcher in tree.matchers.matchers]
        if tree.name:
            matchers.insert(0, Matcher(NAME, "=", tree.name))
        named = [matcher for matcher in matchers if matcher.label == NAME and (matcher.op == "=" or tree.name)]
        if len(named) > 1:
            refuse(f"metric name must not be set twice: {named[0].value!r} or {named[1].value!r}", self.text)
        if all(matches_empty(matcher) for matcher in matchers):
            refuse("vector selector must contain at least one non-empty matcher", self.text)
        selector = Selector(
            self.selectors, tuple(matchers), self.prepared.offset_ms(tree.offset), self.prepared.at(tree.at)
        )
        self.selectors += 1
        return selector

    def _matcher(self, tree: Any) -> Matcher:
        op = MATCH_OPS[str(tree.op).rpartition(".")[2]]
        if op in ("=", "!="):
            return Matcher(tree.name, op, tree.value)
        pattern = self.prepared.pattern(tree.value)
        try:
            pattern_of(pattern)
        except re2.error as error:
            reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
            refuse(f"invalid pattern {pattern!r}: {reason}", self.text)
        return Matcher(tree.name, op, pattern)

    def _MatrixSelector(self, tree: Any) -> Node:
        return Window(self._VectorSelector(tree.vector_selector), self.prepared.duration_ms(tree.range))

    def _SubqueryExpr(self, tree: Any) -> Node:
        inner = self.node(tree.expr)
        if kind_of(inner) != "vector":
            refuse(f"subquery is only allowed on instant vector, got {kind_of(inner)} instead", self.text)
        step = None if tree.step is None else self.prepared.duration_ms(tree.step)
        return Subquery(
            inner,
            self.prepared.duration_ms(tree.range),
            step,
            self.prepared.offset_ms(tree.offset),
            self.prepared.at(tree.at),
        )

    def _Call(self, tree: Any) -> Node:
        name = str(tree.func.name)
        if name in EXPERIMENTAL or tree.func.experimental:
            self._refuse_word(f"the experimental function {name} is not supported", name)
        if name in NATIVE:
            self._refuse_word(f"{name} needs native histograms, which are not stored here", name)
        kind = _KINDS[str(tree.func.return_type).rpartition(".")[2]]
        return Call(name, tuple(self.node(argument) for argument in tree.args), kind)

    def _AggregateExpr(self, tree: Any) -> Node:
        operator = str(tree.op)
        if operator in EXPERIMENTAL:
            self._refuse_word(f"the experimental operator {operator} is not supported", operator)
        modifier = tree.modifier
        labels = () if modifier is None else tuple(str(label) for label in modifier.labels)
        without = modifier is not None and str(modifier.type).endswith("Without")
        parameter = None if tree.param is None else self.node(tree.param)
        return Aggregate(operator, self.node(tree.expr), parameter, labels, without)

    def _BinaryExpr(self, tree: Any) -> Node:
        modifier = tree.modifier
        operator = str(tree.op)
        card: Card = "many-to-many" if operator in ("and", "or", "unless") else "one-to-one"
        on, labels, lent, as_bool = False, (), (), False
        if modifier is not None:
            if modifier.fill_values.lhs is not None or modifier.fill_values.rhs is not None:
                refuse("the experimental modifiers fill, fill_left and fill_right are not supported", self.text)
            card = _CARDS[str(modifier.card).rpartition(".")[2]]
            as_bool = bool(modifier.return_bool)
            if modifier.matching is not None:
                on = str(modifier.matching.type).endswith("Include")
                labels = tuple(modifier.matching.labels)
            lent = tuple(modifier.group_labels or ())
        return Binary(operator, self.node(tree.lhs), self.node(tree.rhs), as_bool, Matching(card, on, labels, lent))


def nodes_of(text: str) -> Node:
    """The checked nodes of an expression; raises `Refused` (code "bad_data"), with the place where it is known."""
    prepared = prepare(text)
    try:
        tree = promql_parser.parse(prepared.text)
    except ValueError as error:
        unknown = _UNKNOWN.search(str(error))
        at = text.find(unknown[1]) if unknown else -1
        refuse(str(error) if unknown is None else f"unknown function {unknown[1]!r}", text, at if at >= 0 else None)
    return _Builder(text, prepared).node(tree)
