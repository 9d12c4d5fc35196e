"""aegis user: who logs in, where, and as what. An operator's: it crosses organizations."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any

import typer

from aegis.access import command_line, opened_control_plane
from aegis.cli.console import DataDir, Json, print_json, print_table, say, settings_of, shown_fact, shown_time
from query.control.invites import new_invite
from query.control.passwords import Passwords, check_password
from query.tokens import ROLES
from storage.control_plane import ControlPlane
from storage.memberships import Membership
from storage.users import User
from topics.errors import Refused

user = typer.Typer(help="Users: people who log in.", no_args_is_help=True)

Email = Annotated[str, typer.Argument(metavar="EMAIL", help="a user's e-mail address, in any case, or its id")]
Org = Annotated[str, typer.Argument(metavar="ORG", help="an organization's id or name")]
Role = Annotated[str, typer.Option(help=", ".join(ROLES))]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="read the password from standard input, one line")]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.add_typer(user, name="user")


@user.command("create")
def create_user(
    email: Annotated[str, typer.Argument(metavar="EMAIL")],
    name: Annotated[str, typer.Option(help="for people")] = "",
    org: Annotated[str | None, typer.Option(help="make it a member of this organization")] = None,
    role: Role = "viewer",
    password_stdin: FromStdin = False,
    invite: Annotated[bool, typer.Option("--invite", help="no password: print a token to choose one with")] = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Create a user; the password is asked for, read from standard input, or chosen by whoever is invited."""
    _check_role(role)
    if invite and (password_stdin or org is None):
        raise Refused("cannot create the user: --invite goes with --org, and without --password-stdin")
    password_hash = None if invite else asyncio.run(_hashed(_password(email, password_stdin)))
    invited = new_invite() if invite else None

    async def work() -> dict[str, Any]:
        async with _opened(data_dir) as control_plane:
            if org is None:
                made = await control_plane.users.create(email, name=name, password_hash=password_hash)
                return _user(made)
            scope = (await control_plane.organizations.get(org)).scope
            kept = None if invited is None else invited.kept
            member = await control_plane.memberships.add_person(
                scope, email, role, name=name, password_hash=password_hash, invite=kept
            )
            return _member(member)

    made = asyncio.run(work())
    if invited is not None:
        made |= {"invite_token": invited.token, "invite_expires_at": shown_time(invited.kept.expires_at)}
    if json:
        print_json(made)
        return
    say(f"created {made['email']}" + (f", {role} of {org}" if org is not None else "; next: aegis user add EMAIL ORG"))
    if invited is not None:
        say("this is the only time that the invitation is shown; it goes to POST /auth/accept-invite:")
        print(invited.token)


@user.command("list")
def list_users(
    org: Annotated[str | None, typer.Option(help="only members of this organization, with their roles")] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """List users."""

    async def work() -> list[dict[str, Any]]:
        async with _opened(data_dir) as control_plane:
            if org is None:
                return [_user(each) for each in await control_plane.users.list_all()]
            scope = (await control_plane.organizations.get(org)).scope
            return [_member(each) for each in await control_plane.memberships.list_in(scope)]

    found = asyncio.run(work())
    if json:
        print_json({"users": found, "next_cursor": None})
    else:
        columns = ("email", "name", *(("role",) if org is not None else ()), "disabled", "created_at")
        print_table("users", columns, [[shown_fact(each[column]) for column in columns] for each in found])


@user.command("add")
def add_member(
    email: Email, organization: Org, role: Role = "viewer", data_dir: DataDir = None, json: Json = False
) -> None:
    """Make a user a member of an organization, or give a member another role."""
    _check_role(role)

    async def work() -> Membership:
        async with _opened(data_dir) as control_plane:
            scope = (await control_plane.organizations.get(organization)).scope
            found = await control_plane.users.get(email)
            members = {each.user_id for each in await control_plane.memberships.list_in(scope)}
            if found.id in members:
                return await control_plane.memberships.change_role(scope, found.id, role)
            return await control_plane.memberships.add(scope, found.id, role)

    _say_done(_member(asyncio.run(work())), f"{email} is {role} of {organization}", json)


@user.command("remove")
def remove_member(email: Email, organization: Org, data_dir: DataDir = None, json: Json = False) -> None:
    """End a membership; tokens that are out end within two seconds. The user stays."""

    async def work() -> dict[str, Any]:
        async with _opened(data_dir) as control_plane:
            scope = (await control_plane.organizations.get(organization)).scope
            found = await control_plane.users.get(email)
            await control_plane.memberships.remove(scope, found.id)
            return _user(found)

    _say_done(asyncio.run(work()), f"{email} is no member of {organization} any more", json)


@user.command("set-password")
def set_password(email: Email, password_stdin: FromStdin = False, data_dir: DataDir = None, json: Json = False) -> None:
    """Give a user another password, which ends all its logins."""
    password_hash = asyncio.run(_hashed(_password(email, password_stdin)))

    async def work() -> User:
        async with _opened(data_dir) as control_plane:
            found = await control_plane.users.get(email)
            return await control_plane.users.set_password_hash(found.id, password_hash)

    _say_done(_user(asyncio.run(work())), f"{email} has a new password", json)


@user.command("disable")
def disable(email: Email, data_dir: DataDir = None, json: Json = False) -> None:
    """Let a user log in no more; tokens that are out end within two seconds."""
    _say_done(_user(asyncio.run(_set_disabled(email, True, data_dir))), f"{email} is disabled", json)


@user.command("enable")
def enable(email: Email, data_dir: DataDir = None, json: Json = False) -> None:
    """Let a user log in again."""
    _say_done(_user(asyncio.run(_set_disabled(email, False, data_dir))), f"{email} may log in", json)


async def _set_disabled(email: str, disabled: bool, data_dir: DataDir) -> User:
    async with _opened(data_dir) as control_plane:
        found = await control_plane.users.get(email)
        return await control_plane.users.set_disabled(found.id, disabled)


def _opened(data_dir: DataDir) -> AbstractAsyncContextManager[ControlPlane]:
    return opened_control_plane(settings_of(data_dir), with_secrets=False, actor=command_line())


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise Refused(f"cannot use --role {role}: it is none of {', '.join(ROLES)}")


def _password(email: str, from_stdin: bool) -> str:
    """The password, from a pipe or a prompt that does not show it. Raises `Refused` for one that may not be chosen."""
    if from_stdin:
        password = sys.stdin.readline(1024).rstrip("\r\n")
    elif sys.stdin.isatty():
        password = str(typer.prompt("password", hide_input=True, confirmation_prompt=True, err=True))
    else:
        raise Refused("cannot read the password: standard input is no terminal; give --password-stdin")
    check_password(password, email)
    return password


async def _hashed(password: str) -> str:
    passwords = Passwords()
    try:
        return await passwords.hash(password)
    finally:
        passwords.close()


def _say_done(document: dict[str, Any], words: str, json: bool) -> None:
    if json:
        print_json(document)
    else:
        say(shown_fact(words))


def _user(found: User) -> dict[str, Any]:
    return {
        "user_id": found.id,
        "email": found.email,
        "name": found.name,
        "disabled": found.disabled,
        "created_at": shown_time(found.created_at),
    }


def _member(member: Membership) -> dict[str, Any]:
    return {
        "user_id": member.user_id,
        "email": member.email,
        "name": member.name,
        "disabled": member.disabled,
        "created_at": shown_time(member.created_at),
        "org_id": member.organization_id,
        "role": member.role,
    }
