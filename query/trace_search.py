"""POST /query/traces/search: conditions on spans -> a page of summaries of the traces that have one, newest first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from query.answers import BODY, STATS_EXAMPLE, answers, json_answer, shown_stats
from query.authorization import permitted
from query.time_ranges import END, START, read_range
from query.tokens import Principal, Tokens
from storage.log_filters import FILTERS_MAX, FieldFilter, FilterOp
from storage.record_selection import LIMIT_MAX, TEXT_CHARACTERS_MAX
from storage.spans import SpanStore, TraceSummary
from storage.trace_selection import TraceSelection
from topics.errors import Refused
from topics.span_records import DURATION_MS_MAX
from topics.timestamps import format_timestamp

LIMIT_DEFAULT: Final = 100
ATTRIBUTES: Final = "attributes."
_NS_A_MS: Final = 1_000_000

_EXAMPLE: JsonDict = {
    "start": "2025-10-31T00:00:00Z",
    "end": "2025-10-31T23:59:59Z",
    "service": "api",
    "min_duration_ms": 250,
    "status": "error",
    "attributes": {"http.method": "GET"},
    "limit": 100,
}
_ANSWER: Final[dict[str, Any]] = {
    "traces": [
        {
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "root_service": "web",
            "root_operation": "GET /orders/{id}",
            "start_time": "2025-10-31T10:00:00.000Z",
            "duration_ms": 412.5,
            "span_count": 9,
            "services": ["api", "db", "web"],
            "errors": 1,
        }
    ],
    "next_cursor": "ARhz9Z0pQAAAdOTx0R6qjwE",
    "stats": STATS_EXAMPLE,
}

Milliseconds = Annotated[float, Field(ge=0, le=DURATION_MS_MAX, allow_inf_nan=False)]


Name = Annotated[str, Field(min_length=1, max_length=180)]
Text = Annotated[str, Field(max_length=TEXT_CHARACTERS_MAX)]


class AttributeFilter(BaseModel):
    """A condition on one attribute of the span."""

    model_config = ConfigDict(extra="forbid", strict=True)

    field: Name = Field(description="the attribute, by its names joined with points: `http.status_code`")
    op: FilterOp = Field(
        description="= and != compare texts, or numbers with a number; contains and regex (RE2) look anywhere in the text, case"
        " counts; > >= < <= compare numbers. What a negation asks is also true of spans without the attribute."
    )
    value: Text | bool | int | float | None = Field(None, description="none for exists and not_exists")


class TraceSearch(BaseModel):
    """What to look for: traces with one span in the time range that meets every condition that is given."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [_EXAMPLE]})

    start: str | int | float = Field(description=START)
    end: str | int | float = Field(description=END)
    service: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(None, description="exact service name")
    operation: Annotated[str, Field(min_length=1, max_length=1000)] | None = Field(None, description="exact operation")
    min_duration_ms: Milliseconds | None = Field(None, description="of the span, included")
    max_duration_ms: Milliseconds | None = Field(None, description="of the span, included")
    status: Literal["unset", "ok", "error"] | None = Field(None, description="of the span")
    attributes: Annotated[dict[Name, Text | bool | int | float], Field(max_length=FILTERS_MAX)] | None = Field(
        None,
        description="exact values of the span's attributes, by their names joined with points: a text, or a number",
    )
    filters: Annotated[list[AttributeFilter], Field(max_length=FILTERS_MAX)] | None = Field(
        None, description="more conditions on the span's attributes"
    )
    order: Literal["newest", "oldest"] = Field("newest", description="by the begin of such spans")
    limit: int = Field(LIMIT_DEFAULT, ge=1, le=LIMIT_MAX, description="traces on one page")
    cursor: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="`next_cursor` of the page before, with the same conditions"
    )

    def selection(self) -> TraceSelection:
        """The store's form of it. Raises `Refused` with the path of the field at fault."""
        start, end = read_range(self.start, self.end)
        shortest, longest = _ns(self.min_duration_ms), _ns(self.max_duration_ms)
        if shortest is not None and longest is not None and longest < shortest:
            raise Refused("must not be below min_duration_ms", code="invalid_field", path="max_duration_ms")
        return TraceSelection(
            start_ns=start,
            end_ns=end,
            service=self.service,
            operation=self.operation,
            status=self.status,
            duration_min_ns=shortest,
            duration_max_ns=longest,
            filters=(*self._exact(), *self._filters()),
            order=self.order,
            limit=self.limit,
            cursor=self.cursor,
        )

    def _exact(self) -> Iterator[FieldFilter]:
        for name, value in (self.attributes or {}).items():
            try:
                yield FieldFilter(f"{ATTRIBUTES}{name}", "=", value, what="traces")
            except Refused as exc:
                raise Refused(exc.reason, code=exc.code, path=f"attributes.{name}") from None

    def _filters(self) -> Iterator[FieldFilter]:
        for place, each in enumerate(self.filters or ()):
            name = each.field.removeprefix(ATTRIBUTES)
            yield FieldFilter(f"{ATTRIBUTES}{name}", each.op, each.value, place, what="traces")


def trace_search_router(spans: SpanStore, tokens: Tokens) -> APIRouter:
    """The question which traces there are."""
    router = APIRouter(prefix="/query/traces", tags=["traces"])

    may_read = Depends(permitted(tokens, "traces:read"))

    @router.post(
        "/search",
        summary="Search traces",
        response_description="`{traces, next_cursor, stats}`; a summary is of the whole trace",
        responses=answers(_ANSWER, *BODY),
    )
    async def search_traces(search: TraceSearch, principal: Principal = may_read) -> Response:
        page = await spans.search(principal.scope, search.selection(), principal.limits)
        answer = {
            "traces": [_shown(summary) for summary in page.rows],
            "next_cursor": page.next_cursor,
            "stats": shown_stats(page.stats),
        }
        return json_answer(answer)

    return router


def _ns(ms: float | None) -> int | None:
    return None if ms is None else round(ms * _NS_A_MS)


def _shown(summary: TraceSummary) -> dict[str, Any]:
    return {
        "trace_id": summary.trace_id,
        "root_service": summary.root_service,
        "root_operation": summary.root_operation,
        "start_time": format_timestamp(summary.start_ns),
        "duration_ms": summary.duration_ns / _NS_A_MS,
        "span_count": summary.span_count,
        "services": summary.services,
        "errors": summary.errors,
    }
