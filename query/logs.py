"""POST /query/logs/search: a selection of one organization's logs -> a page of them, newest first unless asked otherwise."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from query.authorization import permitted
from query.tokens import Principal, Tokens
from storage.log_selection import LogSelection
from storage.logs import LogRow, LogStore
from topics.errors import Refused
from topics.levels import normalize_level
from topics.timestamps import format_timestamp, parse_timestamp
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

    start: str | int | float = Field(description="first instant, included: ISO 8601, or unix s, ms, us or ns")
    end: str | int | float = Field(description="last instant, excluded")
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
        start, end = _instant("start", self.start), _instant("end", self.end)
        if end <= start:
            raise Refused("must be later than start", code="invalid_field", path="end")
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
        page = await logs.search(principal.scope, search.selection())
        answer: dict[str, Any] = {
            "logs": [_log(row) for row in page.rows],
            "next_cursor": page.next_cursor,
            "stats": {
                "rows_read": page.stats.rows_read,
                "bytes_read": page.stats.bytes_read,
                "elapsed_ms": page.stats.elapsed_ms,
            },
        }
        return Response(orjson.dumps(answer), media_type="application/json")

    return router


def _instant(path: str, value: str | int | float) -> int:
    try:
        return parse_timestamp(value)
    except Refused as exc:
        raise Refused(exc.reason, code="invalid_field", path=path) from None


def _log(row: LogRow) -> dict[str, Any]:
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
