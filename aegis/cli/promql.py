"""aegis promql: a PromQL expression -> a table of values now, or over a range a line of bars a series; or the API's own JSON."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from aegis.cli.asking import Org, Token, Url, ask
from aegis.cli.console import DataDir, Json, print_json, print_table, say, settings_of, shown_fact, shown_moment
from topics.timestamps import parse_timestamp

_ROWS_MAX = 100
_BARS_MAX = 60
_BARS = "▁▂▃▄▅▆▇█"
_STEPS = 120


def add_to(app: typer.Typer) -> None:
    """Register the command of this file."""
    app.command("promql")(promql)


def promql(
    query: Annotated[str, typer.Argument(help="PromQL, as 'sum by (service) (rate(http_requests_total[5m]))'")],
    range_: Annotated[
        str | None, typer.Option("--range", help="how far back, as 1h30m; without it the values at one moment")
    ] = None,
    step: Annotated[str | None, typer.Option(help="of a range, as 30s [default: a part of it]")] = None,
    until: Annotated[str | None, typer.Option(help="the moment, or the range's end [default: now]")] = None,
    org: Org = None,
    url: Url = None,
    token: Token = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Ask for metrics with PromQL."""
    end_ms = int(time.time() * 1000) if until is None else parse_timestamp(until) // 1_000_000
    asked: dict[str, Any] = {"query": query}
    if range_ is None:
        asked["time"] = end_ms / 1000
    else:
        # Parsed here too, because commands start without the API's own modules.
        seconds = read_seconds("--range", range_)
        asked |= {
            "start": end_ms / 1000 - seconds,
            "end": end_ms / 1000,
            "step": step or max(1, math.ceil(seconds / _STEPS)),
        }
    found = ask(settings_of(data_dir), "/query/metrics", {}, body=asked, org=org, url=url, token=token)
    if json:
        print_json(found)
        return
    series = found["series"]
    if range_ is None:
        print_table(
            f"{shown_moment(end_ms)}", ("series", "value"),
            ((shown_labels(each["labels"]), each["points"][-1][1]) for each in series[:_ROWS_MAX]),
        )  # fmt: skip
    else:
        print_table(
            f"{shown_moment(int(asked['start'] * 1000))} to {shown_moment(end_ms)}",
            ("series", "", "least", "most", "last"),
            (_drawn(each, asked) for each in series[:_ROWS_MAX]),
        )
    if len(series) > _ROWS_MAX:
        say(f"{len(series) - _ROWS_MAX} more series: --json has all of them")
    for note in (*found.get("warnings", ()), *found.get("infos", ())):
        say(shown_fact(note))


def read_seconds(option: str, text: str) -> float:
    """A duration as Prometheus writes it -> seconds. Raises `Refused` naming the option."""
    from query.prometheus.parameters import read_duration  # Imported here, because other commands shall start quickly.

    return read_duration(option, text) / 1000


def shown_labels(labels: dict[str, str]) -> str:
    """Labels as PromQL writes them: `up{job="api"}`."""
    name = labels.get("__name__", "")
    rest = ", ".join(f'{key}="{text}"' for key, text in labels.items() if key != "__name__")
    return shown_fact(f"{name}{{{rest}}}" if rest or not name else name)


def _drawn(series: dict[str, Any], asked: dict[str, Any]) -> tuple[Any, ...]:
    points = [(ms, value) for ms, value in series["points"] if not isinstance(value, str)]
    if not points:
        return shown_labels(series["labels"]), "", None, None, series["points"][-1][1]
    values = [value for _, value in points]
    bars = draw_bars(points, int(asked["start"] * 1000), int(asked["end"] * 1000))
    return shown_labels(series["labels"]), bars, f"{min(values):.6g}", f"{max(values):.6g}", series["points"][-1][1]


def draw_bars(points: Sequence[tuple[int, float]], start_ms: int, end_ms: int) -> str:
    """(milliseconds, finite value) -> at most 60 bars of the means, from the least to the most; a space for no value."""
    sums: dict[int, list[float]] = {}
    width = max(1, end_ms - start_ms + 1)
    for ms, value in points:
        sums.setdefault(min((ms - start_ms) * _BARS_MAX // width, _BARS_MAX - 1), []).append(value)
    means = {place: math.fsum(each / len(values) for each in values) for place, values in sums.items()}
    least, most = min(means.values()), max(means.values())

    def bar(place: int) -> str:
        if place not in means:
            return " "
        # Halves, because the difference of two doubles may be infinite.
        share = (means[place] / 2 - least / 2) / (most / 2 - least / 2) if most > least else 0.5
        return _BARS[min(int(share * len(_BARS)), len(_BARS) - 1)]

    return "".join(bar(place) for place in range(_BARS_MAX)).rstrip()
