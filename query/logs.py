"""POST /query/logs/search: a selection of one organization's logs -> a page of them, newest first unless asked otherwise."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from query.answers import json_answer, shown_stats
from query.authorization import permitted
from query.time_ranges import END, START, read_range
from query.tokens import Principal, Tokens
from storage.log_selection import LogSelection
from storage.logs import LogRow, LogStore
from topics.levels import normalize_level
from topics.timestamps import format_timestamp
from topics.trace_ids import normalize_id

LIMIT_DEFAULT = 100
LIMIT_MAX = 1000

_EXAMPLE: JsonDict = {
    "start": "2025-10-31T00:00:00Z",
    "end": "2025-10-31T23:59:59Z",
    "service": "api",
    "level": "error",
    "limit": 100,
}


class LogSearch(BaseModel):
    """What to look for. Every condition that is given must hold."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [_EXAMPLE]})

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
    order: Literal["newest", "oldest"] = Field("newest", description="by timestamp")
    limit: int = Field(LIMIT_DEFAULT, ge=1, le=LIMIT_MAX, description="logs on one page")
    cursor: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="`next_cursor` of the page before, with the same conditions"
    )

    def selection(self) -> LogSelection:
        """The store's form of it. Raises `Refused` with the path of the field at fault."""
        start, end = read_range(self.start, self.end)
        return LogSelection(
            start_ns=start,
            end_ns=end,
            service=self.service,
            level=normalize_level(self.level) if self.level is not None else None,
            search=self.search,
            # One of zeros is no id, and asks for what nothing has.
            trace_id=(normalize_id(self.trace_id) or self.trace_id) if self.trace_id is not None else None,
            order=self.order,
            limit=self.limit,
            cursor=self.cursor,
        )


def logs_router(logs: LogStore, tokens: Tokens) -> APIRouter:
    """The questions about logs."""
    router = APIRouter(prefix="/query/logs", tags=["logs"])

    may_read = Depends(permitted(tokens, "logs:read"))

    @router.post("/search", summary="Search logs", response_description="`{logs, next_cursor, stats}`")
    async def search_logs(search: LogSearch, principal: Principal = may_read) -> Response:
        page = await logs.search(principal.scope, search.selection(), principal.limits)
        answer: dict[str, Any] = {
            "logs": [shown_log(row) for row in page.rows],
            "next_cursor": page.next_cursor,
            "stats": shown_stats(page.stats),
        }
        return json_answer(answer)

    return router


def shown_log(row: LogRow) -> dict[str, Any]:
    """One log as the API shows it; attributes go out as the JSON text that they are stored as."""
    return {
        "id": str(row.record_id),
        "timestamp": format_timestamp(row.ts_ns),
        "service": row.service,
        "level": row.level,
        "message": row.message,
        "trace_id": row.trace_id or None,
        "span_id": row.span_id or None,
        "host": row.host or None,
        "environment": row.environment or None,
        "version": row.version or None,
        "attributes": orjson.Fragment(row.attributes),
    }
