"""What a person asks of logs beside time and exact columns (text, filters, LogQL) in; conditions of one ClickHouse query out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from logql.names import IDS, STREAM_LABELS
from logql.patterns import whole, within
from logql.quantities import (
    BYTE_UNITS,
    BYTES,
    BYTES_MAX,
    DURATION,
    DURATION_CHARACTERS_MAX,
    DURATION_PART,
    DURATION_PART_MAX,
    DURATION_UNITS,
    NUMBER,
    read_number,
)
from logql.query import (
    AllOf,
    AnyOf,
    LabelTest,
    LineFilter,
    LogQuery,
    NumberTest,
    Parser,
    PlacedTest,
    TextTest,
    line_filters,
    placed_tests,
)
from storage.log_filters import COLUMNS, FieldFilter
from storage.log_labels import Bound, LabelTexts
from storage.record_table import Conditions

LIKE_ESCAPES: Final = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})
_LOWER: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
# A JSON text of such characters has them as they are, or one at least as \u and its number; a number may be written otherwise.
_SAME_IN_JSON: Final = re.compile(r"[A-Za-z0-9_.:@+-]+", re.ASCII)
_OPERATORS: Final = {"==": "=", "!=": "!=", ">": ">", ">=": ">=", "<": "<", "<=": "<="}


def add_query(conditions: Conditions, query: LogQuery) -> None:
    """Add all that a LogQL query asks, the cheap parts first."""
    made = _Made("query")
    texts = [made.placed(placed) for placed in placed_tests(query) if not placed.parsers]
    texts += [made.line(each) for each in line_filters(query)]
    texts += [made.placed(placed) for placed in placed_tests(query) if placed.parsers]
    made.add_to(conditions, texts)


def add_filters(conditions: Conditions, filters: Sequence[FieldFilter]) -> None:
    """Add filters of fields."""
    made = _Made("filter")
    made.add_to(conditions, [made.field(each) for each in filters])


class _Made:
    """Conditions in the making, whose parameters are named after `prefix`."""

    def __init__(self, prefix: str) -> None:
        self._bound = Bound(prefix)
        self._texts = LabelTexts(self._bound)

    def add_to(self, conditions: Conditions, texts: Sequence[str]) -> None:
        for text in texts:
            conditions.add(text)
        conditions.parameters |= self._bound.parameters

    def placed(self, placed: PlacedTest) -> str:
        """A condition in its place."""
        test = placed.test
        if placed.in_braces and isinstance(test, TextTest):
            return self._text(STREAM_LABELS[test.label], test.op, test.value, hint=None)
        return self.test(test, placed.parsers)

    def test(self, test: LabelTest, parsers: Sequence[Parser]) -> str:
        if isinstance(test, AllOf | AnyOf):
            joint = " AND " if isinstance(test, AllOf) else " OR "
            return joint.join(f"({self.test(each, parsers)})" for each in test.tests)
        text = self._texts.label(test.label, parsers)
        if isinstance(test, NumberTest):
            return self._number(text, test)
        elsewhere = parsers or test.label in STREAM_LABELS or test.label in IDS
        return self._text(text, test.op, test.value, hint=None if elsewhere else (test.label, "_"))

    def line(self, test: LineFilter) -> str:
        """A condition on the message."""
        made = []
        for value in test.values:
            if test.op in ("|~", "!~"):
                made.append(self._piece("where_match", text="message", value=self._bound.value(within(value))))
            else:
                made.append(self._message_contains(value))
        some = " OR ".join(f"({each})" for each in made)
        return some if test.op in ("|=", "|~") else self._piece("where_not", condition=some)

    def field(self, asked: FieldFilter) -> str:
        """A condition on a column or an attribute."""
        column = COLUMNS.get(asked.field)
        text = column or self._texts.member("attributes", asked.name, ".")
        op, value = asked.op, asked.value
        if op in ("exists", "not_exists"):
            there = f"{column} != ''" if column else self._texts.has_member("attributes", asked.name)
            return there if op == "exists" else self._piece("where_not", condition=there)
        if asked.number is not None:
            test = NumberTest(asked.field, asked.number_op, asked.number)
            condition = self._number(text, test)
            return self._piece("where_not", condition=condition) if op == "!=" else condition
        assert isinstance(value, str)
        if op in ("=", "!="):
            return self._text(text, op, value, hint=(asked.name, ".") if column is None else None)
        if op in ("regex", "not_regex"):
            condition = self._piece("where_match", text=text, value=self._bound.value(within(value)))
        elif column == "message":
            condition = self._message_contains(value)
        else:
            condition = self._piece("where_contains", text=text, value=self._bound.value(value))
        return self._piece("where_not", condition=condition) if op.startswith("not_") else condition

    def _text(self, text: str, op: str, value: str, *, hint: tuple[str, str] | None) -> str:
        """`hint` is the name that `text` has among the attributes and nowhere else, and what joins its parts."""
        if op in ("=~", "!~"):
            condition = self._piece("where_match", text=text, value=self._bound.value(whole(value)))
        else:
            condition = self._piece("where_equal", text=text, value=self._bound.value(value))
            if hint is not None and op == "=":
                condition = " AND ".join([*self._held(value, hint), condition])
        return condition if op in ("=", "=~") else self._piece("where_not", condition=condition)

    def _held(self, value: str, hint: tuple[str, str]) -> list[str]:
        """What else is true when an attribute is `value`: cheaper than reading it, and the second is what an index serves."""
        if not value or read_number(value) is not None:
            return []
        held = []
        if _SAME_IN_JSON.fullmatch(value):
            text = self._piece("json_holds", json="attributes", text=self._bound.value(value))
            held.append(f"({text} OR {self._piece('json_escaped', json='attributes')})")
        name, joint = hint
        if joint not in name:
            held.append(self._piece("attribute_equal", key=self._bound.value(name), value=self._bound.value(value)))
        return held

    def _message_contains(self, value: str) -> str:
        lowered = f"%{value.translate(_LOWER).translate(LIKE_ESCAPES)}%"
        return self._piece("where_message_contains", value=self._bound.value(value), lowered=self._bound.value(lowered))

    def _number(self, text: str, test: NumberTest) -> str:
        op = _OPERATORS[test.op]
        if test.unit == "number":
            # As JSON, because ClickHouse does not read every decimal to the nearest double.
            value = self._bound.value(f"{float(test.value)!r}")
            return self._piece("where_number", text=text, op=op, value=value, shape=self._bound.value(NUMBER))
        table, shape, part_max = (
            (DURATION_UNITS, DURATION, DURATION_PART_MAX) if test.unit == "duration" else (BYTE_UNITS, BYTES, BYTES_MAX)
        )
        units = self._bound.value(list(table), "Array(String)")
        factors = self._bound.value(list(table.values()), "Array(Int64)")
        factor = self._piece(f"{test.unit}_factor", units=units, factors=factors)
        parts = {
            "text": text,
            "op": op,
            "value": self._bound.value(test.value, "Int64"),
            "shape": self._bound.value(shape),
            "part_max": self._bound.value(part_max, "Int64"),
            "units": units,
            "factor": factor,
            "scaled": self._piece("scaled_part", factor=factor),
        }
        if test.unit == "duration":
            parts["parts"] = self._bound.value(DURATION_PART)
            parts["longest"] = self._bound.value(DURATION_CHARACTERS_MAX, "UInt16")
        return self._piece(f"where_{test.unit}", **parts)

    def _piece(self, name: str, /, **parts: str) -> str:
        return self._bound.piece(name, **parts)
