"""The text of an expression -> the same expression as Prometheus lays it out: one line, or a part a line where that is too long.

As promql/parser/printer.go and prettier.go of Prometheus 3. Comments go, numbers and strings are written in one way, durations
that stand for numbers as seconds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final

import promql_parser

from query.promql.lexical import Prepared, prepare
from query.promql.parsing import MATCH_OPS, nodes_of

WIDTH: Final = 100
"""Characters of an expression from which on its parts have lines of their own."""
_PLAIN_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_UNITS_MS = (("y", 31_536_000_000), ("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000))
_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}


def laid_out(text: str) -> str:
    """Raises `Refused` (code "bad_data") for what is no expression, or is not supported here."""
    nodes_of(text)
    prepared = prepare(text)
    return _Layout(prepared).lines(promql_parser.parse(prepared.text), 0)


def duration_text(ms: int) -> str:
    """1h30m; years and weeks only where nothing is left of them, as 90d is easier to read than 12w6d."""
    if ms == 0:
        return "0s"
    text, rest = "-" if ms < 0 else "", abs(ms)
    for unit, size in _UNITS_MS:
        if rest >= size and (unit not in "yw" or rest % size == 0):
            text, rest = f"{text}{rest // size}{unit}", rest % size
    return f"{text}{rest}ms" if rest else text


def number_text(value: float) -> str:
    """As Go prints a double: the shortest digits, with an exponent below 1e-4 and from 1e6 on."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    power = exponent + len(digits) - 1
    if value and not -4 <= power < 6:
        first, *rest = map(str, digits)
        return f"{'-' * sign}{first}{'.' * bool(rest)}{''.join(rest)}e{power:+03d}"
    return repr(value).removesuffix(".0")


def quoted(text: str) -> str:
    """A string as Go writes it with %q."""
    return '"' + "".join(_ESCAPES.get(char) or _shown(char) for char in text) + '"'


def _shown(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class _Layout:
    """Writes the package's tree, with what `prepare` took out of the text put back."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared

    def line(self, tree: Any) -> str:
        """All in one line."""
        write: Callable[[Any], str] = getattr(self, f"_{type(tree).__name__}")
        return write(tree)

    def lines(self, tree: Any, level: int) -> str:
        """In lines, of which the first is indented too."""
        line, indent = self.line(tree), "  " * level
        if len(line) <= WIDTH:
            return indent + line
        match type(tree).__name__:
            case "BinaryExpr":
                left, right = self.lines(tree.lhs, level + 1), self.lines(tree.rhs, level + 1)
                return f"{left}\n{indent}{self._operator(tree)}\n{right}"
            case "AggregateExpr":
                parts = [tree.expr] if tree.param is None else [tree.param, tree.expr]
                return indent + self._enclosed(self._aggregation(tree), parts, level)
            case "Call":
                return indent + self._enclosed(str(tree.func.name), tree.args, level) if tree.args else indent + line
            case "ParenExpr":
                return indent + self._enclosed("", [tree.expr], level)
            case "UnaryExpr":
                return f"{indent}-{self.lines(tree.expr, level).lstrip()}"
            case "SubqueryExpr":
                return self.lines(tree.expr, level) + self._subquery(tree)
            case _:
                return indent + line

    def _enclosed(self, before: str, parts: Iterable[Any], level: int) -> str:
        listed = ",\n".join(self.lines(part, level + 1) for part in parts)
        return f"{before}(\n{listed}\n{'  ' * level})"

    def _ParenExpr(self, tree: Any) -> str:
        return f"({self.line(tree.expr)})"

    def _NumberLiteral(self, tree: Any) -> str:
        return number_text(float(tree.val))

    def _StringLiteral(self, tree: Any) -> str:
        return quoted(self.prepared.strings[int(tree.val) - 1])

    def _UnaryExpr(self, tree: Any) -> str:
        return f"-{self.line(tree.expr)}"

    def _VectorSelector(self, tree: Any) -> str:
        return self._series(tree) + self._when(tree)

    def _MatrixSelector(self, tree: Any) -> str:
        selector = tree.vector_selector
        return f"{self._series(selector)}[{duration_text(self.prepared.duration_ms(tree.range))}]{self._when(selector)}"

    def _SubqueryExpr(self, tree: Any) -> str:
        return self.line(tree.expr) + self._subquery(tree)

    def _Call(self, tree: Any) -> str:
        return f"{tree.func.name}({', '.join(self.line(argument) for argument in tree.args)})"

    def _AggregateExpr(self, tree: Any) -> str:
        parameter = "" if tree.param is None else f"{self.line(tree.param)}, "
        return f"{self._aggregation(tree)}({parameter}{self.line(tree.expr)})"

    def _BinaryExpr(self, tree: Any) -> str:
        return f"{self.line(tree.lhs)} {self._operator(tree)} {self.line(tree.rhs)}"

    def _series(self, tree: Any) -> str:
        conditions = []
        for matcher in tree.matchers.matchers:
            op = MATCH_OPS[str(matcher.op).rpartition(".")[2]]
            value = matcher.value if op in ("=", "!=") else self.prepared.pattern(matcher.value)
            conditions.append(f"{_label(matcher.name)}{op}{quoted(value)}")
        return (tree.name or "") + ("{" + ",".join(sorted(conditions)) + "}" if conditions else "")

    def _when(self, tree: Any) -> str:
        """The modifiers @ and offset."""
        at, offset_ms = self.prepared.at(tree.at), self.prepared.offset_ms(tree.offset)
        shown = "" if at is None else f" @ {at}()" if isinstance(at, str) else f" @ {at / 1000:.3f}"
        return shown + (f" offset {duration_text(offset_ms)}" if offset_ms else "")

    def _subquery(self, tree: Any) -> str:
        step = "" if tree.step is None else duration_text(self.prepared.duration_ms(tree.step))
        return f"[{duration_text(self.prepared.duration_ms(tree.range))}:{step}]{self._when(tree)}"

    def _aggregation(self, tree: Any) -> str:
        modifier = tree.modifier
        if modifier is None:
            return str(tree.op)
        labels = ", ".join(_label(str(label)) for label in modifier.labels)
        if str(modifier.type).endswith("Without"):
            return f"{tree.op} without ({labels}) "
        return f"{tree.op} by ({labels}) " if labels else str(tree.op)

    def _operator(self, tree: Any) -> str:
        """The operator of a binary expression, with bool and how vectors are matched."""
        modifier, text = tree.modifier, str(tree.op)
        if modifier is None:
            return text
        if modifier.return_bool:
            text += " bool"
        matching = modifier.matching
        if matching is not None:
            word = "on" if str(matching.type).endswith("Include") else "ignoring"
            text += f" {word} ({', '.join(map(_label, matching.labels))})"
        side = {"ManyToOne": "left", "OneToMany": "right"}.get(str(modifier.card).rpartition(".")[2])
        if side is not None:
            text += f" group_{side} ({', '.join(map(_label, modifier.group_labels or ()))})"
        return text


def _label(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else quoted(name)
