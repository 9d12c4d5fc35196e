"""aegis api-token, audit: what programs ask with, and who changed what."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from aegis.access import command_line, opened_control_plane
from aegis.cli.console import DataDir, Json, print_json, print_table, say, settings_of, shown_fact, shown_time
from query.api_token_text import new_api_token
from query.tokens import ROLES
from storage.api_tokens import ApiToken
from storage.audit import AuditEntry, AuditPage, AuditSelection
from topics.errors import Refused

api_token = typer.Typer(help="API tokens: what programs ask with, until they are revoked.", no_args_is_help=True)

Org = Annotated[str, typer.Argument(metavar="ORG", help="an organization's id or name")]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.add_typer(api_token, name="api-token")
    app.command()(audit)


@api_token.command("create")
def create_api_token(
    organization: Org,
    name: Annotated[str, typer.Option(help="what it is for")],
    role: Annotated[str, typer.Option(help=", ".join(ROLES))] = "viewer",
    expires_days: Annotated[
        int | None, typer.Option(min=1, max=3660, help="days until it expires [default: never]")
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Create an API token and show it, once."""
    if role not in ROLES:
        raise Refused(f"cannot create the token: --role {role} is none of {', '.join(ROLES)}")
    expires_at = None if expires_days is None else datetime.now(UTC) + timedelta(days=expires_days)
    text = new_api_token()

    async def work() -> ApiToken:
        async with opened_control_plane(settings_of(data_dir), with_secrets=False, actor=command_line()) as plane:
            scope = (await plane.organizations.get(organization)).scope
            return await plane.api_tokens.create(
                scope, name=name, role=role, prefix=text.prefix, secret_hash=text.secret_hash, expires_at=expires_at
            )

    made = asyncio.run(work())
    if json:
        print_json({"secret": str(text), **_token(made)})
    else:
        say("this is the only time that the token is shown; it goes into `Authorization: Bearer`:")
        print(text)


@api_token.command("list")
def list_api_tokens(organization: Org, data_dir: DataDir = None, json: Json = False) -> None:
    """List an organization's API tokens, without their secrets."""

    async def work() -> list[ApiToken]:
        async with opened_control_plane(settings_of(data_dir), with_secrets=False) as plane:
            return await plane.api_tokens.list_in((await plane.organizations.get(organization)).scope)

    found = [_token(each) for each in asyncio.run(work())]
    if json:
        print_json({"tokens": found, "next_cursor": None})
    else:
        columns = ("id", "prefix", "name", "role", "created_at", "expires_at", "last_used_at", "revoked_at")
        rows = [[None if each[column] is None else shown_fact(each[column]) for column in columns] for each in found]
        print_table("API tokens", columns, rows)


@api_token.command("revoke")
def revoke_api_token(
    organization: Org,
    token_id: Annotated[str, typer.Argument(metavar="ID", help="the token's id, as `api-token list` shows it")],
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Revoke an API token; it is refused within two seconds."""

    async def work() -> ApiToken:
        async with opened_control_plane(settings_of(data_dir), with_secrets=False, actor=command_line()) as plane:
            scope = (await plane.organizations.get(organization)).scope
            return await plane.api_tokens.revoke(scope, token_id)

    revoked = asyncio.run(work())
    if json:
        print_json(_token(revoked))
    else:
        say(f"revoked {revoked.prefix}")


def audit(
    organization: Org,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="entries, newest first")] = 50,
    cursor: Annotated[str | None, typer.Option(help="where the page before ended")] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Show who changed what of an organization."""

    async def work() -> AuditPage:
        async with opened_control_plane(settings_of(data_dir), with_secrets=False) as plane:
            scope = (await plane.organizations.get(organization)).scope
            return await plane.audit.list_in(scope, AuditSelection(limit=limit, cursor=cursor))

    page = asyncio.run(work())
    if json:
        print_json({"entries": [_entry(each) for each in page.entries], "next_cursor": page.next_cursor})
        return
    rows = [
        [
            shown_fact(cell)
            for cell in (
                shown_time(each.at),
                f"{each.actor_kind} {each.actor_name}".strip(),
                each.address,
                each.action,
                f"{each.object_kind} {each.object_name or each.object_id}",
                f"{dict(each.before)} -> {dict(each.after)}" if each.action == "update" else "",
            )
        ]
        for each in page.entries
    ]
    print_table("audit log", ("at", "who", "from", "did", "what", "how"), rows)


def _token(token: ApiToken) -> dict[str, Any]:
    return {
        "id": token.id,
        "org_id": token.organization_id,
        "prefix": token.prefix,
        "name": token.name,
        "role": token.role,
        "created_at": shown_time(token.created_at),
        "expires_at": shown_time(token.expires_at),
        "last_used_at": shown_time(token.last_used_at),
        "revoked_at": shown_time(token.revoked_at),
    }


def _entry(entry: AuditEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "at": shown_time(entry.at),
        "actor": {"kind": entry.actor_kind, "id": entry.actor_id, "name": entry.actor_name},
        "address": entry.address,
        "action": entry.action,
        "object": {"kind": entry.object_kind, "id": entry.object_id, "name": entry.object_name},
        "before": dict(entry.before),
        "after": dict(entry.after),
    }
