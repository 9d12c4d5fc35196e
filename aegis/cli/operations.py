"""aegis status, doctor, demo: looking after what runs, and giving it something to do."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from aegis.cli.console import DataDir, Json, err, print_json, print_table, say, settings_of
from topics.errors import Refused

_MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "wrong": "[red]wrong[/]"}


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    for command in (status, doctor, demo):
        app.command()(command)


def status(data_dir: DataDir = None, json: Json = False) -> None:
    """Show the processes of a running `aegis up`, and those of `--processes N`: pid, uptime, restarts and health."""
    from aegis.instance import read_instance  # Imported here, so that other commands start quickly.

    instance = asyncio.run(read_instance(settings_of(data_dir).data_dir))
    if json:
        print_json(instance)
    else:
        rows = [
            tuple(each[column] for column in ("name", "port", "pid", "state", "uptime_s", "restarts", "health"))
            for each in instance["processes"]
        ]
        columns = ("process", "port", "pid", "state", "uptime s", "restarts", "health")
        print_table(f"aegis on {instance['url']}" if instance["url"] else "aegis", columns, rows)


def doctor(data_dir: DataDir = None, json: Json = False) -> None:
    """Look at the settings and at everything they name, and say in words what is wrong. Exit status 1 if anything is."""
    from aegis.doctor import examine  # As above.

    findings = asyncio.run(examine(settings_of(data_dir)))
    if json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        rows = [(_MARKS[each.state], each.subject, each.found, each.remedy) for each in findings]
        print_table("aegis doctor", ("", "what", "found", "what to do"), rows)
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(1)


def demo(
    rate: Annotated[int, typer.Option(min=1, max=200_000, help="logs a second")] = 200,
    seconds: Annotated[float, typer.Option(min=0, help="how long; 0 means until Ctrl-C")] = 0,
    batch: Annotated[int, typer.Option(min=1, max=1000, help="most logs a request")] = 100,
    url: Annotated[str | None, typer.Option(help="gateway [default: the running instance]", show_default=False)] = None,
    org_key: Annotated[
        str | None, typer.Option(help="API key [default: the development key]", show_default=False)
    ] = None,
    secret: Annotated[str | None, typer.Option(help="its secret", show_default=False)] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Send realistic logs, metrics, traces and RUM events of a small web shop, signed, at a steady rate of logs."""
    if (org_key is None) != (secret is None):
        raise Refused("cannot send: give --org-key and --secret together, or neither")
    summary = asyncio.run(_send_demo(data_dir, rate, seconds, batch, url, org_key, secret))
    if json:
        print_json(summary)
    else:
        say(
            f"sent {summary['accepted']} logs in {summary['seconds']} s, {summary['logs_per_second']} a second, with "
            f"{summary['metrics']} metric points, {summary['spans']} spans and {summary['rum']} RUM events"
        )


async def _send_demo(
    data_dir: Any, rate: int, seconds: float, batch: int, url: str | None, org_key: str | None, secret: str | None
) -> dict[str, Any]:
    from aegis.client import IngestClient  # As above.
    from aegis.demo import ShopTraffic
    from aegis.instance import development_credentials, read_instance

    settings = settings_of(data_dir)
    if url is None:
        url = (await read_instance(settings.data_dir))["url"]
        if url is None:
            raise Refused("cannot send: no `aegis up` runs here; name a gateway with --url", code="not_running")
    if org_key is None or secret is None:
        development = await development_credentials(settings)
        org_key, secret = development.org_key, development.secret
    shop = ShopTraffic()
    begin, accepted = time.monotonic(), 0
    beside = dict.fromkeys(("metrics", "spans", "rum"), 0)
    columns = (
        TextColumn("[bold]sending logs"),
        BarColumn(),
        TextColumn("{task.completed:,} accepted, {task.fields[rate]:,.0f} a second"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        bar = progress.add_task("", total=rate * seconds or None, rate=0.0)
        # Without idempotency keys, as an endless demo would use all that an organization may have within a day.
        async with IngestClient(url, org_key=org_key, secret=secret, keyed=False) as client:
            try:
                while not seconds or accepted < rate * seconds:
                    size = min(batch, rate, int(rate * seconds) - accepted if seconds else batch)
                    traffic = shop.batch(size, now_ns=time.time_ns())
                    accepted += (await client.send_logs(traffic.logs)).accepted
                    beside["metrics"] += (await client.send_metrics(traffic.metrics)).accepted
                    beside["spans"] += (await client.send_spans(traffic.spans)).accepted
                    beside["rum"] += (await client.send_rum(traffic.rum)).accepted
                    elapsed = time.monotonic() - begin
                    progress.update(bar, completed=accepted, rate=accepted / max(elapsed, 0.001))
                    await asyncio.sleep(max(0.0, accepted / rate - elapsed))
            except asyncio.CancelledError:
                pass  # Ctrl-C is how an endless demo ends: say what was sent.
    elapsed = time.monotonic() - begin
    return {
        "accepted": accepted,
        **beside,
        "seconds": round(elapsed, 2),
        "logs_per_second": round(accepted / max(elapsed, 0.001)),
    }
