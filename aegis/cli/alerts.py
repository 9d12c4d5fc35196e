"""aegis alerts: what monitors have decided, who was told of it, and ending it by hand, through the API."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from aegis.cli.asking import Org, Token, Url, ask, send
from aegis.cli.console import DataDir, Json, out, print_json, print_table, say, settings_of, shown_fact

_COLOURS = {"ALERT": "red", "WARN": "yellow", "NO_DATA": "magenta", "OK": "green"}

alerts = typer.Typer(help="What monitors have decided.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="an alert's id")]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.add_typer(alerts, name="alerts")


@alerts.command("list")
def show_list(
    monitor: Annotated[str | None, typer.Option(metavar="ID", help="of this monitor", show_default=False)] = None,
    state: Annotated[str | None, typer.Option(help="OK, WARN, ALERT or NO_DATA", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="also what is over")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 100,
    org: Org = None,
    url: Url = None,
    token: Token = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """List what goes on, newest first."""
    asked: dict[str, Any] = {"limit": limit, "open": str(not everything).lower()}
    asked |= {name: value for name, value in (("monitor_id", monitor), ("state", state)) if value is not None}
    found = ask(settings_of(data_dir), "/alerts", asked, org=org, url=url, token=token)
    if json:
        print_json(found)
        return
    rows = [
        (
            f"[{_COLOURS.get(each['state'], 'dim')}]{each['state']}[/]",
            shown_fact(each["monitor_name"]),
            shown_fact(each["group"]),
            shown_fact(each["value"]),
            shown_fact(each["threshold"]),
            each["started_at"],
            each["ended_at"],
            "yes" if each["acknowledged_at"] else "no",
            each["id"],
        )
        for each in found["alerts"]
    ]
    columns = ("state", "monitor", "group", "value", "threshold", "since", "until", "acknowledged", "id")
    print_table("alerts" if everything else "alerts that go on", columns, rows)


@alerts.command("show")
def show(
    alert: Id, org: Org = None, url: Url = None, token: Token = None, data_dir: DataDir = None, json: Json = False
) -> None:
    """Show an alert with its evidence, who was told of it, and why others were not."""
    found = ask(settings_of(data_dir), f"/alerts/{quote(alert, safe='')}", {}, org=org, url=url, token=token)
    if json:
        print_json(found)
        return
    told = found.pop("notifications")
    print_table("alert", ("", ""), [(name, shown_fact(value)) for name, value in found.items()])
    rows = [
        (
            shown_fact(each["channel_name"]),
            each["channel_kind"],
            each["repeat"],
            each["state"],
            shown_fact(each["reason"] or each["last_error"]),
            each["attempts"],
            each["finished_at"] or each["next_at"],
        )
        for each in told
    ]
    print_table("notifications", ("channel", "kind", "reminder", "state", "why", "tries", "at"), rows)
    if not told:
        out.print("nobody was told: the monitor has no channels, or had none")


@alerts.command("acknowledge")
def acknowledge(
    alert: Id, org: Org = None, url: Url = None, token: Token = None, data_dir: DataDir = None, json: Json = False
) -> None:
    """Say that somebody has seen it; reminders of it stop."""
    _mark("acknowledge", alert, org, url, token, data_dir, json)


@alerts.command("resolve")
def resolve(
    alert: Id, org: Org = None, url: Url = None, token: Token = None, data_dir: DataDir = None, json: Json = False
) -> None:
    """End it by hand; only new data raise it again."""
    _mark("resolve", alert, org, url, token, data_dir, json)


def _mark(
    what: str, alert: str, org: str | None, url: str | None, token: str | None, data_dir: Any, json: bool
) -> None:
    path = f"/alerts/{quote(alert, safe='')}/{what}"
    found = send(settings_of(data_dir), "POST", path, org=org, url=url, token=token)
    if json:
        print_json(found)
    else:
        say(f"{what}d: {shown_fact(found['monitor_name'])} {shown_fact(found['group'])}")
