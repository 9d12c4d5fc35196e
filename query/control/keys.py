"""/keys: what programs of the organization sign their requests with."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Response
from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from query.answers import answers, json_answer
from query.authorization import permitted
from query.control.forms import ADMINISTERS, Expiry, Form, Name, listed, read_expiry, shown_at
from query.tokens import Principal, Tokens
from storage.api_keys import ApiKey
from storage.control_plane import ControlPlane

_KEY: Final[dict[str, Any]] = {
    "prefix": "obs_0123456789abcdef",
    "name": "shop",
    "signals": ["logs", "metrics", "traces", "rum"],
    "created_at": "2025-10-31T10:00:00Z",
}
_CREATE: JsonDict = {"name": "shop", "signals": ["logs", "metrics", "traces", "rum"]}

Signal = Literal["logs", "metrics", "traces", "rum"]


class CreateKey(Form):
    """What a key is for."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CREATE]})

    name: Name = ""
    signals: Annotated[list[Signal], Field(min_length=1, max_length=4)] = Field(
        ["logs", "metrics", "traces", "rum"], description="what it may send"
    )
    expires_at: Expiry = Field(None, description="when it ends by itself, in any form of timestamp; never without")


def keys_router(control_plane: ControlPlane, tokens: Tokens) -> APIRouter:
    """Credentials of senders."""
    router = APIRouter(prefix="/keys", tags=["organization"])

    administers = Depends(permitted(tokens, ADMINISTERS, takes_turn=False))

    @router.get("", summary="List keys", responses=answers(listed("keys", [_KEY])))
    async def list_keys(principal: Principal = administers) -> Response:
        found = await control_plane.api_keys.list_in(principal.scope)
        return json_answer(listed("keys", [_shown(each) for each in found]))

    @router.post(
        "",
        status_code=201,
        summary="Create a key",
        description="The secret is shown this once: requests are signed with it, and it is never sent. At most"
        " 1000 that are not revoked.",
        responses=answers({"key": _KEY, "secret": "0123456789abcdef" * 4}, 409, 501, status=201),
    )
    async def create_key(key: CreateKey, principal: Principal = administers) -> Response:
        made = await control_plane.acting(principal.actor()).api_keys.create(
            principal.scope,
            name=key.name,
            scopes=[f"{signal}:write" for signal in dict.fromkeys(key.signals)],
            expires_at=read_expiry(key.expires_at),
        )
        return json_answer({"key": _shown(made.key), "secret": made.secret}, 201, is_secret=True)

    @router.delete(
        "/{prefix}",
        summary="Revoke a key",
        description="Every gateway refuses it within two seconds. Twice is harmless.",
        responses=answers({"key": _KEY | {"revoked_at": "2025-10-31T11:00:00Z"}}, 404),
    )
    async def revoke_key(
        prefix: Annotated[str, Path(max_length=64, description="the key, as sent in x-org-key")],
        principal: Principal = administers,
    ) -> Response:
        revoked = await control_plane.acting(principal.actor()).api_keys.revoke(principal.scope, prefix)
        return json_answer({"key": _shown(revoked)})

    return router


def _shown(key: ApiKey) -> dict[str, Any]:
    return {
        "prefix": key.prefix,
        "name": key.name,
        "signals": [scope.partition(":")[0] for scope in key.scopes],
        "created_at": shown_at(key.created_at),
        "expires_at": shown_at(key.expires_at),
        "revoked_at": shown_at(key.revoked_at),
    }
