"""aegis org, key, token: who may send and who may ask."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
import typer

from aegis.access import command_line, opened_control_plane, tokens
from aegis.cli.console import DataDir, Json, print_json, print_table, say, settings_of, shown_time
from query.tokens import ROLES, Role
from storage.api_keys import SIGNAL_SCOPES, ApiKey
from storage.organizations import Organization
from topics.errors import Refused

org = typer.Typer(help="Organizations: the tenants.", no_args_is_help=True)
key = typer.Typer(help="API keys: what programs sign their requests with.", no_args_is_help=True)

Org = Annotated[str, typer.Argument(metavar="ORG", help="an organization's id or name")]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.add_typer(org, name="org")
    app.add_typer(key, name="key")
    app.command()(token)


@org.command("create")
def create_organization(
    name: Annotated[str, typer.Argument(help="1 to 100 characters, unique")],
    retention_days: Annotated[int, typer.Option(help="days that records are kept")] = 30,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Create an organization."""

    async def work() -> Organization:
        async with opened_control_plane(
            settings_of(data_dir), with_secrets=False, actor=command_line()
        ) as control_plane:
            return await control_plane.organizations.create(name, retention_days=retention_days)

    made = asyncio.run(work())
    if json:
        print_json(_organization(made))
    else:
        say(f"created organization [bold]{made.name}[/], id {made.id}; next: aegis key create {made.id}")


@org.command("list")
def list_organizations(data_dir: DataDir = None, json: Json = False) -> None:
    """List the organizations."""

    async def work() -> list[Organization]:
        async with opened_control_plane(settings_of(data_dir), with_secrets=False) as control_plane:
            return await control_plane.organizations.list_all()

    found = asyncio.run(work())
    if json:
        print_json({"organizations": [_organization(each) for each in found], "next_cursor": None})
    else:
        rows = [(each.id, each.name, each.retention_days, shown_time(each.created_at)) for each in found]
        print_table("organizations", ("id", "name", "retention days", "created"), rows)


