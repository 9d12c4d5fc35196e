"""The parts of an expression, as the evaluator walks them: parentheses are gone, times and durations are whole milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from query.promql.source import Matcher
from query.promql.steps import Kind

At = int | Literal["start", "end"] | None
"""The time behind @ in unix milliseconds, or that of the query's first or last step."""
Card = Literal["one-to-one", "many-to-one", "one-to-many", "many-to-many"]

SET_OPERATORS = frozenset(("and", "or", "unless"))
COMPARISONS = frozenset(("==", "!=", "<", ">", "<=", ">="))


@dataclass(frozen=True, slots=True)
class Number:
    """A number, or a duration in seconds."""

    value: float


@dataclass(frozen=True, slots=True)
class Text:
    """A string."""

    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """An instant selector; `id` numbers the selectors of an expression from 0, in the order of its text."""

    id: int
    matchers: tuple[Matcher, ...]
    offset_ms: int
    at: At


@dataclass(frozen=True, slots=True)
class Window:
    """A range selector: the samples of the last `range_ms`."""

    selector: Selector
    range_ms: int


@dataclass(frozen=True, slots=True)
class Subquery:
    """An expression at every multiple of `step_ms` (None: the default) within the last `range_ms`."""

    inner: Node
    range_ms: int
    step_ms: int | None
    offset_ms: int
    at: At


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments; `kind` is what it gives."""

    function: str
    arguments: tuple[Node, ...]
    kind: Kind


@dataclass(frozen=True, slots=True)
class Aggregate:
    """An aggregation by `labels`, or without them; `parameter` is that of topk, bottomk, quantile and count_values."""

    operator: str
    inner: Node
    parameter: Node | None
    labels: tuple[str, ...]
    without: bool


@dataclass(frozen=True, slots=True)
class Matching:
    """How two vectors are matched: `on` these labels or on all others, and which labels the "one" side lends."""

    card: Card
    on: bool
    labels: tuple[str, ...]
    lent: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between two expressions; `as_bool` is that of comparisons."""

    operator: str
    left: Node
    right: Node
    as_bool: bool
    matching: Matching


@dataclass(frozen=True, slots=True)
class Negation:
    """Unary minus."""

    inner: Node


Node = Number | Text | Selector | Window | Subquery | Call | Aggregate | Binary | Negation


def kind_of(node: Node) -> Kind:
    """What an expression gives at one step."""
    match node:
        case Number():
            return "scalar"
        case Text():
            return "string"
        case Window() | Subquery():
            return "matrix"
        case Call():
            return node.kind
        case Binary():
            return "scalar" if kind_of(node.left) == kind_of(node.right) == "scalar" else "vector"
        case Negation():
            return kind_of(node.inner)
        case _:
            return "vector"


def children(node: Node) -> tuple[Node, ...]:
    """The parts that an expression is made of, in the order of its text."""
    match node:
        case Window():
            return (node.selector,)
        case Subquery() | Negation():
            return (node.inner,)
        case Call():
            return node.arguments
        case Aggregate():
            return (node.inner,) if node.parameter is None else (node.parameter, node.inner)
        case Binary():
            return (node.left, node.right)
        case _:
            return ()
