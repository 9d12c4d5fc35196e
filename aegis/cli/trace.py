"""aegis trace: a trace's id -> its waterfall, asked of the query API over HTTP, as a tree or as the API's own JSON."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.markup import escape
from rich.tree import Tree

from aegis.cli.asking import Org, Token, Url, ask
from aegis.cli.console import DataDir, Json, out, print_json, settings_of, shown_fact

# A screen has no room for more; what is deeper stands at this depth, and says how deep it is.
_DEPTH_MAX = 20


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command()(trace)


def trace(
    trace_id: Annotated[str, typer.Argument(help="in any of its forms")],
    org: Org = None,
    url: Url = None,
    token: Token = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="spans, from the oldest on")] = 1000,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Show a trace: its spans as a tree, with times, errors, and in bold what the root waited for."""
    path = f"/query/traces/{quote(trace_id, safe='')}"
    found = ask(settings_of(data_dir), path, {"limit": limit}, org=org, url=url, token=token)
    if json:
        print_json(found)
    else:
        _print_tree(found)


def _print_tree(found: dict[str, Any]) -> None:
    cut = " (its oldest spans)" if found["truncated"] else ""
    top = Tree(
        f"{shown_fact(found['trace_id'])}  {found['start_time']}  {found['duration_ms']:.3f} ms,"
        f" {found['span_count']} spans{cut}, {found['errors']} errors"
    )
    # The branches from the top down to the span before.
    branches = [top]
    for span in found["spans"]:
        level = min(span["depth"], _DEPTH_MAX)
        del branches[level + 1 :]
        branches.append(branches[level].add(_line(span)))
    out.print(top)
    for log in found["logs"]:
        out.print(
            f"{log['timestamp']}  {shown_fact(log['level'])}  {shown_fact(log['service'])}  {shown_fact(log['message'])}"
        )
    if found["logs_truncated"]:
        out.print(f"more logs than these {len(found['logs'])}: POST /query/logs/search with this trace_id")


def _line(span: dict[str, Any]) -> str:
    name = f"{shown_fact(span['service'])}  {shown_fact(span['operation'])}"
    facts = [f"at {span['offset_ms']:.3f} ms", f"{span['duration_ms']:.3f} ms", f"self {span['self_time_ms']:.3f} ms"]
    if span["depth"] > _DEPTH_MAX:
        facts.append(f"depth {span['depth']}")
    facts += [escape(problem.replace("_", " ")) for problem in span["problems"]]
    failed = f"  [red]error {shown_fact(span['status_message'] or '')}[/]" if span["status"] == "error" else ""
    return f"{f'[bold]{name}[/]' if span['critical_path'] else name}  {', '.join(facts)}{failed}"
