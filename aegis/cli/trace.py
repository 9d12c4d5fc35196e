"""aegis trace: a trace's id -> its waterfall, asked of the query API over HTTP, as a tree or as the API's own JSON."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from urllib.parse import quote

import orjson
import typer
from rich.markup import escape
from rich.tree import Tree

from aegis.access import opened_control_plane, tokens
from aegis.cli.console import DataDir, Json, out, print_json, settings_of, shown_fact
from aegis.settings import Settings
from storage.organizations import Organization
from topics.errors import Refused, Unavailable

_TOKEN_LIFETIME_S = 60
_TIMEOUT_S = 60.0
# A screen has no room for more; what is deeper stands at this depth, and says how deep it is.
_DEPTH_MAX = 20


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command()(trace)


def trace(
    trace_id: Annotated[str, typer.Argument(help="in any of its forms")],
    org: Annotated[
        str | None, typer.Option(metavar="ORG", help="whose; not needed where there is one", show_default=False)
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="of the query API, by default this instance's", show_default=False)
    ] = None,
    token: Annotated[
        str | None, typer.Option(help="a bearer token, by default one for ORG is made", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="spans, from the oldest on")] = 1000,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Show a trace: its spans as a tree, with times, errors, and in bold what the root waited for."""
    settings = settings_of(data_dir)
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    asked = (
        f"{(url or f'http://{host}:{settings.port}').rstrip('/')}/query/traces/{quote(trace_id, safe='')}?limit={limit}"
    )
    found = _ask(asked, token or asyncio.run(_make_token(settings, org)))
    if json:
        print_json(found)
    else:
        _print_tree(found)


async def _make_token(settings: Settings, name: str | None) -> str:
    """A viewer's, for a minute."""
    issuer = tokens(settings)
    async with opened_control_plane(settings, with_secrets=False) as control_plane:
        if name is not None:
            owner = await control_plane.organizations.get(name)
        else:
            owner = _the_only(await control_plane.organizations.list_all())
    return issuer.issue(owner.scope, role="viewer", subject="cli", lifetime_s=_TOKEN_LIFETIME_S)


def _the_only(known: list[Organization]) -> Organization:
    if len(known) != 1:
        raise Refused(f"cannot tell whose trace: there are {len(known)} organizations; say --org ORG or --token TOKEN")
    return known[0]


def _ask(url: str, token: str) -> dict[str, Any]:
    """The API's answer. Raises `Refused` with its words, and `Unavailable` where there is none."""
    import httpx  # Imported here, because other commands shall start quickly.

    try:
        response = httpx.get(url, headers={"authorization": f"Bearer {token}"}, timeout=_TIMEOUT_S)
        answer = orjson.loads(response.content)
        if response.status_code == 200:
            return dict(answer)
        message = str(answer["error"]["message"])
    except httpx.InvalidURL as exc:
        raise Refused(f"cannot ask {url}: {exc}") from exc
    except httpx.HTTPError as exc:
        raise Unavailable(f"cannot ask {url}: {exc}") from exc
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as exc:
        raise Unavailable(f"cannot read the answer of {url}: it is not the query API's") from exc
    raise Refused(message) if response.status_code < 500 else Unavailable(message)


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
