"""POST /query/logs/context: one log by its id and timestamp -> it, and what was logged before and after it in the same place."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from query.answers import BODY, STATS_EXAMPLE, answers, json_answer, shown_stats
from query.authorization import permitted
from query.shown_logs import LOG_EXAMPLE, shown_log
from query.time_ranges import read_instant
from query.tokens import Principal, Tokens
from storage.log_filters import FieldFilter
from storage.log_selection import LogSelection
from storage.logs import LogRow, LogStore
from storage.record_selection import RecordCursor
from storage.record_table import RecordPage
from storage.scope import OrgScope
from storage.search_limits import SearchLimits
from topics.errors import Refused

AROUND_DEFAULT: Final = 10
AROUND_MAX: Final = 200
WITHIN_S_DEFAULT: Final = 3600
WITHIN_S_MAX: Final = 86_400
_INT64_MAX: Final = (1 << 63) - 1

_EXAMPLE: JsonDict = {"id": "8423011950823473153", "timestamp": "2025-10-31T10:00:00.000Z", "before": 10, "after": 10}
_ANSWER: Final[dict[str, Any]] = {
    "log": LOG_EXAMPLE,
    "before": [LOG_EXAMPLE],
    "after": [LOG_EXAMPLE],
    "stats": STATS_EXAMPLE,
}


class LogContext(BaseModel):
    """A log, as a search showed it, and how much of what surrounds it."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [_EXAMPLE]})

    id: Annotated[str, Field(pattern=r"^[0-9]{1,20}$")] = Field(description="`id` of the log")
    timestamp: str | int | float = Field(description="`timestamp` of the log, exactly")
    before: int = Field(AROUND_DEFAULT, ge=0, le=AROUND_MAX, description="logs before it")
    after: int = Field(AROUND_DEFAULT, ge=0, le=AROUND_MAX, description="logs after it")
    same: Annotated[list[Literal["service", "host", "environment", "version", "trace_id"]], Field(max_length=5)] = (
        Field(["service", "host"], description="fields in which they are as it is; none is every log")
    )
    within_s: int = Field(WITHIN_S_DEFAULT, ge=1, le=WITHIN_S_MAX, description="how far from it they may be")


def log_context_router(logs: LogStore, tokens: Tokens) -> APIRouter:
    """The question what surrounds a log."""
    router = APIRouter(prefix="/query/logs", tags=["logs"])

    may_read = Depends(permitted(tokens, "logs:read"))

    @router.post(
        "/context",
        summary="What was logged around a log",
        response_description="`{log, before, after, stats}`, both in the order of time",
        responses=answers(_ANSWER, 404, *BODY),
    )
    async def show_context(asked: LogContext, principal: Principal = may_read) -> Response:
        around = _Around(logs, principal.scope, principal.limits, asked)
        found = await around.find()
        before = await around.page(found.rows[0], "newest", asked.before)
        after = await around.page(found.rows[0], "oldest", asked.after)
        answer = {
            "log": shown_log(found.rows[0]),
            "before": [shown_log(row) for row in reversed(before.rows)] if asked.before else [],
            "after": [shown_log(row) for row in after.rows] if asked.after else [],
            "stats": shown_stats(found.stats + before.stats + after.stats),
        }
        return json_answer(answer)

    return router


class _Around:
    """The searches of one question."""

    def __init__(self, logs: LogStore, scope: OrgScope, limits: SearchLimits, asked: LogContext) -> None:
        self._logs = logs
        self._scope = scope
        self._limits = limits
        self._asked = asked
        self._ts_ns = read_instant("timestamp", asked.timestamp)
        self._id = int(asked.id)

    async def find(self) -> RecordPage[LogRow]:
        """The log itself. Raises `Refused` (not_found)."""
        # The page that begins behind the id before it.
        cursor = RecordCursor(self._ts_ns, self._id - 1).encode() if 0 < self._id < 1 << 64 else None
        selection = LogSelection(
            start_ns=self._ts_ns, end_ns=min(self._ts_ns + 1, _INT64_MAX), order="oldest", limit=1, cursor=cursor
        )
        page = await self._logs.search(self._scope, selection, self._limits)
        if not page.rows or page.rows[0].record_id != self._id:
            raise Refused("cannot find the log: none of this id is stored at this time", code="not_found")
        return page

    async def page(self, log: LogRow, order: Literal["newest", "oldest"], limit: int) -> RecordPage[LogRow]:
        """The logs on one side of it."""
        within_ns = self._asked.within_s * 10**9
        filters = [FieldFilter(name, "=", getattr(log, name)) for name in self._asked.same]
        selection = LogSelection(
            start_ns=log.ts_ns - within_ns if order == "newest" else log.ts_ns,
            end_ns=log.ts_ns + 1 if order == "newest" else min(log.ts_ns + within_ns, _INT64_MAX),
            order=order,
            limit=max(limit, 1),
            cursor=RecordCursor(log.ts_ns, log.record_id).encode(),
            filters=tuple(filters),
        )
        return await self._logs.search(self._scope, selection, self._limits)
