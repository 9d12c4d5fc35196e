"""POST /auth/login, /auth/refresh, /auth/logout, /auth/password, /auth/accept-invite, GET /auth/me: who comes in, and as what."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from query.answers import answers, json_answer
from query.authorization import address_of, identified
from query.control.forms import Email, Form
from query.control.passwords import PASSWORD_LENGTH_MAX
from query.control.sign_in import Granted, SignIn
from query.tokens import PERMISSIONS, Principal, Tokens

_ORGANIZATION: Final = "0c6f1a3e-6b0e-4a52-9f0a-6a3f6f1f2b11"
_GRANTED: Final[dict[str, Any]] = {
    "access_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJhZWdpcyJ9.c2lnbmF0dXJl",
    "refresh_token": "aer_" + "x" * 75,
    "token_type": "Bearer",
    "expires_in": 900,
    "organization_id": _ORGANIZATION,
    "role": "admin",
}
_ME: Final[dict[str, Any]] = {
    "kind": "user",
    "id": "6f7c1c9e-0d3a-4f0e-9a57-1f2e3d4c5b6a",
    "name": "ada@example.org",
    "organization_id": _ORGANIZATION,
    "role": "viewer",
    "permissions": sorted(PERMISSIONS["viewer"]),
}
_LOGIN: JsonDict = {"email": "ada@example.org", "password": "correct horse battery"}
_REFRESH: JsonDict = {"refresh_token": "aer_" + "x" * 75}
_PASSWORD: JsonDict = {"current_password": "correct horse battery", "new_password": "staple of another day"}
_ACCEPT: JsonDict = {"token": "aei_" + "x" * 43, "password": "correct horse battery"}

Password = Annotated[str, Field(min_length=1, max_length=PASSWORD_LENGTH_MAX)]
RefreshTokenText = Annotated[str, Field(min_length=1, max_length=200)]


class LogIn(Form):
    """Who wants to come in, and where."""

    model_config = ConfigDict(json_schema_extra={"examples": [_LOGIN]})

    email: Email
    password: Password
    organization_id: Annotated[str, Field(max_length=36)] | None = Field(
        None, description="needed by whoever belongs to several; without it the answer 409 lists them"
    )


class Refresh(Form):
    """A refresh token."""

    model_config = ConfigDict(json_schema_extra={"examples": [_REFRESH]})

    refresh_token: RefreshTokenText


class ChangePassword(Form):
    """The password that is, and the one that shall be."""

    model_config = ConfigDict(json_schema_extra={"examples": [_PASSWORD]})

    current_password: Password
    new_password: Password


class AcceptInvite(Form):
    """An invitation, and the password that its holder chooses."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ACCEPT]})

    token: Annotated[str, Field(min_length=1, max_length=200)]
    password: Password


def login_router(sign_in: SignIn, tokens: Tokens) -> APIRouter:
    """Who comes in."""
    router = APIRouter(prefix="/auth", tags=["auth"])

    async def caller(request: Request, authorization: Annotated[str | None, Header()] = None) -> Principal:
        return await identified(tokens, request, authorization)

    is_known = Depends(caller)

    @router.post(
        "/login",
        summary="Log in",
        description="An access token for the Authorization header of every question, and a refresh token for /auth/refresh. What"
        " is wrong of address and password is not told. Who failed too often is answered 429 with Retry-After.",
        responses=answers(_GRANTED, 409, 501),
    )
    async def log_in(login: LogIn, request: Request) -> Response:
        granted = await sign_in.log_in(login.email, login.password, login.organization_id, address_of(request))
        return _answer(granted)

    @router.post(
        "/refresh",
        summary="Exchange a refresh token",
        description="Each refresh token is good once. For 30 s it gives the same answer again, should the first have been lost;"
        " later it ends the login that it belongs to, because somebody else may have it.",
        responses=answers(_GRANTED, 501),
    )
    async def refresh(refresh: Refresh) -> Response:
        return _answer(await sign_in.refresh(refresh.refresh_token))

    @router.post(
        "/logout",
        summary="Log out",
        description="Ends the login of a refresh token, and its access tokens within two seconds. Twice is harmless.",
        responses=answers({"logged_out": True}),
    )
    async def log_out(refresh: Refresh) -> Response:
        await sign_in.log_out(refresh.refresh_token)
        return json_answer({"logged_out": True})

    @router.post(
        "/password",
        summary="Change your own password",
        description="Ends every other login of yours, and their access tokens within two seconds. 10 characters at least.",
        responses=answers({"changed": True}),
    )
    async def change_password(change: ChangePassword, principal: Principal = is_known) -> Response:
        await sign_in.change_password(principal, change.current_password, change.new_password)
        return json_answer({"changed": True})

    @router.post(
        "/accept-invite",
        summary="Choose a password, being invited",
        description="With the token that whoever invited you was shown. It is good once.",
        responses=answers({"email": "ada@example.org"}),
    )
    async def accept_invite(accept: AcceptInvite, request: Request) -> Response:
        user = await sign_in.accept_invite(accept.token, accept.password, address_of(request))
        return json_answer({"email": user.email})

    @router.get("/me", summary="Who asks, and what it may do", responses=answers(_ME))
    async def who_asks(principal: Principal = is_known) -> Response:
        return json_answer(
            {
                "kind": principal.kind,
                "id": principal.subject,
                "name": principal.name or principal.subject,
                "organization_id": principal.scope.org_id,
                "role": principal.role,
                "permissions": sorted(PERMISSIONS[principal.role]),
            }
        )

    return router


def _answer(granted: Granted) -> Response:
    return json_answer({"token_type": "Bearer", **asdict(granted)}, is_secret=True)
