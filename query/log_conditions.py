"""What all questions about logs have in common: a time range, conditions, filters and LogQL, as JSON in, a selection out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from logql.parsing import CHARACTERS_MAX, parse_log_query
from query.time_ranges import END, START, read_range
from storage.log_filters import FILTERS_MAX, FieldFilter, FilterOp
from storage.log_selection import LogSelection
from storage.record_selection import TEXT_CHARACTERS_MAX
from topics.levels import normalize_level
from topics.trace_ids import normalize_id

QUERY_EXAMPLE = '{service="api", level=~"error|fatal"} |= "timeout" | http_status_code >= 500'
EXAMPLE: JsonDict = {"start": "2025-10-31T00:00:00Z", "end": "2025-10-31T23:59:59Z", "service": "api", "level": "error"}


class LogFilter(BaseModel):
    """A condition on one field."""

    model_config = ConfigDict(extra="forbid", strict=True)

    field: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        description="service, level, message, host, environment, version, trace_id, span_id, or an attribute by its names joined"
        " with points: `http.status_code`, or `attributes.level` where the name is also a field's"
    )
    op: FilterOp = Field(
        description="= and != compare texts, or numbers with a number; contains and regex (RE2) look anywhere in the text, case"
        " counts; > >= < <= compare numbers. What a negation asks is also true of logs without the field."
    )
    value: Annotated[str, Field(max_length=TEXT_CHARACTERS_MAX)] | bool | int | float | None = Field(
        None, description="none for exists and not_exists"
    )


class LogConditions(BaseModel):
    """Which logs. Every condition that is given must hold."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [EXAMPLE]})

    start: str | int | float = Field(description=START)
    end: str | int | float = Field(description=END)
    service: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(None, description="exact service name")
    level: Annotated[str, Field(min_length=1, max_length=32)] | None = Field(
        None, description="exact level, in any case and under any of its names: `warning` asks for `warn`"
    )
    search: Annotated[str, Field(min_length=1, max_length=1000)] | None = Field(
        None, description="text that the message contains, in any case; % and _ mean themselves"
    )
    trace_id: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None, description="exact trace id, in any of its forms"
    )
    filters: Annotated[list[LogFilter], Field(max_length=FILTERS_MAX)] | None = Field(
        None, description="conditions on fields"
    )
    query: Annotated[str, Field(min_length=1, max_length=CHARACTERS_MAX)] | None = Field(
        None, description=f"a LogQL log query, beside the other conditions: `{QUERY_EXAMPLE}`"
    )

    def selection(self, **page: Any) -> LogSelection:
        """The store's form of it, with the order, limit and cursor of `page`. Raises `Refused` with the path at fault."""
        start, end = read_range(self.start, self.end)
        filters = [FieldFilter(each.field, each.op, each.value, place) for place, each in enumerate(self.filters or ())]
        return LogSelection(
            start_ns=start,
            end_ns=end,
            service=self.service,
            level=normalize_level(self.level) if self.level is not None else None,
            search=self.search,
            # One of zeros is no id, and asks for what nothing has.
            trace_id=(normalize_id(self.trace_id) or self.trace_id) if self.trace_id is not None else None,
            filters=tuple(filters),
            query=parse_log_query(self.query) if self.query is not None else None,
            **page,
        )


Order = Literal["newest", "oldest"]
