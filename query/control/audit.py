"""GET /audit: who changed what of the organization, newest first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Response

from query.answers import answers, json_answer
from query.authorization import permitted
from query.control.forms import ADMINISTERS, listed, shown_at
from query.time_ranges import END, START, read_instant
from query.tokens import Principal, Tokens
from storage.audit import AuditEntry, AuditSelection
from storage.control_plane import ControlPlane

LIMIT_MAX: Final = 1000

_ENTRY: Final[dict[str, Any]] = {
    "id": "4711",
    "at": "2025-10-31T10:00:00Z",
    "actor": {"kind": "user", "id": "6f7c1c9e-0d3a-4f0e-9a57-1f2e3d4c5b6a", "name": "ada@example.org"},
    "address": "203.0.113.9",
    "action": "update",
    "object": {"kind": "member", "id": "9a57c1c9-0d3a-4f0e-9a57-1f2e3d4c5b6a", "name": "bob@example.org"},
    "before": {"role": "member"},
    "after": {"role": "viewer"},
}


def audit_router(control_plane: ControlPlane, tokens: Tokens) -> APIRouter:
    """What happened."""
    router = APIRouter(prefix="/audit", tags=["organization"])

    administers = Depends(permitted(tokens, ADMINISTERS, takes_turn=False))

    @router.get(
        "",
        summary="Read the audit log",
        description="Every change of the organization, its members, keys, tokens, monitors and what else it keeps, newest first."
        " `before` and `after` have the columns that differ; secrets are told by the word (secret). `actor.kind` is user,"
        " api_token, token (of `aegis token`), command (the command line) or system.",
        responses=answers(listed("entries", [_ENTRY])),
    )
    async def read_audit_log(
        start: Annotated[str | None, Query(max_length=64, description=START)] = None,
        end: Annotated[str | None, Query(max_length=64, description=END)] = None,
        actor_id: Annotated[str | None, Query(max_length=200)] = None,
        action: Annotated[Literal["create", "update", "revoke", "delete"] | None, Query()] = None,
        object_kind: Annotated[str | None, Query(max_length=64, description="member, key, monitor, ...")] = None,
        object_id: Annotated[str | None, Query(max_length=64)] = None,
        limit: Annotated[int, Query(ge=1, le=LIMIT_MAX, description="entries on one page")] = 100,
        cursor: Annotated[str | None, Query(max_length=64, description="`next_cursor` of the page before")] = None,
        principal: Principal = administers,
    ) -> Response:
        page = await control_plane.audit.list_in(
            principal.scope,
            AuditSelection(
                start=_instant("start", start),
                end=_instant("end", end),
                actor_id=actor_id,
                action=action,
                object_kind=object_kind,
                object_id=object_id,
                limit=limit,
                cursor=cursor,
            ),
        )
        return json_answer(listed("entries", [_shown(each) for each in page.entries], page.next_cursor))

    return router


def _instant(path: str, value: str | None) -> datetime | None:
    return None if value is None else datetime.fromtimestamp(read_instant(path, value) / 1e9, UTC)


def _shown(entry: AuditEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "at": shown_at(entry.at),
        "actor": {"kind": entry.actor_kind, "id": entry.actor_id, "name": entry.actor_name},
        "address": entry.address,
        "action": entry.action,
        "object": {"kind": entry.object_kind, "id": entry.object_id, "name": entry.object_name},
        "before": dict(entry.before),
        "after": dict(entry.after),
    }
