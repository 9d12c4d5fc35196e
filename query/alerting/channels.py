"""/channels: where the organization is told. What is secret of a channel is taken and never given back, to nobody."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Response
from pydantic import ConfigDict, Field, WithJsonSchema
from pydantic.config import JsonDict

from channels.definitions import SECRETS, Config, Kind, parse_config, secrets_of, without_secrets
from channels.sending import Senders
from query.alerting.published import CONFIG_SCHEMA
from query.alerting.trying import Trying
from query.alerting.versions import IfMatch, read_version, versioned
from query.answers import answers, json_answer
from query.authorization import permitted
from query.control.forms import Form, listed, shown_at
from query.tokens import Principal, Tokens
from storage.channels import StoredChannel
from storage.control_plane import ControlPlane
from storage.scope import OrgScope
from topics.errors import Refused

_CREATE: JsonDict = {
    "name": "on call",
    "kind": "webhook",
    "config": {"url": "https://hooks.example.com/aegis", "secret": "a long random text"},
}
_CHANNEL: Final[dict[str, Any]] = {
    "id": "0b8f7c1e-7a53-4f0e-9b54-3f5f0a6c1d2e",
    "name": "on call",
    "kind": "webhook",
    "enabled": True,
    "config": {"group_wait_s": 0, "origin": "https://hooks.example.com"},
    "secrets": {"url": True, "secret": True, "headers": False},
    "version": 1,
    "created_at": "2025-10-31T10:00:00.000Z",
    "updated_at": "2025-10-31T10:00:00.000Z",
    "health": {"failures": 0, "waiting": 0, "last_sent_at": "2025-10-31T10:00:00.000Z", "last_error": ""},
}
_TRIED: Final[dict[str, Any]] = {
    "channel_id": _CHANNEL["id"],
    "name": "on call",
    "kind": "webhook",
    "ok": True,
    "status": 200,
    "latency_ms": 12.5,
    "error": "",
}

Name = Annotated[
    str, Field(min_length=1, max_length=64, description="unique in the organization; monitors may say it for the id")
]
ConfigFields = Annotated[dict[str, Any], Field(max_length=20), WithJsonSchema(CONFIG_SCHEMA)]
ChannelId = Annotated[str, Path(max_length=64)]


class CreateChannel(Form):
    """A new channel."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CREATE]})

    name: Name
    kind: Kind
    config: ConfigFields


class ChangeChannel(Form):
    """What changes. In `config` a secret that is left out stays as it is, and null removes it; the rest is replaced."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "on call, nights"}]})

    name: Name | None = None
    kind: Kind | None = Field(None, description="a channel keeps its kind; it may be said again")
    config: ConfigFields | None = None
    enabled: bool | None = Field(None, description="a disabled channel is told nothing")


def channels_router(control_plane: ControlPlane, senders: Senders, trying: Trying, tokens: Tokens) -> APIRouter:
    """Channels of an organization."""
    router = APIRouter(prefix="/channels", tags=["alerting"])

    may_read = Depends(permitted(tokens, "monitors:read", takes_turn=False))
    may_write = Depends(permitted(tokens, "monitors:write", takes_turn=False))

    @router.get("", summary="List channels", responses=answers(listed("channels", [_CHANNEL])))
    async def list_channels(principal: Principal = may_read) -> Response:
        found = await control_plane.channels.list_in(principal.scope)
        return json_answer(listed("channels", [shown_channel(each) for each in found]))

    @router.post(
        "",
        status_code=201,
        summary="Create a channel",
        description="A URL must be public, or lead into a network that the installation allows (AEGIS_CHANNEL_NETWORKS).",
        responses=answers(_CHANNEL, 409, status=201),
    )
    async def create_channel(channel: CreateChannel, principal: Principal = may_write) -> Response:
        config = parse_config(channel.kind, channel.config)
        await senders.check(config)
        made = await control_plane.acting(principal.actor()).channels.create(
            principal.scope,
            name=channel.name,
            kind=channel.kind,
            config=without_secrets(config),
            secrets=secrets_of(config),
        )
        return versioned(shown_channel(made), made.version, 201)

    @router.get("/{channel_id}", summary="Get a channel", responses=answers(_CHANNEL, 404))
    async def get_channel(channel_id: ChannelId, principal: Principal = may_read) -> Response:
        found = await control_plane.channels.get(principal.scope, channel_id)
        return versioned(shown_channel(found), found.version)

    @router.patch(
        "/{channel_id}",
        summary="Change a channel",
        description="What waits for it is tried at once.",
        responses=answers(_CHANNEL, 404, 409),
    )
    async def change_channel(
        channel_id: ChannelId, change: ChangeChannel, if_match: IfMatch = None, principal: Principal = may_write
    ) -> Response:
        found = await control_plane.channels.get(principal.scope, channel_id)
        config = None
        if change.config is not None or change.kind not in (None, found.kind):
            config = await _changed_config(control_plane, principal.scope, found, change)
            await senders.check(config)
        changed = await control_plane.acting(principal.actor()).channels.update(
            principal.scope,
            channel_id,
            read_version(if_match, found.version),
            name=change.name,
            enabled=change.enabled,
            config=None if config is None else without_secrets(config),
            secrets=None if config is None else secrets_of(config),
        )
        return versioned(shown_channel(changed), changed.version)

    @router.delete(
        "/{channel_id}",
        status_code=204,
        summary="Delete a channel",
        description="Refused while monitors use it.",
        responses={204: {"description": "it is gone, with its secrets"}, **_refusals(404, 409)},
    )
    async def delete_channel(channel_id: ChannelId, principal: Principal = may_write) -> Response:
        await control_plane.acting(principal.actor()).channels.delete(principal.scope, channel_id)
        return Response(status_code=204)

    @router.post(
        "/{channel_id}/test",
        summary="Send a test to a channel",
        description="At once. `ok` says whether the receiver took it; an error quotes nothing of its answer.",
        responses=answers(_TRIED, 404),
    )
    async def test_channel(channel_id: ChannelId, principal: Principal = may_write) -> Response:
        found = await control_plane.channels.get(principal.scope, channel_id)
        return json_answer(await trying.send(principal.scope, found))

    return router


async def _changed_config(
    control_plane: ControlPlane, scope: OrgScope, found: StoredChannel, change: ChangeChannel
) -> Config:
    """What was given over the secrets that are kept. Raises `Refused` for another kind."""
    if change.kind not in (None, found.kind):
        raise Refused("a channel keeps its kind: make another one", code="invalid_field", path="kind")
    kept = await control_plane.channels.open_secrets(scope, found.id)
    given = {**kept, **(change.config or {})}
    return parse_config(found.kind, {name: value for name, value in given.items() if value is not None})


def shown_channel(channel: StoredChannel) -> dict[str, Any]:
    """A channel without anything secret: of each secret whether it is set, of a URL its origin."""
    names = SECRETS.get(channel.kind, ())  # type: ignore[call-overload]  # a kind of another version is no key
    return {
        "id": channel.id,
        "name": channel.name,
        "kind": channel.kind,
        "enabled": channel.enabled,
        "config": dict(channel.config),
        "secrets": {name: name in channel.secret_names for name in names},
        "version": channel.version,
        "created_at": shown_at(channel.created_at),
        "updated_at": shown_at(channel.updated_at),
        "health": {
            "failures": channel.failures,
            "waiting": channel.waiting,
            "last_sent_at": shown_at(channel.last_sent_at),
            "last_failed_at": shown_at(channel.last_failed_at),
            "last_error": channel.last_error,
        },
    }


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    shown = answers({}, *statuses)
    del shown[200]
    return shown
