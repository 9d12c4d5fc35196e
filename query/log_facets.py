"""POST /query/logs/facets: a selection of logs and names of fields -> the most frequent values of each, with their counts."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Response
from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from query.answers import BODY, STATS_EXAMPLE, answers, json_answer, shown_stats
from query.authorization import permitted
from query.log_conditions import EXAMPLE, LogConditions
from query.tokens import Principal, Tokens
from storage.clickhouse import ReadStats
from storage.log_statistics import VALUES_MAX, LogStatistics, check_field

FIELDS_MAX: Final = 10
TOP_DEFAULT: Final = 10
TOP_MAX: Final = 100

_EXAMPLE: JsonDict = {**EXAMPLE, "fields": ["host", "http.status_code"], "top": 10}
_ANSWER: Final[dict[str, Any]] = {
    "facets": [
        {"field": "host", "values": [{"value": "api-1", "count": 17}], "different": 1, "logs": 17, "exact": True},
    ],
    "stats": STATS_EXAMPLE,
}


class LogFacets(LogConditions):
    """Which logs to look at, and which of their fields."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [_EXAMPLE]})

    fields: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]], Field(min_length=1, max_length=FIELDS_MAX)
    ] = Field(
        ["service", "level", "host"],
        description="as in filters: fields, or attributes by their names joined with points",
    )
    top: int = Field(TOP_DEFAULT, ge=1, le=TOP_MAX, description="values of each field")


def log_facets_router(statistics: LogStatistics, tokens: Tokens) -> APIRouter:
    """The question which values there are."""
    router = APIRouter(prefix="/query/logs", tags=["logs"])

    may_read = Depends(permitted(tokens, "logs:read"))

    @router.post(
        "/facets",
        summary="Values of fields, with counts",
        response_description="`{facets: [{field, values, different, logs, exact}], stats}`; logs without a field are not in its"
        f" facet, and one of more than {VALUES_MAX:,} values is not `exact`",
        responses=answers(_ANSWER, *BODY),
    )
    async def count_values(asked: LogFacets, principal: Principal = may_read) -> Response:
        for place, field in enumerate(asked.fields):
            check_field(f"fields[{place}]", field)
        selection = asked.selection()
        facets, stats, begun = [], ReadStats(0, 0, 0.0), time.monotonic()
        for field in asked.fields:
            # The seconds are of the question: ten fields may not take ten times as long.
            limits = principal.limits.after(time.monotonic() - begun)
            facet = await statistics.facet(principal.scope, selection, limits, field=field, top=asked.top)
            stats += facet.stats
            values = [{"value": value, "count": count} for value, count in facet.values]
            facets.append(
                {
                    "field": field,
                    "values": values,
                    "different": facet.different,
                    "logs": facet.logs,
                    "exact": facet.exact,
                }
            )
        return json_answer({"facets": facets, "stats": shown_stats(stats)})

    return router
