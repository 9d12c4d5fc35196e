"""A filter of one field of a log, as a question has it, in; checked, out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from logql.patterns import check_pattern
from logql.query import NumberOp
from storage.record_selection import check_text, refused_field
from topics.errors import Refused
from topics.levels import normalize_level
from topics.trace_ids import normalize_id

FILTERS_MAX: Final = 50
NUMBER_MAX: Final = 1e99
FIELD_CHARACTERS_MAX: Final = 200

FilterOp = Literal[
    "=", "!=", "contains", "not_contains", "regex", "not_regex", "exists", "not_exists", ">", ">=", "<", "<="
]
FILTER_OPS: Final[tuple[FilterOp, ...]] = get_args(FilterOp)

COLUMNS: Final[Mapping[str, str]] = {
    name: name for name in ("service", "level", "message", "host", "environment", "version", "trace_id", "span_id")
}
_ATTRIBUTES: Final = "attributes."
_BARE: Final = frozenset({"exists", "not_exists"})
_COMPARED: Final = frozenset({">", ">=", "<", "<="})


@dataclass(frozen=True, slots=True)
class FieldFilter:
    """`field` is a column, or an attribute by its names joined with points (`http.status_code`, in `attributes.` or without it).

    `=` and `!=` compare texts exactly, and with a number the field's number; `contains` is a substring and `regex` a match
    anywhere, both where case counts; `>` and its like compare numbers, which other texts are not. `exists` is anything but
    null or, of a column, "". A negation is true wherever the other is not, so also where the field is not there.
    `what` names the records in messages. Raises `Refused` with the path `filters[<place>]...`.
    """

    field: str
    op: FilterOp
    value: str | float | int | bool | None = None
    place: int = 0
    what: str = "logs"

    def __post_init__(self) -> None:
        path = f"filters[{self.place}]"
        check_text(self.what, f"{path}.field", self.field)
        if not 1 <= len(self.field) <= FIELD_CHARACTERS_MAX or not self.name:
            raise refused_field(self.what, f"{path}.field", f"it has not 1 to {FIELD_CHARACTERS_MAX} characters")
        if self.op not in FILTER_OPS:
            raise refused_field(self.what, f"{path}.op", f"it is none of {', '.join(FILTER_OPS)}")
        path += ".value"
        value = self.value
        if self.op in _BARE:
            if value is not None:
                raise refused_field(self.what, path, f"{self.op} takes none")
        elif isinstance(value, bool):
            self._settle("true" if value else "false", path)
        elif isinstance(value, int | float):
            if self.op not in _COMPARED and self.op not in ("=", "!="):
                raise refused_field(self.what, path, f"{self.op} takes a text")
            # Asked this way round, because NaN is beyond every bound, and a whole number of any length can be compared.
            if not abs(value) <= NUMBER_MAX:
                raise refused_field(self.what, path, f"a number must be within {NUMBER_MAX:g}")
        elif value is None:
            raise refused_field(self.what, path, f"{self.op} needs one")
        else:
            self._settle(value, path)

    @property
    def name(self) -> str:
        """Of the attribute."""
        return self.field.removeprefix(_ATTRIBUTES)

    @property
    def number(self) -> float | None:
        """What a number is compared with, None where texts are compared."""
        return float(self.value) if isinstance(self.value, int | float) and not isinstance(self.value, bool) else None

    @property
    def number_op(self) -> NumberOp:
        """How numbers are compared; != is the negation of ==."""
        return "==" if self.op in ("=", "!=") else cast(NumberOp, self.op)

    def _settle(self, value: str, path: str) -> None:
        check_text(self.what, path, value)
        if self.op in _COMPARED:
            raise refused_field(self.what, path, f"{self.op} takes a number")
        if self.op in ("regex", "not_regex"):
            try:
                check_pattern(value)
            except Refused as exc:
                raise refused_field(self.what, path, exc.reason) from None
        if self.op in ("=", "!="):
            # In the form in which they are stored.
            if self.field == "level":
                value = normalize_level(value)
            elif self.field in ("trace_id", "span_id"):
                value = normalize_id(value) or value
        object.__setattr__(self, "value", value)
