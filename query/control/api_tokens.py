"""/tokens: what programs of the organization ask with."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Response
from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from query.answers import answers, json_answer
from query.api_token_text import new_api_token
from query.authorization import permitted
from query.control.forms import ADMINISTERS, Expiry, Form, RoleName, check_grants, listed, read_expiry, shown_at
from query.tokens import Principal, Tokens
from storage.api_tokens import ApiToken
from storage.control_plane import ControlPlane
from topics.errors import Refused

_TOKEN: Final[dict[str, Any]] = {
    "id": "2b0a6c1e-9d5f-4c68-8a34-0e6b1f2d3c4b",
    "prefix": "aet_0123456789abcdef",
    "name": "dashboards",
    "role": "viewer",
    "created_at": "2025-10-31T10:00:00Z",
}
_CREATE: JsonDict = {"name": "dashboards", "role": "viewer"}


class CreateToken(Form):
    """What a token is for, and what it may do."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CREATE]})

    name: Annotated[str, Field(min_length=1, max_length=100)] = Field(description="for people")
    role: RoleName
    expires_at: Expiry = Field(None, description="when it ends by itself, in any form of timestamp; never without")


def api_tokens_router(control_plane: ControlPlane, tokens: Tokens) -> APIRouter:
    """Credentials of programs that ask."""
    router = APIRouter(prefix="/tokens", tags=["organization"])

    administers = Depends(permitted(tokens, ADMINISTERS, takes_turn=False))

    @router.get(
        "",
        summary="List API tokens",
        description="`last_used_at` is coarse: the minute of the last use, known half a minute later.",
        responses=answers(listed("tokens", [_TOKEN])),
    )
    async def list_tokens(principal: Principal = administers) -> Response:
        found = await control_plane.api_tokens.list_in(principal.scope)
        return json_answer(listed("tokens", [_shown(each) for each in found]))

    @router.post(
        "",
        status_code=201,
        summary="Create an API token",
        description="`secret` is shown this once, and goes into `Authorization: Bearer <secret>`. Only an owner makes one"
        " of an owner. It belongs to the organization and stays when its maker leaves. At most 1000 that are not revoked.",
        responses=answers(
            {"token": _TOKEN, "secret": f"aet_0123456789abcdef_{'0123456789abcdef' * 4}"}, 409, status=201
        ),
    )
    async def create_token(token: CreateToken, principal: Principal = administers) -> Response:
        check_grants(principal, token.role)
        text = new_api_token()
        made = await control_plane.acting(principal.actor()).api_tokens.create(
            principal.scope,
            name=token.name,
            role=token.role,
            prefix=text.prefix,
            secret_hash=text.secret_hash,
            expires_at=read_expiry(token.expires_at),
        )
        return json_answer({"token": _shown(made), "secret": str(text)}, 201, is_secret=True)

    @router.delete(
        "/{token_id}",
        summary="Revoke an API token",
        description="It is refused within two seconds. Only an owner revokes one of an owner. Twice is harmless.",
        responses=answers({"token": _TOKEN | {"revoked_at": "2025-10-31T11:00:00Z"}}, 404),
    )
    async def revoke_token(
        token_id: Annotated[str, Path(max_length=64, description="the token's `id`")],
        principal: Principal = administers,
    ) -> Response:
        api_tokens = control_plane.acting(principal.actor()).api_tokens
        if (await api_tokens.get(principal.scope, token_id)).role == "owner" and not principal.is_owner:
            raise Refused("cannot revoke the token: it is an owner's, and only an owner does", code="forbidden")
        return json_answer({"token": _shown(await api_tokens.revoke(principal.scope, token_id))})

    return router


def _shown(token: ApiToken) -> dict[str, Any]:
    return {
        "id": token.id,
        "prefix": token.prefix,
        "name": token.name,
        "role": token.role,
        "created_at": shown_at(token.created_at),
        "expires_at": shown_at(token.expires_at),
        "last_used_at": shown_at(token.last_used_at),
        "revoked_at": shown_at(token.revoked_at),
    }