@org.command("set")
def change_organization(
    organization: Org,
    retention_days: Annotated[int | None, typer.Option(help="days that records are kept from now on")] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(min=0, help="its own rate limit; 0 for the installation's default")
    ] = None,
    require_signed_time: Annotated[
        bool | None, typer.Option(help="accept only signatures that cover x-timestamp (v2=)", show_default=False)
    ] = None,
    query_limits: Annotated[
        str | None, typer.Option(help='its own limits of questions, as JSON: {"viewer": {"seconds": 5}}; {} for none')
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Change an organization's retention, limits or signature scheme. Gateways follow within two seconds."""

    async def work() -> Organization:
        async with opened_control_plane(
            settings_of(data_dir), with_secrets=False, actor=command_line()
        ) as control_plane:
            found = await control_plane.organizations.get(organization)
            ingest = dict(found.settings.get("ingest", {}))
            if requests_per_minute is not None:
                ingest["requests_per_minute"] = requests_per_minute or None
            if require_signed_time is not None:
                ingest["require_signed_time"] = require_signed_time
            settings = {**found.settings, "ingest": ingest}
            if query_limits is not None:
                settings["query"] = _read_json(query_limits)
            return await control_plane.organizations.update(
                found.scope, retention_days=retention_days, settings=settings
            )

    changed = asyncio.run(work())
    if json:
        print_json(_organization(changed))
    else:
        say(f"organization [bold]{changed.name}[/] keeps {changed.retention_days} days; {dict(changed.settings)}")


@key.command("create")
def create_key(
    organization: Org,
    name: Annotated[str, typer.Option(help="what it is for")] = "",
    signal: Annotated[
        list[str] | None, typer.Option(help="logs, metrics, traces or rum; repeat for several [default: all]")
    ] = None,
    expires_days: Annotated[
        int | None, typer.Option(min=1, max=36500, help="days until it expires [default: never]")
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Create an API key and show its secret, once."""
    scopes = SIGNAL_SCOPES if not signal else tuple(f"{each}:write" for each in signal)
    unknown = [scope for scope in scopes if scope not in SIGNAL_SCOPES]
    if unknown:
        raise Refused(
            f"cannot create the key: --signal {unknown[0].partition(':')[0]} is none of logs, metrics, traces, rum"
        )
    expires_at = None if expires_days is None else datetime.now(UTC) + timedelta(days=expires_days)

    async def work() -> dict[str, Any]:
        async with opened_control_plane(
            settings_of(data_dir), with_secrets=True, actor=command_line()
        ) as control_plane:
            owner = await control_plane.organizations.get(organization)
            made = await control_plane.api_keys.create(owner.scope, name=name, scopes=scopes, expires_at=expires_at)
            return {"org_key": made.key.prefix, "secret": made.secret, **_key(made.key)}

    made = asyncio.run(work())
    if json:
        print_json(made)
    else:
        say("this is the only time that the secret is shown:")
        print_table("API key", ("x-org-key", "secret"), [(made["org_key"], made["secret"])])


@key.command("list")
def list_keys(organization: Org, data_dir: DataDir = None, json: Json = False) -> None:
    """List an organization's API keys, without their secrets."""

    async def work() -> list[ApiKey]:
        async with opened_control_plane(settings_of(data_dir), with_secrets=False) as control_plane:
            owner = await control_plane.organizations.get(organization)
            return await control_plane.api_keys.list_in(owner.scope)

    found = asyncio.run(work())
    if json:
        print_json({"keys": [_key(each) for each in found], "next_cursor": None})
    else:
        rows = [
            (
                each.prefix,
                each.name,
                " ".join(scope.partition(":")[0] for scope in each.scopes),
                shown_time(each.created_at),
                shown_time(each.expires_at),
                shown_time(each.revoked_at),
            )
            for each in found
        ]
        print_table("API keys", ("prefix", "name", "signals", "created", "expires", "revoked"), rows)


@key.command("revoke")
def revoke_key(
    prefix: Annotated[str, typer.Argument(help="the key, as sent in x-org-key")],
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Revoke an API key; every gateway refuses it within two seconds."""

    async def work() -> ApiKey:
        async with opened_control_plane(
            settings_of(data_dir), with_secrets=False, actor=command_line()
        ) as control_plane:
            return await control_plane.api_keys.revoke_any(prefix)

    revoked = asyncio.run(work())
    if json:
        print_json(_key(revoked))
    else:
        say(f"revoked {revoked.prefix}")


def token(
    organization: Org,
    role: Annotated[str, typer.Option(help=", ".join(ROLES))] = "viewer",
    hours: Annotated[int, typer.Option(min=1, max=24 * 366, help="how long it is valid")] = 24,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Issue a bearer token for the query API, good until it expires; one that can be revoked is made by `aegis api-token`."""
    known: dict[str, Role] = {each: each for each in ROLES}
    if role not in known:
        raise Refused(f"cannot issue a token: --role {role} is none of {', '.join(ROLES)}")
    settings = settings_of(data_dir)
    issuer = tokens(settings)

    async def work() -> Organization:
        async with opened_control_plane(settings, with_secrets=False) as control_plane:
            return await control_plane.organizations.get(organization)

    owner = asyncio.run(work())
    issued = issuer.issue(owner.scope, role=known[role], subject="cli", lifetime_s=hours * 3600)
    expires_at = datetime.now(UTC) + timedelta(hours=hours)
    if json:
        print_json({"token": issued, "org_id": owner.id, "role": role, "expires_at": shown_time(expires_at)})
    else:
        print(issued)


def _read_json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as exc:
        raise Refused(f"cannot read --query-limits: {exc}", code="invalid_field", path="query_limits") from None


def _organization(organization: Organization) -> dict[str, Any]:
    return {
        "id": organization.id,
        "org_id": organization.id,
        "name": organization.name,
        "retention_days": organization.retention_days,
        "created_at": shown_time(organization.created_at),
    }


def _key(key: ApiKey) -> dict[str, Any]:
    return {
        "org_id": key.organization_id,
        "prefix": key.prefix,
        "name": key.name,
        "scopes": list(key.scopes),
        "created_at": shown_time(key.created_at),
        "expires_at": shown_time(key.expires_at),
        "revoked_at": shown_time(key.revoked_at),
    }
