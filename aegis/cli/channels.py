"""aegis channels: where an organization is told, how each does, and a test of it, through the API."""

from __future__ import annotations

from typing import Annotated

import typer

from aegis.cli.asking import Org, Token, Url, ask, send
from aegis.cli.console import DataDir, Json, print_json, print_table, say, settings_of, shown_fact
from topics.errors import Refused

channels = typer.Typer(help="Where people are told.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.add_typer(channels, name="channels")


@channels.command("list")
def show_list(
    org: Org = None, url: Url = None, token: Token = None, data_dir: DataDir = None, json: Json = False
) -> None:
    """List channels by name, with how each does."""
    found = ask(settings_of(data_dir), "/channels", {}, org=org, url=url, token=token)
    if json:
        print_json(found)
        return
    rows = [
        (
            shown_fact(each["name"]),
            each["kind"],
            shown_fact(each["config"].get("origin") or ", ".join(each["config"].get("to", []))),
            "off" if not each["enabled"] else "fails" if each["health"]["failures"] else "on",
            each["health"]["waiting"],
            each["health"]["last_sent_at"],
            shown_fact(each["health"]["last_error"]),
            each["id"],
        )
        for each in found["channels"]
    ]
    print_table("channels", ("name", "kind", "to", "state", "waiting", "last sent", "last error", "id"), rows)


@channels.command("test")
def try_channel(
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="a channel's id or name")],
    org: Org = None,
    url: Url = None,
    token: Token = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Send a test to a channel. Exit status 1 when the receiver does not take it."""
    settings = settings_of(data_dir)
    known = ask(settings, "/channels", {}, org=org, url=url, token=token)["channels"]
    ids = [each["id"] for each in known if channel in (each["id"], each["name"])]
    if not ids:
        raise Refused(f"there is no channel {channel!r}")
    done = send(settings, "POST", f"/channels/{ids[0]}/test", org=org, url=url, token=token)
    if json:
        print_json(done)
    elif done["ok"]:
        say(f"taken in {done['latency_ms']:.0f} ms")
    else:
        say(f"[red]not taken[/]: {shown_fact(done['error'])}")
    if not done["ok"]:
        raise typer.Exit(1)
