"""aegis privacy show, set, try: what an organization chose to do with personal data, and what that would do to a sample."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from aegis.access import command_line, opened_control_plane
from aegis.cli.console import DataDir, Json, print_json, print_table, say, settings_of
from privacy.explain import explain
from privacy.policy import Policy, policy_text, read_policy
from storage.organization_settings import check_settings
from storage.organizations import Organization
from topics.errors import Refused

SAMPLE_BYTES_MAX = 1 << 20

privacy = typer.Typer(help="What happens to personal data before it is stored.", no_args_is_help=True)

Org = Annotated[str, typer.Argument(metavar="ORG", help="an organization's id or name")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="a file, or - for standard input", allow_dash=True)]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.add_typer(privacy, name="privacy")


@privacy.command("show")
def show(organization: Org, data_dir: DataDir = None) -> None:
    """Print the organization's policy as JSON; what is not in it is as by default."""
    found = asyncio.run(_organization(organization, data_dir))
    print_json(msgspec.json.decode(policy_text(_policy(found))))


@privacy.command("set")
def change(organization: Org, file: File, data_dir: DataDir = None, json: Json = False) -> None:
    """Give the organization another policy (docs/privacy.md). Workers follow within five seconds; what is stored stays."""
    policy = read_policy(_read(file))

    async def work() -> Organization:
        async with opened_control_plane(
            settings_of(data_dir), with_secrets=False, actor=command_line()
        ) as control_plane:
            found = await control_plane.organizations.get(organization)
            settings = {**found.settings, "privacy": msgspec.to_builtins(policy)}
            return await control_plane.organizations.update(found.scope, settings=settings)

    changed = asyncio.run(work())
    if json:
        print_json({"organization": changed.id, "privacy": msgspec.to_builtins(_policy(changed))})
    else:
        say(f"organization [bold]{changed.name}[/] has a new privacy policy; workers follow within five seconds")


@privacy.command("try")
def try_policy(
    file: File,
    org: Annotated[str | None, typer.Option(help="use this organization's policy [default: the default one]")] = None,
    policy: Annotated[Path | None, typer.Option(help="use the policy of this file")] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Say what a policy would do to a sample: a JSON document, or any text. Nothing is stored or changed."""
    if org is not None and policy is not None:
        raise Refused("cannot choose a policy: give --org or --policy, not both")
    chosen = Policy()
    if policy is not None:
        chosen = read_policy(_read(policy))
    elif org is not None:
        chosen = _policy(asyncio.run(_organization(org, data_dir)))
    found = explain(chosen, _sample(_read(file)))
    if json:
        print_json({"findings": [msgspec.to_builtins(each) for each in found]})
    elif found:
        rows = [(each.rule, each.path, each.before, each.after) for each in found]
        print_table("what would be replaced", ("rule", "where", "found", "stored instead"), rows)
    else:
        say("nothing would be replaced")


async def _organization(organization: str, data_dir: Path | None) -> Organization:
    async with opened_control_plane(settings_of(data_dir), with_secrets=False) as control_plane:
        return await control_plane.organizations.get(organization)


def _policy(organization: Organization) -> Policy:
    return check_settings(organization.settings).privacy


def _read(file: Path) -> bytes:
    try:
        data = sys.stdin.buffer.read(SAMPLE_BYTES_MAX + 1) if str(file) == "-" else file.read_bytes()
    except OSError as exc:
        raise Refused(f"cannot read {file}: {exc.strerror}") from exc
    if len(data) > SAMPLE_BYTES_MAX:
        raise Refused(f"cannot read {file}: more than {SAMPLE_BYTES_MAX} bytes")
    return data


def _sample(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return data.decode("utf-8", "replace")
