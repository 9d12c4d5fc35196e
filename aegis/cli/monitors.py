"""aegis monitors: what is watched, listed, shown, created from files, muted and deleted, through the API."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
import yaml

from aegis.cli.asking import Org, Token, Url, ask, fetch_text, send
from aegis.cli.console import DataDir, Json, out, print_json, print_table, say, settings_of, shown_fact
from topics.errors import Refused

_FILE_BYTES_MAX = 1 << 20

monitors = typer.Typer(help="What is watched.", no_args_is_help=True)

Named = Annotated[str, typer.Argument(metavar="MONITOR", help="a monitor's id or name")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="YAML or JSON, or - for standard input", allow_dash=True)]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.add_typer(monitors, name="monitors")


@monitors.command("list")
def show_list(
    org: Org = None, url: Url = None, token: Token = None, data_dir: DataDir = None, json: Json = False
) -> None:
    """List monitors by name."""
    found = _all(data_dir, org, url, token)
    if json:
        print_json({"monitors": found})
        return
    rows = [
        (
            shown_fact(each["name"]),
            each["kind"],
            shown_fact(each.get("aggregation")),
            f"{each['comparison']} {each['critical']:g}",
            f"{each['window_s']} s",
            "muted" if each["muted"] else "on" if each["enabled"] else "off",
            each["id"],
        )
        for each in found
    ]
    print_table("monitors", ("name", "kind", "aggregation", "critical", "window", "state", "id"), rows)


@monitors.command("show")
def show(
    monitor: Named, org: Org = None, url: Url = None, token: Token = None, data_dir: DataDir = None, json: Json = False
) -> None:
    """Show a monitor's definition."""
    found = _one(monitor, data_dir, org, url, token)
    if json:
        print_json(found)
    else:
        out.print(shown_fact(yaml.safe_dump(found, sort_keys=False, allow_unicode=True)), highlight=False, end="")


@monitors.command("create")
def create(
    file: File, org: Org = None, url: Url = None, token: Token = None, data_dir: DataDir = None, json: Json = False
) -> None:
    """Create one monitor from its definition in a file."""
    try:
        definition = yaml.safe_load(_read(file))
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise Refused(f"cannot read {file}: it is not YAML") from exc
    made = send(settings_of(data_dir), "POST", "/monitors", body=definition, org=org, url=url, token=token)
    if json:
        print_json(made)
    else:
        say(f"monitor [bold]{shown_fact(made['name'])}[/] is there: {made['id']}")


@monitors.command("import")
def take_in(
    file: File,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would change, change nothing")] = False,
    org: Org = None,
    url: Url = None,
    token: Token = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Create and change monitors by name from a file that `export` wrote; others stay."""
    asked = {"dry_run": str(dry_run).lower()}
    done = send(
        settings_of(data_dir),
        "POST",
        "/monitors/import",
        content=_read(file),
        parameters=asked,
        org=org,
        url=url,
        token=token,
    )
    if json:
        print_json(done)
        return
    would = "would be " if dry_run else ""
    for what in ("created", "updated"):
        for name in done[what]:
            say(f"{would}{what}: {shown_fact(name)}")
    say(f"unchanged: {len(done['unchanged'])}")


@monitors.command("export")
def give_out(org: Org = None, url: Url = None, token: Token = None, data_dir: DataDir = None) -> None:
    """Print all monitors as YAML."""
    sys.stdout.write(fetch_text(settings_of(data_dir), "/monitors/export", org=org, url=url, token=token))


@monitors.command("delete")
def delete(monitor: Named, org: Org = None, url: Url = None, token: Token = None, data_dir: DataDir = None) -> None:
    """Delete a monitor; its alerts stay."""
    found = _one(monitor, data_dir, org, url, token)
    send(settings_of(data_dir), "DELETE", f"/monitors/{found['id']}", org=org, url=url, token=token)
    say(f"monitor [bold]{shown_fact(found['name'])}[/] is gone")


@monitors.command("mute")
def mute(
    monitor: Named,
    until: Annotated[
        str | None, typer.Option(help="a time, by default until it is unmuted", show_default=False)
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="unmute it")] = False,
    org: Org = None,
    url: Url = None,
    token: Token = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Mute a monitor, or with --off unmute it: it is watched on, and nobody is told."""
    if off and until is not None:
        raise Refused("cannot mute: --off and --until contradict each other")
    found = _one(monitor, data_dir, org, url, token)
    path = f"/monitors/{found['id']}/{'unmute' if off else 'mute'}"
    body = None if off else {"until": until}
    done = send(settings_of(data_dir), "POST", path, body=body, org=org, url=url, token=token)
    if json:
        print_json(done)
    else:
        say(
            f"monitor [bold]{shown_fact(found['name'])}[/] is {'unmuted' if off else 'muted'}"
            + (f" until {done['until']}" if done["until"] else "")
        )


def _all(data_dir: Path | None, org: str | None, url: str | None, token: str | None) -> list[dict[str, Any]]:
    settings = settings_of(data_dir)
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        asked = {"limit": 1000} | ({"cursor": cursor} if cursor else {})
        page = ask(settings, "/monitors", asked, org=org, url=url, token=token)
        found += page["monitors"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def _one(named: str, data_dir: Path | None, org: str | None, url: str | None, token: str | None) -> dict[str, Any]:
    """A monitor by its id or name. Raises `Refused` when there is none."""
    for each in _all(data_dir, org, url, token):
        if named in (each["id"], each["name"]):
            return ask(settings_of(data_dir), f"/monitors/{quote(each['id'])}", {}, org=org, url=url, token=token)
    raise Refused(f"there is no monitor {named!r}")


def _read(file: Path) -> bytes:
    try:
        data = sys.stdin.buffer.read(_FILE_BYTES_MAX + 1) if str(file) == "-" else file.read_bytes()
    except OSError as exc:
        raise Refused(f"cannot read {file}: {exc.strerror}") from exc
    if len(data) > _FILE_BYTES_MAX:
        raise Refused(f"cannot read {file}: more than {_FILE_BYTES_MAX} bytes")
    return data
