"""GET /query/usage: a range of days -> what an organization sent on each, the month so far and projected; JSON or CSV."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, Response

from query.accepted_media import prefers
from query.answers import answers, json_answer
from query.authorization import permitted
from query.month import COUNTS, MonthUsage, days_needed, month_usage
from query.time_ranges import read_range
from query.tokens import Principal, Tokens
from storage.usage import Usage, UsageDay
from topics.errors import TooExpensive

DAYS_MAX: Final = 36_525
"""A hundred years: days on which nothing came cost nothing."""
_DAY_NS: Final = 86400 * 10**9
_EPOCH: Final = date(1970, 1, 1)

_COUNTS_EXAMPLE: Final = {
    "logs_count": 120000,
    "logs_bytes": 25165824,
    "metrics_count": 864000,
    "spans_count": 45000,
    "rum_events": 3100,
}
_EXAMPLE: Final[dict[str, Any]] = {
    "days": [{"date": "2025-10-31", **_COUNTS_EXAMPLE, "scrubbed": {"email": 12}}],
    "month": {"month": "2025-10", "to_date": _COUNTS_EXAMPLE, "projected": _COUNTS_EXAMPLE},
}
_CSV_EXAMPLE: Final = ",".join(("date", *COUNTS)) + "\r\n2025-10-31,120000,25165824,864000,45000,3100\r\n"


def usage_router(usage: Usage, tokens: Tokens, *, now: Callable[[], float] = time.time) -> APIRouter:
    """The question what was sent; `now` is unix seconds."""
    router = APIRouter(prefix="/query/usage", tags=["usage"])

    may_read = Depends(permitted(tokens, "usage:read"))
    responses = answers(_EXAMPLE)
    responses[200]["content"]["text/csv"] = {"example": _CSV_EXAMPLE, "schema": {"type": "string"}}

    @router.get(
        "",
        summary="Usage by day",
        description="Days are of arrival, in UTC; one on which nothing came is not there. `Accept: text/csv` gives the days as"
        " CSV. `month` is this month whatever was asked: so far, and with the mean of the last seven whole days for its rest.",
        response_description="`{days, month}`",
        responses=responses,
    )
    async def get_usage(
        start: Annotated[
            str | None, Query(max_length=64, description="in the first day, by default that of this month")
        ] = None,
        end: Annotated[
            str | None, Query(max_length=64, description="excluded, by default the end of today; a day it cuts counts")
        ] = None,
        accept: Annotated[str | None, Header(include_in_schema=False)] = None,
        principal: Principal = may_read,
    ) -> Response:
        at = datetime.fromtimestamp(now(), UTC)
        first, behind = _days_asked(start, end, at)
        days = await usage.list_days(principal.scope, first, behind)
        if prefers(accept, "text/csv"):
            return Response(_as_csv(days), media_type="text/csv", headers={"vary": "accept"})
        month = month_usage(await usage.list_days(principal.scope, *days_needed(at)), at)
        answer = json_answer({"days": [_shown(day) for day in days], "month": _shown_month(month)})
        answer.headers["vary"] = "accept"
        return answer

    return router


def _days_asked(start: str | None, end: str | None, at: datetime) -> tuple[date, date]:
    """Every day that the range touches: the first, and the one behind the last."""
    start = start or at.date().replace(day=1).isoformat()
    end = end or (at.date() + timedelta(days=1)).isoformat()
    start_ns, end_ns = read_range(start, end)
    first, behind = start_ns // _DAY_NS, -(-end_ns // _DAY_NS)
    if behind - first > DAYS_MAX:
        raise TooExpensive(f"{DAYS_MAX} days", f"a range of {behind - first} days")
    return _EPOCH + timedelta(days=first), _EPOCH + timedelta(days=behind)


def _shown(day: UsageDay) -> dict[str, Any]:
    return {
        "date": day.day.isoformat(),
        **{name: getattr(day, name) for name in COUNTS},
        "scrubbed": dict(day.scrubbed),
    }


def _shown_month(month: MonthUsage) -> dict[str, Any]:
    return {"month": f"{month.first:%Y-%m}", "to_date": month.so_far, "projected": month.projected}


def _as_csv(days: Sequence[UsageDay]) -> str:
    """A header and a line a day (RFC 4180); names and numbers only, so nothing in it is a formula to a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("date", *COUNTS))
    writer.writerows((day.day.isoformat(), *(getattr(day, name) for name in COUNTS)) for day in days)
    return text.getvalue()
