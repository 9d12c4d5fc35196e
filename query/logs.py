"""POST /query/logs/search: a selection of one organization's logs -> a page of them, or many as lines of JSON."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from query.accepted_media import prefers
from query.answers import BODY, STATS_EXAMPLE, answers, json_answer, shown_stats
from query.authorization import permitted
from query.log_conditions import EXAMPLE, LogConditions, Order
from query.log_lines import LINES, LINES_MAX, log_lines
from query.shown_logs import LOG_EXAMPLE, shown_log
from query.tokens import Principal, Tokens
from storage.log_totals import LogTotals
from storage.logs import LogStore
from storage.record_selection import LIMIT_MAX, refused_field

LIMIT_DEFAULT: Final = 100

_EXAMPLE: JsonDict = {**EXAMPLE, "limit": 100}
_ANSWER: Final[dict[str, Any]] = {
    "logs": [LOG_EXAMPLE],
    "next_cursor": "ARhz9Z0pQAAAdOTx0R6qjwE",
    "stats": STATS_EXAMPLE,
}


class LogSearch(LogConditions):
    """What to look for. Every condition that is given must hold."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [_EXAMPLE]})

    order: Order = Field("newest", description="by timestamp")
    limit: int = Field(
        LIMIT_DEFAULT,
        ge=1,
        le=LINES_MAX,
        description=f"logs on one page, up to {LIMIT_MAX}; of lines up to {LINES_MAX:,}",
    )
    cursor: Annotated[str, Field(max_length=200)] | None = Field(
        None, description="`next_cursor` of the page before, with the same conditions"
    )
    total: Literal["none", "estimate", "exact"] = Field(
        "none",
        description="how many logs all pages have, as `stats.total`: counted, or estimated from a part of them where there are"
        " many to read (`stats.estimated`)",
    )
    dry_run: bool = Field(
        False, description="only say what the search would read at most: `{rows, bytes, parts}`, by the indexes alone"
    )


def logs_router(logs: LogStore, totals: LogTotals, tokens: Tokens) -> APIRouter:
    """The search of logs."""
    router = APIRouter(prefix="/query/logs", tags=["logs"])

    may_read = Depends(permitted(tokens, "logs:read"))

    @router.post(
        "/search",
        summary="Search logs",
        response_description="`{logs, next_cursor, stats}`; with `Accept: application/x-ndjson` a log a line and a last line"
        " `{end: {complete, logs, next_cursor}}`; with `dry_run` `{rows, bytes, parts}`",
        responses=answers(_ANSWER, *BODY),
    )
    async def search_logs(search: LogSearch, request: Request, principal: Principal = may_read) -> Response:
        scope, limits = principal.scope, principal.limits
        lines = prefers(request.headers.get("accept"), LINES, at_par=True)
        if search.limit > LIMIT_MAX and not lines:
            raise refused_field("logs", "limit", f"more than {LIMIT_MAX} come as lines alone: Accept: {LINES}")
        selection = search.selection(order=search.order, limit=min(search.limit, LIMIT_MAX), cursor=search.cursor)
        if search.dry_run:
            cost = await totals.cost(scope, selection, limits)
            return json_answer({"rows": cost.rows, "bytes": cost.bytes, "parts": cost.parts})
        if lines:
            if search.total != "none":
                raise refused_field("logs", "total", "lines come without one")
            stream = logs.stream(scope, selection, limits, rows_max=search.limit + 1)
            return StreamingResponse(await log_lines(stream, search.limit), media_type=LINES)
        page = await logs.search(scope, selection, limits)
        stats = shown_stats(page.stats)
        if search.total != "none":
            count = totals.count if search.total == "exact" else totals.estimate
            total = await count(scope, selection, limits)
            stats |= {"total": total.logs, "estimated": total.estimated}
        return json_answer(
            {"logs": [shown_log(row) for row in page.rows], "next_cursor": page.next_cursor, "stats": stats}
        )

    return router
