"""/downtimes: when the organization is not told, once or by the week. Mutes of monitors are listed too."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Depends, Path, Response
from pydantic import WithJsonSchema

from monitors.downtimes import FOR_EVER, Downtime, parse_downtime
from query.alerting.published import downtime_schema
from query.alerting.versions import IfMatch, read_version, versioned
from query.answers import answers, json_answer
from query.authorization import permitted
from query.control.forms import listed, shown_at
from query.tokens import Principal, Tokens
from storage.control_plane import ControlPlane
from storage.downtimes import StoredDowntime
from topics.errors import Refused

_BODY: Final[dict[str, Any]] = {
    "name": "backups",
    "tags": ["database"],
    "group": {"host": "db-*"},
    "recurrence": {"days": ["sun"], "time": "02:00", "duration_s": 7200, "timezone": "Europe/Berlin"},
}
_DOWNTIME: Final[dict[str, Any]] = {
    "id": "5a0d3c1b-2f43-4c55-8c43-0a4b54a1e3c9",
    **_BODY,
    "monitor_ids": [],
    "active": True,
    "active_until": "2025-11-02T03:00:00.000Z",
    "version": 1,
    "created_at": "2025-10-31T10:00:00.000Z",
    "updated_at": "2025-10-31T10:00:00.000Z",
}

_MEANING: Final = (
    "whom it concerns: `monitor_ids`, `tags` (a monitor that has all of them), `group` (labels and values, which may end in *);"
    " when: `starts_at`, `ends_at`, and `recurrence`"
)
Given = Annotated[dict[str, Any], WithJsonSchema(downtime_schema(_MEANING, _BODY)), Body()]
DowntimeId = Annotated[str, Path(max_length=64)]


def downtimes_router(
    control_plane: ControlPlane, tokens: Tokens, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> APIRouter:
    """Downtimes of an organization."""
    router = APIRouter(prefix="/downtimes", tags=["alerting"])

    may_read = Depends(permitted(tokens, "monitors:read", takes_turn=False))
    may_write = Depends(permitted(tokens, "monitors:write", takes_turn=False))

    @router.get("", summary="List downtimes and mutes", responses=answers(listed("downtimes", [_DOWNTIME])))
    async def list_downtimes(principal: Principal = may_read) -> Response:
        found = await control_plane.downtimes.list_in(principal.scope)
        return json_answer(listed("downtimes", [shown_downtime(each, now()) for each in found]))

    @router.post("", status_code=201, summary="Create a downtime", responses=answers(_DOWNTIME, status=201))
    async def create_downtime(given: Given, principal: Principal = may_write) -> Response:
        name, definition = _read(given)
        made = await control_plane.acting(principal.actor()).downtimes.create(
            principal.scope, name=name, definition=definition
        )
        return versioned(shown_downtime(made, now()), made.version, 201)

    @router.get("/{downtime_id}", summary="Get a downtime", responses=answers(_DOWNTIME, 404))
    async def get_downtime(downtime_id: DowntimeId, principal: Principal = may_read) -> Response:
        found = await control_plane.downtimes.get(principal.scope, downtime_id)
        return versioned(shown_downtime(found, now()), found.version)

    @router.put(
        "/{downtime_id}",
        summary="Replace a downtime",
        description="What it has held back is told, where it no longer does and the breach goes on.",
        responses=answers(_DOWNTIME, 404, 409),
    )
    async def replace_downtime(
        downtime_id: DowntimeId, given: Given, if_match: IfMatch = None, principal: Principal = may_write
    ) -> Response:
        name, definition = _read(given)
        found = await control_plane.downtimes.get(principal.scope, downtime_id)
        changed = await control_plane.acting(principal.actor()).downtimes.update(
            principal.scope,
            downtime_id,
            read_version(if_match, found.version),
            name=name,
            definition=definition,
        )
        return versioned(shown_downtime(changed, now()), changed.version)

    @router.delete("/{downtime_id}", status_code=204, summary="End a downtime for good")
    async def delete_downtime(downtime_id: DowntimeId, principal: Principal = may_write) -> Response:
        await control_plane.acting(principal.actor()).downtimes.delete(principal.scope, downtime_id)
        return Response(status_code=204)

    return router


def _read(given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A body -> name and definition. Raises `Refused`."""
    name = given.get("name")
    if not isinstance(name, str) or not name:
        raise Refused("a downtime has a name", code="invalid_field", path="name")
    return name, kept_downtime(parse_downtime({field: value for field, value in given.items() if field != "name"}))


def kept_downtime(downtime: Downtime) -> dict[str, Any]:
    """A downtime as it is kept: its times in one form."""
    kept = downtime.model_dump(exclude_none=True)
    if downtime.starts_at is not None:
        kept["starts_at"] = shown_at(downtime.starts)
    if downtime.ends_at is not None:
        kept["ends_at"] = shown_at(downtime.ends)
    return kept


def shown_downtime(downtime: StoredDowntime, at: datetime) -> dict[str, Any]:
    """A downtime, and whether it holds now; `active_until` is null for ever."""
    until = parse_downtime(dict(downtime.definition)).until(at)
    return {
        "id": downtime.id,
        "name": downtime.name,
        "muted_monitor_id": downtime.muted_monitor_id,
        **downtime.definition,
        "active": until is not None,
        "active_until": None if until is None or until == FOR_EVER else shown_at(until),
        "version": downtime.version,
        "created_at": shown_at(downtime.created_at),
        "updated_at": shown_at(downtime.updated_at),
    }
