"""GET /monitors/{monitor_id}/state: how each group of a monitor stands, by what is recorded of it.

A group's state is that of its newest alert, so it is known from the first time that the group was anything but OK. A group that
never was has no record, and a page does not show it; a monitor without groups is shown from the beginning.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Response

from query.answers import answers, json_answer
from query.authorization import permitted
from query.control.forms import listed, shown_at
from query.tokens import Principal, Tokens
from storage.alerts import Alert
from storage.control_plane import ControlPlane
from storage.monitors import StoredMonitor

_WORST_FIRST: Final = ("ALERT", "NO_DATA", "WARN")
_GROUP: Final[dict[str, Any]] = {
    "group": "host=a",
    "state": "ALERT",
    "since": "2025-10-31T10:00:00.000Z",
    "value": 7.5,
    "threshold": 5.0,
    "alert_id": "7d9f3a52-6a1c-4f3c-8a63-0f4c5f8a9b10",
}
_ANSWER: Final[dict[str, Any]] = {
    "monitor_id": "1c0b7e1d-3f0c-4d7c-9a7e-6a1f0c2b3d4e",
    "state": "ALERT",
    "not_ok": {"ALERT": 1, "NO_DATA": 0, "WARN": 2},
    **listed("groups", [_GROUP]),
}


def monitor_states_router(control_plane: ControlPlane, tokens: Tokens) -> APIRouter:
    """The one question."""
    router = APIRouter(prefix="/monitors", tags=["alerting"])

    may_read = Depends(permitted(tokens, "monitors:read", takes_turn=False))

    @router.get(
        "/{monitor_id}/state",
        summary="How each group of a monitor stands",
        description="`state` is the worst of all groups, `not_ok` says how many there are of each. Of a group: its state, since"
        " when, and the value and threshold that made it so. Groups come by name; what was never anything but OK is not listed.",
        responses=answers(_ANSWER, 404),
    )
    async def get_state(
        monitor_id: Annotated[str, Path(max_length=64)],
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: Annotated[str | None, Query(max_length=1024, description="`next_cursor` of the page before")] = None,
        principal: Principal = may_read,
    ) -> Response:
        alerts = control_plane.alerts
        monitor = await control_plane.monitors.get(principal.scope, monitor_id)
        found = await alerts.newest_of_groups(principal.scope, monitor.id, behind_group=cursor, limit=limit + 1)
        counted = await alerts.count_open(principal.scope, monitor.id)
        groups = [shown_state(each) for each in found[:limit]]
        if not groups and cursor is None and not monitor.definition.get("group_by"):
            groups = [_never_anything_but_ok(monitor)]
        more = found[limit - 1].group if len(found) > limit else None
        not_ok = {state: counted.get(state, 0) for state in _WORST_FIRST}
        worst = next((state for state, count in not_ok.items() if count), "OK")
        return json_answer(
            {"monitor_id": monitor.id, "state": worst, "not_ok": not_ok, **listed("groups", groups, more)}
        )

    return router


def shown_state(newest: Alert) -> dict[str, Any]:
    """A group by its newest alert. One that was ended by hand is OK from then on, before the engine has said so."""
    over = newest.state != "OK" and newest.ended_at is not None
    return {
        "group": newest.group,
        "state": "OK" if over else newest.state,
        "since": shown_at(newest.ended_at if over else newest.started_at),
        "value": None if over else newest.value,
        "threshold": None if over else newest.threshold,
        "alert_id": newest.id,
    }


def _never_anything_but_ok(monitor: StoredMonitor) -> dict[str, Any]:
    return {
        "group": "*",
        "state": "OK",
        "since": shown_at(monitor.created_at),
        "value": None,
        "threshold": None,
        "alert_id": None,
    }
