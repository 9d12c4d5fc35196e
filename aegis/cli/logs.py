"""aegis logs: a LogQL query and conditions -> an organization's logs as lines in colour, or as JSON, a log a line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final

import typer

from aegis.cli.asking import Org, Token, Url, ask
from aegis.cli.console import DataDir, out, print_json, say, settings_of, shown_fact
from aegis.cli.promql import read_seconds
from topics.timestamps import format_timestamp, parse_timestamp

_PAGE: Final = 1000
_FOLLOW_EVERY_S: Final = 1.0
# A sender's clock may be ahead by that much; the normalizer lets no more pass.
_AHEAD_S: Final = 600
_STYLES: Final = {
    "trace": "dim", "debug": "dim", "info": "green", "warn": "yellow", "error": "red", "fatal": "bold red",
}  # fmt: skip


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("logs")(logs)


def logs(
    query: Annotated[str | None, typer.Argument(help="""LogQL, as '{service="api"} |= "timeout"'""")] = None,
    since: Annotated[str, typer.Option(help="how far back, as 15m or 1h30m")] = "1h",
    until: Annotated[str | None, typer.Option(help="where to end [default: now]", show_default=False)] = None,
    service: Annotated[str | None, typer.Option(help="of this service alone", show_default=False)] = None,
    level: Annotated[str | None, typer.Option(help="of this level alone", show_default=False)] = None,
    search: Annotated[str | None, typer.Option(help="text in the message, in any case", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="the newest so many")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="then show what comes, until Ctrl-C")] = False,
    org: Org = None,
    url: Url = None,
    token: Token = None,
    data_dir: DataDir = None,
    json: Annotated[bool, typer.Option("--json", help="print a JSON object a line, as the API has it")] = False,
) -> None:
    """Show logs, the oldest of them first."""
    now = time.time()
    end = now + _AHEAD_S if until is None else parse_timestamp(until) / 1e9
    begin = (now if until is None else end) - read_seconds("--since", since)
    conditions = {"query": query, "service": service, "level": level, "search": search}
    settings = settings_of(data_dir)
    given = {name: value for name, value in conditions.items() if value is not None}

    def page(**of: Any) -> dict[str, Any]:
        return ask(settings, "/query/logs/search", {}, body={**given, **of}, org=org, url=url, token=token)

    asking = LogPages(page)
    shown = asking.newest(begin, end, limit)
    for log in shown:
        _print(log, json)
    if not shown and not follow:
        say(f"no logs in {since} up to {until or 'now'}")
    if follow:
        for log in asking.coming(shown, begin):
            _print(log, json)


class LogPages:
    """Searches with the same conditions, one after the other; `page` asks for start, end, order, limit and cursor."""

    def __init__(self, page: Callable[..., dict[str, Any]], *, wait: Callable[[float], None] = time.sleep) -> None:
        self._page = page
        self._wait = wait

    def newest(self, begin: float, end: float, limit: int) -> list[dict[str, Any]]:
        """The newest `limit` logs between two times in seconds, the oldest of them first."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while len(found) < limit:
            page = self._page(
                start=_shown(begin),
                end=_shown(end),
                limit=min(_PAGE, limit - len(found)),
                cursor=cursor,
                order="newest",
            )
            found += page["logs"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        return found[::-1]

    def coming(self, shown: list[dict[str, Any]], begin: float) -> Iterator[dict[str, Any]]:
        """Every log from the last of `shown` on, for ever; one that comes late, older than what was shown, is not among them."""
        last = shown[-1]["timestamp"] if shown else _shown(begin)
        # What has the same time as the last one is asked for again, as more may come of it.
        seen = {log["id"] for log in shown if log["timestamp"] == last}
        cursor: str | None = None
        start = last
        while True:
            page = self._page(
                start=start, end=_shown(time.time() + _AHEAD_S), limit=_PAGE, cursor=cursor, order="oldest"
            )
            for log in page["logs"]:
                if log["timestamp"] != last:
                    last, seen = log["timestamp"], set()
                if log["id"] not in seen:
                    seen.add(log["id"])
                    yield log
            cursor = page["next_cursor"]
            if cursor is None:
                start = last
                self._wait(_FOLLOW_EVERY_S)


def _shown(seconds: float) -> str:
    """As text, because a number could be taken for another unit."""
    return format_timestamp(max(0, int(seconds * 1e9)))


def _print(log: Mapping[str, Any], json: bool) -> None:
    if json:
        print_json(log)
        return
    style = _STYLES.get(log["level"], "cyan")
    level = f"[{style}]{shown_fact(log['level']):<5}[/]"
    trace = f"  [dim]{shown_fact(log['trace_id'])}[/]" if log["trace_id"] else ""
    facts = f"  [dim]{shown_fact(_short(log['attributes']))}[/]" if log["attributes"] else ""
    out.print(
        f"[dim]{log['timestamp']}[/]  {level}  [bold]{shown_fact(log['service'])}[/]  {shown_fact(log['message'])}{trace}{facts}",
        soft_wrap=True,
        highlight=False,
    )


def _short(attributes: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in attributes.items())[:300]
