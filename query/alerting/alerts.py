"""/alerts: what monitors have decided, who was told of it and why others were not; acknowledging and resolving by hand."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query, Response

from query.answers import answers, json_answer
from query.authorization import permitted
from query.control.forms import listed, shown_at
from query.tokens import Principal, Tokens
from storage.alerts import Alert
from storage.control_plane import ControlPlane
from storage.control_plane_pool import PageEnd
from storage.notifications import SentNotification
from topics.errors import Refused
from topics.names import PANES
from topics.panes import Resolve, encode
from topics.transitions import key_of

_NOTIFICATION: Final[dict[str, Any]] = {
    "id": "17",
    "channel_id": "0b8f7c1e-7a53-4f0e-9b54-3f5f0a6c1d2e",
    "channel_name": "on call",
    "channel_kind": "webhook",
    "repeat": 0,
    "dedup_key": "9f86d081884c7d659a2feaa0c55ad015",
    "state": "sent",
    "reason": "",
    "attempts": 1,
    "last_error": "",
    "last_status": 200,
    "created_at": "2025-10-31T10:00:00.000Z",
    "finished_at": "2025-10-31T10:00:00.050Z",
}
_ALERT: Final[dict[str, Any]] = {
    "id": "7d9f3a52-6a1c-4f3c-8a63-0f4c5f8a9b10",
    "monitor_id": "1c0b7e1d-3f0c-4d7c-9a7e-6a1f0c2b3d4e",
    "monitor_name": "errors of the API",
    "group": "host=a",
    "sequence": 3,
    "state": "ALERT",
    "previous_state": "OK",
    "value": 7.5,
    "threshold": 5.0,
    "started_at": "2025-10-31T10:00:00.000Z",
    "evidence": {"why": "7.5 > 5 over 300 s"},
}
_MANY: Final = (
    "`sent`, `waiting`, `sending`, `suppressed` (with the reason), or `dead`: given up, `last_error` says why"
)

State = Literal["OK", "WARN", "ALERT", "NO_DATA"]
AlertId = Annotated[str, Path(max_length=64)]
TellEngine = Callable[[str, bytes, bytes], Awaitable[None]]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def alerts_router(control_plane: ControlPlane, tell_engine: TellEngine, tokens: Tokens) -> APIRouter:
    """Alerts of an organization."""
    router = APIRouter(prefix="/alerts", tags=["alerting"])

    may_read = Depends(permitted(tokens, "monitors:read", takes_turn=False))
    may_write = Depends(permitted(tokens, "monitors:write", takes_turn=False))

    @router.get("", summary="List alerts, newest first", responses=answers(listed("alerts", [_ALERT])))
    async def list_alerts(
        monitor_id: Annotated[str | None, Query(max_length=64, description="of this monitor alone")] = None,
        state: Annotated[State | None, Query(description="that went into this state")] = None,
        open_only: Annotated[bool, Query(alias="open", description="only what goes on now and is not OK")] = False,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: Annotated[str | None, Query(max_length=64, description="`next_cursor` of the page before")] = None,
        principal: Principal = may_read,
    ) -> Response:
        found = await control_plane.alerts.list_in(
            principal.scope,
            monitor_id=monitor_id,
            state=state,
            open_only=open_only,
            behind=_read_cursor(cursor),
            limit=limit + 1,
        )
        more = _cursor(found[limit - 1]) if len(found) > limit else None
        return json_answer(listed("alerts", [shown_alert(each) for each in found[:limit]], more))

    @router.get(
        "/{alert_id}",
        summary="Get an alert, with who was told of it",
        description=f"Each notification is {_MANY}.",
        responses=answers(_ALERT | {"notifications": [_NOTIFICATION]}, 404),
    )
    async def get_alert(alert_id: AlertId, principal: Principal = may_read) -> Response:
        found = await control_plane.alerts.get(principal.scope, alert_id)
        told = await control_plane.notifications.of_alert(principal.scope, alert_id)
        return json_answer(shown_alert(found) | {"notifications": [_shown_notification(each) for each in told]})

    @router.get(
        "/{alert_id}/notifications",
        summary="Who was told of an alert, and why others were not",
        description=f"Each is {_MANY}.",
        responses=answers(listed("notifications", [_NOTIFICATION]), 404),
    )
    async def list_notifications(alert_id: AlertId, principal: Principal = may_read) -> Response:
        await control_plane.alerts.get(principal.scope, alert_id)
        told = await control_plane.notifications.of_alert(principal.scope, alert_id)
        return json_answer(listed("notifications", [_shown_notification(each) for each in told]))

    @router.post(
        "/{alert_id}/acknowledge",
        summary="Say that somebody has seen it",
        description="Reminders of it stop. The first one who does stays.",
        responses=answers(_ALERT | {"acknowledged_at": "2025-10-31T10:05:00.000Z"}, 404),
    )
    async def acknowledge_alert(alert_id: AlertId, principal: Principal = may_write) -> Response:
        alerts = control_plane.acting(principal.actor()).alerts
        return json_answer(shown_alert(await alerts.acknowledge(principal.scope, alert_id, by_user=_user(principal))))

    @router.post(
        "/{alert_id}/resolve",
        summary="End an alert by hand",
        description="Its group becomes OK, and only new data raise it again. What has ended stays as it is.",
        responses=answers(_ALERT | {"ended_at": "2025-10-31T10:30:00.000Z"}, 404),
    )
    async def resolve_alert(alert_id: AlertId, principal: Principal = may_write) -> Response:
        found = await control_plane.alerts.get(principal.scope, alert_id)
        if found.ended_at is None and found.state != "OK":
            # The engine first: it makes the group OK whatever becomes of the rest, and its recovery is told to who knows of the
            # breach. The other way round an alert could be over here and go on there.
            at_ms = int(datetime.now(UTC).timestamp() * 1000)
            message = Resolve(principal.scope.org_id, found.monitor_id, found.group, at_ms, _user(principal) or "")
            await tell_engine(PANES, encode(message), key_of(found.monitor_id))
        alerts = control_plane.acting(principal.actor()).alerts
        return json_answer(shown_alert(await alerts.resolve(principal.scope, alert_id, by_user=_user(principal))))

    return router


def _user(principal: Principal) -> str | None:
    """The user who asks; a program is nobody."""
    return principal.subject if principal.kind == "user" else None


def _cursor(alert: Alert) -> str:
    return f"{(alert.started_at - _EPOCH) // timedelta(microseconds=1)}-{alert.id}"


def _read_cursor(cursor: str | None) -> PageEnd | None:
    if cursor is None:
        return None
    found = re.fullmatch(r"(\d{1,17})-([0-9a-f-]{36})", cursor)
    if found is None:
        raise Refused("it is not a cursor of this list", code="invalid_field", path="cursor")
    return PageEnd(_EPOCH + timedelta(microseconds=int(found[1])), found[2])


def shown_alert(alert: Alert) -> dict[str, Any]:
    """An alert as the API shows it."""
    return {
        "id": alert.id,
        "monitor_id": alert.monitor_id,
        "monitor_name": alert.monitor_name,
        "group": alert.group,
        "sequence": alert.sequence,
        "state": alert.state,
        "previous_state": alert.previous_state,
        "value": alert.value,
        "threshold": alert.threshold,
        "started_at": shown_at(alert.started_at),
        "ended_at": shown_at(alert.ended_at),
        "acknowledged_at": shown_at(alert.acknowledged_at),
        "acknowledged_by": alert.acknowledged_by,
        "resolved_by": alert.resolved_by,
        "evidence": dict(alert.evidence),
    }


def _shown_notification(told: SentNotification) -> dict[str, Any]:
    return {
        "id": told.id,
        "channel_id": told.channel_id,
        "channel_name": told.channel_name,
        "channel_kind": told.channel_kind,
        "repeat": told.repeat,
        "dedup_key": told.dedup_key,
        "state": told.state,
        "reason": told.reason,
        "attempts": told.attempts,
        "next_at": shown_at(told.next_at) if told.state in ("waiting", "sending") else None,
        "last_error": told.last_error,
        "last_status": told.last_status,
        "created_at": shown_at(told.created_at),
        "finished_at": shown_at(told.finished_at),
    }
