"""/members: who belongs to the organization, and as what."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Response
from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from query.answers import answers, json_answer
from query.authorization import permitted
from query.control.forms import ADMINISTERS, Email, Form, Name, RoleName, check_grants, listed, shown_at
from query.control.invites import new_invite
from query.control.passwords import PASSWORD_LENGTH_MAX, Passwords, check_password
from query.tokens import Principal, Tokens
from storage.control_plane import ControlPlane
from storage.memberships import Membership

_MEMBER: Final[dict[str, Any]] = {
    "user_id": "6f7c1c9e-0d3a-4f0e-9a57-1f2e3d4c5b6a",
    "email": "ada@example.org",
    "name": "Ada",
    "role": "member",
    "disabled": False,
    "created_at": "2025-10-31T10:00:00Z",
}
_INVITED: Final[dict[str, Any]] = {
    "member": _MEMBER,
    "invite_token": "aei_" + "x" * 43,
    "invite_expires_at": "2025-11-07T10:00:00Z",
}
_ADD: JsonDict = {"email": "ada@example.org", "name": "Ada", "role": "member"}
_CHANGE: JsonDict = {"role": "viewer"}

UserId = Annotated[str, Path(max_length=64, description="a member's `user_id`")]


class AddMember(Form):
    """Who is to belong here. Without a password the person is invited, and chooses one."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ADD]})

    email: Email
    role: RoleName
    name: Name = ""
    password: Annotated[str, Field(min_length=1, max_length=PASSWORD_LENGTH_MAX)] | None = Field(
        None, description="its first password, which you then know; better leave it out"
    )


class ChangeMember(Form):
    """Another role."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CHANGE]})

    role: RoleName


def members_router(control_plane: ControlPlane, passwords: Passwords, tokens: Tokens) -> APIRouter:
    """Who belongs here. For owners and admins; everybody sees his own membership at /auth/me."""
    router = APIRouter(prefix="/members", tags=["organization"])

    administers = Depends(permitted(tokens, ADMINISTERS, takes_turn=False))

    @router.get("", summary="List members", responses=answers(listed("members", [_MEMBER])))
    async def list_members(principal: Principal = administers) -> Response:
        found = await control_plane.memberships.list_in(principal.scope)
        return json_answer(listed("members", [_shown(each) for each in found]))

    @router.post(
        "",
        status_code=201,
        summary="Add a member",
        description="By e-mail address, with a first password or, without one, an invitation: its token is shown once, is good"
        " for seven days, and goes to /auth/accept-invite. An address that another organization has is refused (409); who runs"
        " this installation can add it with `aegis user add`. Only an owner adds owners.",
        responses=answers(_INVITED, 409, status=201),
    )
    async def add_member(member: AddMember, principal: Principal = administers) -> Response:
        check_grants(principal, member.role)
        invite = new_invite() if member.password is None else None
        password_hash = None
        if member.password is not None:
            check_password(member.password, member.email)
            password_hash = await passwords.hash(member.password)
        added = await control_plane.acting(principal.actor()).memberships.add_person(
            principal.scope,
            member.email,
            member.role,
            name=member.name,
            password_hash=password_hash,
            invite=None if invite is None else invite.kept,
        )
        answer: dict[str, Any] = {"member": _shown(added), "invite_token": None, "invite_expires_at": None}
        if invite is not None:
            answer |= {"invite_token": invite.token, "invite_expires_at": shown_at(invite.kept.expires_at)}
        return json_answer(answer, 201, is_secret=True)

    @router.patch(
        "/{user_id}",
        summary="Change a member's role",
        description="It counts within two seconds, also on access tokens that are out. Only an owner makes and changes owners;"
        " the last one stays (409).",
        responses=answers({"member": _MEMBER}, 404, 409),
    )
    async def change_member(user_id: UserId, change: ChangeMember, principal: Principal = administers) -> Response:
        memberships = control_plane.acting(principal.actor()).memberships
        if not principal.is_owner:
            # First, so that what is wrong with the role does not tell who is there.
            await memberships.get(principal.scope, user_id)
        check_grants(principal, change.role)
        changed = await memberships.change_role(principal.scope, user_id, change.role, by_owner=principal.is_owner)
        return json_answer({"member": _shown(changed)})

    @router.delete(
        "/{user_id}",
        summary="Remove a member",
        description="Its access tokens end within two seconds. Only an owner removes owners; the last one stays (409).",
        responses=answers({"removed": True}, 404, 409),
    )
    async def remove_member(user_id: UserId, principal: Principal = administers) -> Response:
        memberships = control_plane.acting(principal.actor()).memberships
        await memberships.remove(principal.scope, user_id, by_owner=principal.is_owner)
        return json_answer({"removed": True})

    return router


def _shown(member: Membership) -> dict[str, Any]:
    return {
        "user_id": member.user_id,
        "email": member.email,
        "name": member.name,
        "role": member.role,
        "disabled": member.disabled,
        "created_at": shown_at(member.created_at),
    }
