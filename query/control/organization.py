"""/organization: what the organization is called and chose to have of its own."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Response
from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from query.answers import answers, json_answer
from query.authorization import permitted
from query.control.forms import ADMINISTERS, Form, shown_at
from query.tokens import Principal, Tokens
from storage.control_plane import ControlPlane
from storage.organizations import Organization
from topics.errors import Refused

OWN_SETTINGS: Final = ("ingest", "privacy")
"""Sections of the settings that an organization changes itself; the others are its operator's, and are shown."""

_ORGANIZATION: Final[dict[str, Any]] = {
    "id": "0c6f1a3e-6b0e-4a52-9f0a-6a3f6f1f2b11",
    "name": "acme",
    "retention_days": 30,
    "created_at": "2025-10-31T10:00:00Z",
    "settings": {"ingest": {"requests_per_minute": 5000}, "privacy": {"strategy": "mask"}},
}
_CHANGE: JsonDict = {
    "retention_days": 60,
    "settings": {"ingest": {"requests_per_minute": 5000, "require_signed_time": True}},
}


class ChangeSettings(Form):
    """Sections to replace, each as a whole; null goes back to the defaults."""

    ingest: dict[str, Any] | None = Field(
        None, description="`requests_per_minute`, `require_signed_time`: only signatures that cover the time"
    )
    privacy: dict[str, Any] | None = Field(None, description="the policy on personal data, as docs/privacy.md has it")


class ChangeOrganization(Form):
    """What is given is changed."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CHANGE]})

    name: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    retention_days: Annotated[int, Field(ge=1, le=3650)] | None = Field(
        None, description="of records that arrive from now on"
    )
    settings: ChangeSettings | None = None


def organization_router(control_plane: ControlPlane, tokens: Tokens) -> APIRouter:
    """The organization itself."""
    router = APIRouter(prefix="/organization", tags=["organization"])

    administers = Depends(permitted(tokens, ADMINISTERS, takes_turn=False))

    @router.get(
        "",
        summary="Show the organization",
        description="`settings` has what is not as by default.",
        responses=answers({"organization": _ORGANIZATION}, 404),
    )
    async def show_organization(principal: Principal = administers) -> Response:
        found = await control_plane.organizations.get(principal.scope.org_id)
        return json_answer({"organization": _shown(found)})

    @router.patch(
        "",
        summary="Change the organization",
        description="Its name, retention, rate limit, signature scheme and policy on personal data. Gateways follow within two"
        " seconds, workers within five.",
        responses=answers({"organization": _ORGANIZATION}, 404, 409),
    )
    async def change_organization(change: ChangeOrganization, principal: Principal = administers) -> Response:
        sections: dict[str, Any] = {}
        if change.settings is not None:
            sections = {name: getattr(change.settings, name) for name in change.settings.model_fields_set}
        for name in ("name", "retention_days"):
            if name in change.model_fields_set and getattr(change, name) is None:
                raise Refused("must not be null", code="invalid_field", path=name)
        changed = await control_plane.acting(principal.actor()).organizations.change(
            principal.scope, name=change.name, retention_days=change.retention_days, sections=sections
        )
        return json_answer({"organization": _shown(changed)})

    return router


def _shown(organization: Organization) -> dict[str, Any]:
    return {
        "id": organization.id,
        "name": organization.name,
        "retention_days": organization.retention_days,
        "created_at": shown_at(organization.created_at),
        "settings": dict(organization.settings),
    }
