"""aegis services: the last minutes or days -> rate, errors and durations of every service, and who calls whom."""

from __future__ import annotations

import re
import time
from typing import Annotated, Any

import typer

from aegis.cli.asking import Org, Token, Url, ask
from aegis.cli.console import DataDir, Json, print_json, print_table, settings_of, shown_fact
from topics.errors import Refused
from topics.timestamps import format_timestamp, parse_timestamp

_UNIT_S = {"m": 60, "h": 3600, "d": 86400}
# Up to here the spans themselves are asked, which know minutes; beyond it whole hours are.
_BY_THE_MINUTE_S = 6 * 3600
_FIGURES = ("per s", "errors", "mean ms", "p50 ms", "p95 ms", "p99 ms")


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("services")(show_services)


def show_services(
    last: Annotated[str, typer.Option(help="how far back: minutes, hours or days, as 15m, 1h, 7d")] = "1h",
    until: Annotated[str | None, typer.Option(help="end of that time, as 2025-10-31T13:00:00Z [default: now]")] = None,
    calls: Annotated[bool, typer.Option("--calls", help="who calls whom, in place of the services alone")] = False,
    org: Org = None,
    url: Url = None,
    token: Token = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Show how services do: requests a second, share of errors, durations."""
    seconds = read_duration(last)
    settings = settings_of(data_dir)
    end_ns = time.time_ns() if until is None else parse_timestamp(until)
    asked = {"start": format_timestamp(end_ns - seconds * 10**9), "end": format_timestamp(end_ns)}
    if calls:
        found = ask(settings, "/query/service-map", asked, org=org, url=url, token=token)
    else:
        step = {"step": "1m"} if seconds <= _BY_THE_MINUTE_S else {}
        found = ask(settings, "/query/services", asked | step, org=org, url=url, token=token)
    if json:
        print_json(found)
    elif calls:
        rows = [(shown_fact(edge["caller"]), _called(edge), *_figures(edge)) for edge in found["edges"]]
        print_table(f"calls since {found['start']}", ("caller", "called", *_FIGURES), rows)
    else:
        rows = [(shown_fact(each["service"]), *_figures(each)) for each in found["services"]]
        print_table(f"services since {found['start']}", ("service", *_FIGURES), rows)


def read_duration(text: str) -> int:
    """`15m`, `1h`, `7d` -> seconds. Raises `Refused` for anything else."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", text)
    if found is None:
        raise Refused(f"cannot read --last {text}: it is no number of minutes, hours or days, as 15m, 1h, 7d")
    return int(found[1]) * _UNIT_S[found[2]]


def _called(edge: dict[str, Any]) -> str:
    return shown_fact(edge["callee"]) + (" (inferred)" if edge["inferred_count"] else "")


def _figures(red: dict[str, Any]) -> tuple[str, ...]:
    durations = (red[name] for name in ("mean_ms", "p50_ms", "p95_ms", "p99_ms"))
    shown = ("-" if ms is None else f"{ms:.4g}" for ms in durations)
    return f"{red['rate_per_s']:.3g}", f"{red['error_share']:.2%}", *shown
