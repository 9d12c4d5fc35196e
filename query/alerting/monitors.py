"""/monitors: what is watched. A definition is read by monitors/definitions.py; here it is kept, shown, muted and tried."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Depends, Path, Query, Response
from pydantic import Field, WithJsonSchema

from monitors.definitions import KINDS, AnyMonitor, parse_monitor
from monitors.downtimes import parse_downtime
from monitors.templates import parse_template
from query.alerting.downtimes import kept_downtime, shown_downtime
from query.alerting.published import monitor_schema
from query.alerting.trying import Trying, found_channels
from query.alerting.versions import IfMatch, read_version, versioned
from query.answers import answers, json_answer
from query.authorization import permitted
from query.control.forms import Form, listed, shown_at
from query.tokens import Principal, Tokens
from storage.control_plane import ControlPlane
from storage.monitors import StoredMonitor
from storage.scope import OrgScope
from topics.errors import Refused

_BODY: Final[dict[str, Any]] = {
    "name": "errors of the API",
    "kind": "metric",
    "metric": "http_errors_total",
    "aggregation": "rate",
    "labels": {"service": "api"},
    "group_by": ["host"],
    "window_s": 300,
    "comparison": ">",
    "critical": 5.0,
    "warning": 1.0,
    "message": "{{group.host}}: {{value}} errors a second",
    "channels": ["0b8f7c1e-7a53-4f0e-9b54-3f5f0a6c1d2e"],
}
_MONITOR: Final[dict[str, Any]] = {
    "id": "1c0b7e1d-3f0c-4d7c-9a7e-6a1f0c2b3d4e",
    "enabled": True,
    **_BODY,
    "version": 1,
    "created_at": "2025-10-31T10:00:00.000Z",
    "updated_at": "2025-10-31T10:00:00.000Z",
}
_TRIED: Final[dict[str, Any]] = {
    "results": [
        {
            "channel_id": _BODY["channels"][0],
            "name": "on call",
            "ok": True,
            "status": 200,
            "latency_ms": 12.5,
            "error": "",
        }
    ]
}
_MUTED: Final[dict[str, Any]] = {"monitor_id": _MONITOR["id"], "muted": True, "until": "2025-10-31T12:00:00.000Z"}

Given = Annotated[dict[str, Any], WithJsonSchema(monitor_schema(_BODY)), Body()]
Changed = Annotated[dict[str, Any], Body(description="fields of a definition", examples=[{"critical": 6.0}])]
MonitorId = Annotated[str, Path(max_length=64)]


class Mute(Form):
    """For how long, and of which groups."""

    until: Annotated[str, Field(max_length=64)] | int | None = Field(None, description="by default until it is unmuted")
    group: dict[str, str] = Field(default_factory=dict, max_length=8, description="only groups with these labels")


def monitors_router(control_plane: ControlPlane, trying: Trying, tokens: Tokens) -> APIRouter:
    """Monitors of an organization."""
    router = APIRouter(prefix="/monitors", tags=["alerting"])

    may_read = Depends(permitted(tokens, "monitors:read", takes_turn=False))
    may_write = Depends(permitted(tokens, "monitors:write", takes_turn=False))

    @router.get("", summary="List monitors by name", responses=answers(listed("monitors", [_MONITOR])))
    async def list_monitors(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before")] = None,
        principal: Principal = may_read,
    ) -> Response:
        found = await control_plane.monitors.page(principal.scope, behind_name=cursor, limit=limit + 1)
        mutes = await _mutes(control_plane, principal.scope)
        shown = [shown_monitor(each, mutes.get(each.id)) for each in found[:limit]]
        return json_answer(listed("monitors", shown, found[limit - 1].name if len(found) > limit else None))

    @router.post("", status_code=201, summary="Create a monitor", responses=answers(_MONITOR, 409, status=201))
    async def create_monitor(given: Given, principal: Principal = may_write) -> Response:
        checked = await checked_monitor(control_plane, principal.scope, given)
        made = await control_plane.acting(principal.actor()).monitors.create(
            principal.scope,
            name=checked.name,
            kind=checked.kind,
            definition=kept_definition(checked),
            enabled=checked.enabled,
        )
        return versioned(shown_monitor(made, None), made.version, 201)

    @router.get("/{monitor_id}", summary="Get a monitor", responses=answers(_MONITOR, 404))
    async def get_monitor(monitor_id: MonitorId, principal: Principal = may_read) -> Response:
        found = await control_plane.monitors.get(principal.scope, monitor_id)
        mutes = await _mutes(control_plane, principal.scope)
        return versioned(shown_monitor(found, mutes.get(found.id)), found.version)

    async def change(monitor_id: str, given: dict[str, Any], if_match: str | None, principal: Principal) -> Response:
        found = await control_plane.monitors.get(principal.scope, monitor_id)
        checked = await checked_monitor(control_plane, principal.scope, given)
        changed = await control_plane.acting(principal.actor()).monitors.update(
            principal.scope,
            monitor_id,
            read_version(if_match, found.version),
            name=checked.name,
            kind=checked.kind,
            definition=kept_definition(checked),
            enabled=checked.enabled,
        )
        mutes = await _mutes(control_plane, principal.scope)
        return versioned(shown_monitor(changed, mutes.get(changed.id)), changed.version)

    @router.put("/{monitor_id}", summary="Replace a monitor", responses=answers(_MONITOR, 404, 409))
    async def replace_monitor(
        monitor_id: MonitorId, given: Given, if_match: IfMatch = None, principal: Principal = may_write
    ) -> Response:
        return await change(monitor_id, given, if_match, principal)

    @router.patch(
        "/{monitor_id}",
        summary="Change fields of a monitor",
        description="A field that is null goes back to its default.",
        responses=answers(_MONITOR, 404, 409),
    )
    async def change_monitor(
        monitor_id: MonitorId, given: Changed, if_match: IfMatch = None, principal: Principal = may_write
    ) -> Response:
        found = await control_plane.monitors.get(principal.scope, monitor_id)
        merged = {**found.definition, "name": found.name, "kind": found.kind, "enabled": found.enabled, **given}
        # What was merged must be what is replaced, also where the client names no version.
        return await change(monitor_id, merged, if_match or f'"{found.version}"', principal)

    @router.delete(
        "/{monitor_id}",
        status_code=204,
        summary="Delete a monitor",
        description="Its alerts stay; those that go on end.",
    )
    async def delete_monitor(monitor_id: MonitorId, principal: Principal = may_write) -> Response:
        await control_plane.acting(principal.actor()).monitors.delete(principal.scope, monitor_id)
        return Response(status_code=204)

    @router.post(
        "/{monitor_id}/test",
        summary="Send a test notification to the monitor's channels",
        responses=answers(_TRIED, 404),
    )
    async def test_monitor(monitor_id: MonitorId, principal: Principal = may_write) -> Response:
        found = await control_plane.monitors.get(principal.scope, monitor_id)
        channels = await found_channels(control_plane, principal.scope, list(found.definition.get("channels", ())))
        results = [
            await trying.send(principal.scope, each, monitor_id=found.id, monitor_name=found.name) for each in channels
        ]
        return json_answer({"results": results})

    @router.post(
        "/{monitor_id}/mute",
        summary="Mute a monitor",
        description="It is watched on and nobody is told; a breach that goes on when the mute ends is told then.",
        responses=answers(_MUTED, 404),
    )
    async def mute_monitor(
        monitor_id: MonitorId, mute: Mute | None = None, principal: Principal = may_write
    ) -> Response:
        found = await control_plane.monitors.get(principal.scope, monitor_id)
        wanted = mute or Mute(until=None)
        given: dict[str, Any] = {"group": wanted.group, "starts_at": shown_at(datetime.now(UTC))}
        definition = kept_downtime(parse_downtime(given | ({"ends_at": wanted.until} if wanted.until else {})))
        made = await control_plane.acting(principal.actor()).downtimes.mute(
            principal.scope, found.id, definition=definition
        )
        return json_answer({"monitor_id": found.id, "muted": True, "until": made.definition.get("ends_at")})

    @router.post("/{monitor_id}/unmute", summary="Unmute a monitor", responses=answers(_MUTED | {"muted": False}, 404))
    async def unmute_monitor(monitor_id: MonitorId, principal: Principal = may_write) -> Response:
        found = await control_plane.monitors.get(principal.scope, monitor_id)
        await control_plane.acting(principal.actor()).downtimes.unmute(principal.scope, found.id)
        return json_answer({"monitor_id": found.id, "muted": False, "until": None})

    return router


async def checked_monitor(control_plane: ControlPlane, scope: OrgScope, given: Any) -> AnyMonitor:
    """A definition whose channels are the organization's, by id, and whose message has no unknown variable.

    Raises `Refused` with the path of the field at fault.
    """
    if isinstance(given, dict) and given.get("kind") not in KINDS:
        raise Refused(f"a kind is {', '.join(KINDS)}", code="invalid_field", path="kind")
    definition = parse_monitor(given)
    parse_template(definition.message, group_by=definition.group_by)
    channels = await control_plane.channels.find_ids(scope, definition.channels)
    return definition.model_copy(update={"channels": channels})


def kept_definition(definition: AnyMonitor) -> dict[str, Any]:
    """A definition without what has a column of its own."""
    return definition.model_dump(mode="json", exclude={"name", "kind", "enabled"}, exclude_none=True)


def shown_monitor(monitor: StoredMonitor, muted: dict[str, Any] | None) -> dict[str, Any]:
    """A monitor as the API shows it; `muted` is the mute that it has."""
    return {
        "id": monitor.id,
        "name": monitor.name,
        "kind": monitor.kind,
        "enabled": monitor.enabled,
        **monitor.definition,
        "muted": muted,
        "version": monitor.version,
        "created_at": shown_at(monitor.created_at),
        "updated_at": shown_at(monitor.updated_at),
    }


async def _mutes(control_plane: ControlPlane, scope: OrgScope) -> dict[str, dict[str, Any]]:
    """Mutes that hold now, by monitor."""
    now = datetime.now(UTC)
    shown = [shown_downtime(each, now) for each in await control_plane.downtimes.list_in(scope)]
    return {
        each["muted_monitor_id"]: {"until": each["active_until"], "group": each.get("group", {})}
        for each in shown
        if each["muted_monitor_id"] and each["active"]
    }
