"""POST /monitors/preview: a definition over records of the past -> when it would have fired, and why it did or did not.

The code is that which watches; only that a record's own time stands for its arrival. Windows are filled from before `start`.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Depends, Response
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.config import JsonDict

from monitors.definitions import parse_monitor
from monitors.replay import Replay
from monitors.watched import WatchedMonitor
from query.alerting.past_records import PastRecords, RecordReader
from query.alerting.published import monitor_schema
from query.answers import BODY, answers, json_answer
from query.authorization import permitted
from query.time_ranges import END, START, read_range
from query.tokens import Permission, Principal, Tokens
from topics.errors import Refused, TooExpensive
from topics.names import LOGS, METRICS, RUM, TRACES
from topics.timestamps import format_timestamp

DAYS_MAX: Final = 7
GROUPS_SHOWN_MAX: Final = 20
TRANSITIONS_MAX: Final = 1_000
STEPS_MAX: Final = 20_000
"""Batches that the records are taken apart into: a second each, or longer over a longer time."""

_SIGNALS: Final[dict[str, tuple[str, Permission]]] = {
    "metric": (METRICS, "metrics:read"),
    "log": (LOGS, "logs:read"),
    "trace": (TRACES, "traces:read"),
    "rum": (RUM, "rum:read"),
}
_MONITOR: Final[dict[str, Any]] = {
    "name": "errors of the API",
    "kind": "log",
    "query": '{service="api", level="error"}',
    "critical": 100,
    "window_s": 300,
}
_EXAMPLE: JsonDict = {"monitor": _MONITOR, "start": "2025-10-31T00:00:00Z", "end": "2025-10-31T23:59:59Z"}
_ANSWER: Final[dict[str, Any]] = {
    "transitions": [
        {
            "group": "*",
            "state": "ALERT",
            "previous_state": "OK",
            "repeat": 0,
            "at": "2025-10-31T10:00:00.000Z",
            "value": 101.0,
            "threshold": 100.0,
            "why": "101 > 100",
        }
    ],
    "groups": [
        {"group": "*", "state": "ALERT", "why": "140 calls for ALERT", "values": [["2025-10-31T10:00:00.000Z", 101.0]]}
    ],
    "groups_count": 1,
    "groups_left_out": 0,
    "records_read": 1840,
    "until": "2025-10-31T23:59:59.000Z",
    "complete": True,
}


class MonitorPreview(BaseModel):
    """What to try, and over which time."""

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": [_EXAMPLE]})

    monitor: Annotated[dict[str, Any], WithJsonSchema(monitor_schema(_MONITOR))]
    start: str | int | float = Field(description=START)
    end: str | int | float = Field(description=END)


def preview_router(records: RecordReader, tokens: Tokens) -> APIRouter:
    """The one question."""
    router = APIRouter(prefix="/monitors", tags=["alerting"])

    may_read = Depends(permitted(tokens, "monitors:read"))

    @router.post(
        "/preview",
        summary="Run a monitor over records of the past",
        description=f"Over {DAYS_MAX} days at most. Of more records than are read at once the oldest count, and `until` says how"
        " far that is. Needs the permission to read the signal too.",
        responses=answers(_ANSWER, *BODY),
    )
    async def preview_monitor(asked: Annotated[MonitorPreview, Body()], principal: Principal = may_read) -> Response:
        definition = _definition(asked.monitor)
        topic, permission = _SIGNALS[definition.kind]
        principal.require(permission)
        start_ns, end_ns = read_range(asked.start, asked.end)
        if end_ns - start_ns > DAYS_MAX * 86_400 * 10**9:
            raise TooExpensive(f"{DAYS_MAX} days", f"{(end_ns - start_ns) / 86_400e9:.1f} days")
        monitor = WatchedMonitor("preview", principal.scope.org_id, 1, definition)
        lead_ns = monitor.slots * monitor.pane_ms * 1_000_000
        past = await records.read(principal.scope, definition, start_ns - lead_ns, end_ns, principal.limits)
        # Pure computing, of up to some seconds: beside the event loop.
        answer = await asyncio.to_thread(_replayed, monitor, topic, past, start_ns // 1_000_000, end_ns // 1_000_000)
        return json_answer(answer)

    return router


def _definition(given: dict[str, Any]) -> Any:
    try:
        return parse_monitor(given)
    except Refused as exc:
        raise Refused(exc.reason, code=exc.code, path=f"monitor.{exc.path}".rstrip(".")) from None


def _replayed(monitor: WatchedMonitor, topic: str, past: PastRecords, start_ms: int, end_ms: int) -> dict[str, Any]:
    begin_ms = start_ms - monitor.slots * monitor.pane_ms
    replay = Replay(monitor, topic, begin_ms=begin_ms, shown_from_ms=start_ms, transitions_max=TRANSITIONS_MAX)
    until_ms = end_ms if past.complete else past.end_ms or start_ms
    for at_ms, batch in past.steps(STEPS_MAX):
        replay.add(batch, at_ms)
        if replay.cut:
            until_ms = at_ms
        if replay.full or replay.cut:
            break
    replay.advance(until_ms)
    told = list(replay.in_order())[:TRANSITIONS_MAX]
    if replay.full:
        until_ms = told[-1].transition.at_ms
    transitions = [
        {
            "group": each.group,
            "state": each.transition.state,
            "previous_state": each.transition.previous_state,
            "repeat": each.transition.repeat,
            "at": _shown(each.transition.at_ms),
            "value": each.transition.value,
            "threshold": each.transition.threshold,
            "why": each.transition.why,
        }
        for each in told
    ]
    groups = [
        {
            "group": text,
            "state": group.state.state,
            "why": replay.why.get(text, "nothing was decided yet"),
            "values": [[_shown(at_ms), value] for at_ms, value in replay.values.get(text, ())],
        }
        for text, group in sorted(replay.groups.items())
    ]
    # Those that are not OK are what somebody asks for.
    groups.sort(key=lambda group: group["state"] == "OK")
    return {
        "transitions": transitions,
        "groups": groups[:GROUPS_SHOWN_MAX],
        "groups_count": len(groups),
        "groups_left_out": replay.groups_left_out,
        "records_read": past.count,
        "until": _shown(until_ms),
        "complete": past.complete and not replay.full and not replay.cut,
    }


def _shown(ms: int) -> str:
    return format_timestamp(ms * 1_000_000)
