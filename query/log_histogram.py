"""POST /query/logs/histogram: a selection of logs -> how many there are in each step of time, by the values of a field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from query.answers import BODY, STATS_EXAMPLE, answers, json_answer, shown_stats
from query.authorization import permitted
from query.log_conditions import EXAMPLE, LogConditions
from query.tokens import Principal, Tokens
from storage.clickhouse import ReadStats
from storage.log_counts import LogCounts
from storage.log_selection import LogSelection
from storage.log_statistics import LogBucket, LogStatistics, check_field
from storage.scope import OrgScope
from storage.search_limits import SearchLimits
from topics.errors import TooExpensive
from topics.timestamps import format_timestamp

Step = Literal["1s", "5s", "15s", "1m", "5m", "15m", "1h", "3h", "12h", "1d"]

STEPS_MAX: Final = 1500
STEPS_WANTED: Final = 100
"""A histogram without a step gets the smallest one that makes no more of them."""
GROUPS_MAX: Final = 20
_OTHER: Final = "other"
_SECOND_NS: Final = 10**9
_INT64_MAX: Final = (1 << 63) - 1
_STEP_S: Final[dict[Step, int]] = {
    "1s": 1, "5s": 5, "15s": 15, "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "3h": 10_800, "12h": 43_200, "1d": 86_400,
}  # fmt: skip

_EXAMPLE: JsonDict = {**EXAMPLE, "step": "1h", "by": "level"}
_ANSWER: Final[dict[str, Any]] = {
    "start": "2025-10-31T00:00:00.000Z",
    "end": "2025-11-01T00:00:00.000Z",
    "step_s": 3600,
    "by": "level",
    "groups": [{"value": "error", "count": 17}],
    "buckets": [{"start": "2025-10-31T10:00:00.000Z", "count": 17, "groups": {"error": 17}}],
    "total": 17,
    "source": "hourly",
    "stats": STATS_EXAMPLE,
}


class LogHistogram(LogConditions):
    """Which logs to count, and how. Whole steps are counted, those too that the range only touches."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [_EXAMPLE]})

    step: Step | None = Field(
        None, description=f"by default the smallest that makes at most {STEPS_WANTED} of the range"
    )
    by: Annotated[str, Field(max_length=200)] | None = Field(
        "level",
        description="level, service, another field, or an attribute (`http.status_code`); null counts all together. The"
        f" {GROUPS_MAX} most frequent values are named, others are `{_OTHER}`; logs without the field are in the counts alone",
    )


def log_histogram_router(statistics: LogStatistics, counts: LogCounts, tokens: Tokens) -> APIRouter:
    """The question how many logs there are when."""
    router = APIRouter(prefix="/query/logs", tags=["logs"])

    may_read = Depends(permitted(tokens, "logs:read"))

    @router.post(
        "/histogram",
        summary="Count logs over time",
        response_description="`{start, end, step_s, by, groups, buckets, total, source, stats}`; the range is that counted",
        responses=answers(_ANSWER, *BODY),
    )
    async def count_logs(asked: LogHistogram, principal: Principal = may_read) -> Response:
        if asked.by is not None:
            check_field("by", asked.by)
        selection, step_ns = in_whole_steps(asked)
        source, rows, stats = await _counted(
            statistics, counts, principal.scope, selection, principal.limits, step_ns=step_ns, by=asked.by
        )
        shown = _shown_counts(rows, selection.start_ns, selection.end_ns, step_ns)
        start, end = format_timestamp(selection.start_ns), format_timestamp(selection.end_ns)
        about = {"start": start, "end": end, "step_s": step_ns // _SECOND_NS, "by": asked.by}
        return json_answer({**about, **shown, "source": source, "stats": shown_stats(stats)})

    return router


def in_whole_steps(asked: LogHistogram) -> tuple[LogSelection, int]:
    """The selection of every step that the range touches, and the step in ns. Raises `Refused` and `TooExpensive`."""
    selection = asked.selection()
    step_ns = _step_ns(asked.step, selection.end_ns - selection.start_ns)
    first, behind = selection.start_ns // step_ns, -(-selection.end_ns // step_ns)
    if behind - first > STEPS_MAX:
        raise TooExpensive(f"{STEPS_MAX} steps", f"a range of {behind - first} steps")
    return replace(selection, start_ns=first * step_ns, end_ns=min(behind * step_ns, _INT64_MAX)), step_ns


def _step_ns(step: Step | None, range_ns: int) -> int:
    if step is not None:
        return _STEP_S[step] * _SECOND_NS
    fitting = (s * _SECOND_NS for s in _STEP_S.values() if range_ns <= STEPS_WANTED * s * _SECOND_NS)
    return next(fitting, _STEP_S["1d"] * _SECOND_NS)


async def _counted(
    statistics: LogStatistics,
    counts: LogCounts,
    scope: OrgScope,
    selection: LogSelection,
    limits: SearchLimits,
    *,
    step_ns: int,
    by: str | None,
) -> tuple[str, list[LogBucket], ReadStats]:
    """Counts, from the hourly statistics where they know the answer exactly."""
    plain = not (selection.search or selection.trace_id or selection.filters or selection.query)
    if plain and by in (None, "level", "service"):
        answer = await counts.count(
            scope,
            limits,
            start_ns=selection.start_ns,
            end_ns=selection.end_ns,
            step_ns=step_ns,
            service=selection.service,
            level=selection.level,
        )
        rows = [LogBucket(row.bucket, getattr(row, by) if by else "", row.count) for row in answer.rows]
        return "hourly" if step_ns % (3600 * _SECOND_NS) == 0 else "logs", rows, answer.stats
    found = await statistics.histogram(scope, selection, limits, step_ns=step_ns, field=by)
    return "logs", found.rows, found.stats


def _shown_counts(rows: Iterable[LogBucket], start_ns: int, end_ns: int, step_ns: int) -> dict[str, Any]:
    by_value: Counter[str] = Counter()
    by_bucket: dict[int, Counter[str]] = {}
    totals: Counter[int] = Counter()
    for row in rows:
        totals[row.bucket] += row.count
        if row.name:
            by_value[row.name] += row.count
            by_bucket.setdefault(row.bucket, Counter())[row.name] += row.count
    named = {value for value, _ in sorted(by_value.items(), key=lambda item: (-item[1], item[0]))[:GROUPS_MAX]}
    groups: Counter[str] = Counter()
    buckets = []
    for bucket in range(-(-(end_ns - start_ns) // step_ns)):
        inside: Counter[str] = Counter()
        for value, count in by_bucket.get(bucket, Counter()).items():
            inside[value if value in named else _OTHER] += count
        groups.update(inside)
        moment = format_timestamp(start_ns + bucket * step_ns)
        buckets.append({"start": moment, "count": totals[bucket], "groups": dict(sorted(inside.items()))})
    shown = [{"value": value, "count": count} for value, count in groups.most_common()]
    return {"groups": shown, "buckets": buckets, "total": totals.total()}
