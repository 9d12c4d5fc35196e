"""The rows of one organization's tables in; an assertion that the views over them say exactly the same.

What the views must hold is computed here from the rows, in Python, and not with the views' own SQL.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

from running_instance import read_metrics

from aegis.settings import load_settings
from aegis.wiring import opened_clickhouse
from storage.hourly import HourlyStore
from storage.scope import OrgScope

_HOUR_NS = 3600 * 10**9
_FOR_EVER_NS = {"start_ns": 0, "end_ns": 4_000_000_000 * 10**9}
# Signal -> its table, the columns that make a row of its view together with the hour, and those that are counted.
_HOURLY = {
    "logs": ("logs", ("service", "level"), ("length(message) + length(attributes)",)),
    "traces": ("spans", ("service", "operation", "kind"), ("duration_ns", "status")),
    "rum": ("rum_events", ("type", "page_path", "name"), ("value", "error_type")),
}
_STEPS_S = {"metrics_1m": 60, "metrics_5m": 300, "metrics_1h": 3600}


def check_views(organization: Any, signal: str) -> int:
    """Compare; returns how many records stand in each view."""
    return check_rollups(organization) if signal == "metrics" else check_hours(organization, signal)


def check_hours(organization: Any, signal: str) -> int:
    table, keys, counted = _HOURLY[signal]
    rows = organization.read_table(table, ", ".join(("toUnixTimestamp64Nano(ts)", *keys, *counted)))
    groups: dict[tuple[Any, ...], list[list[Any]]] = defaultdict(list)
    for ts_ns, *rest in rows:
        groups[(ts_ns // _HOUR_NS * 3600, *rest[: len(keys)])].append(rest[len(keys) :])
    summarize = {"logs": _logs, "traces": _spans, "rum": _events}[signal]
    expected = {key: summarize(key, list(zip(*group, strict=True))) for key, group in groups.items()}
    said = {hour[: len(keys) + 1]: hour[len(keys) + 1 :] for hour in asyncio.run(_hours(organization, signal))}
    assert said.keys() == expected.keys(), f"the hours of {signal} are others than those of its table"
    for key, figures in expected.items():
        assert said[key] == figures, f"{signal} of {key}: the view says {said[key]}, the table {figures}"
    return sum(figures[0] for figures in said.values())


async def _hours(organization: Any, signal: str) -> list[tuple[Any, ...]]:
    async with opened_clickhouse(load_settings(organization.instance.data_dir)) as clickhouse:
        store = HourlyStore(clickhouse)
        read: Callable[..., Any] = {"logs": store.logs, "traces": store.spans, "rum": store.rum}[signal]
        hours = await read(OrgScope(organization.org_id), **_FOR_EVER_NS)
    return [tuple(getattr(hour, field) for field in hour.__struct_fields__) for hour in hours]


def _logs(_key: object, columns: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    (sizes,) = columns
    return len(sizes), sum(sizes)


def _spans(_key: object, columns: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    durations, statuses = columns
    return (
        len(durations), statuses.count("error"), sum(durations), min(durations), max(durations), _histogram(durations)
    )  # fmt: skip


def _events(key: tuple[Any, ...], columns: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    values, error_types = columns
    errors = sum(1 for each in error_types if each or key[1] == "error")
    measured = [value for value in values if value is not None]
    return len(values), errors, len(measured), float(sum(measured)), _histogram(measured)


def _histogram(values: Iterable[float]) -> dict[int, int]:
    """16 buckets a doubling; -32768 counts what is not above 0."""
    counts: dict[int, int] = defaultdict(int)
    for value in values:
        counts[math.ceil(math.log2(value) * 16) if value > 0 else -32768] += 1
    return dict(counts)


def check_rollups(organization: Any) -> int:
    """Each view against the samples, of which the one written later counts where two stand at one time."""
    settings = load_settings(organization.instance.data_dir)
    org_id = organization.org_id
    samples = asyncio.run(
        read_metrics(
            settings,
            "SELECT series_id, extract(epoch FROM ts)::bigint AS s, value FROM metrics JOIN series ON series.id = series_id "
            "WHERE org_id = $1 ORDER BY series_id, ts, block",
            org_id,
        )
    )
    latest = {(row["series_id"], row["s"]): row["value"] for row in samples}
    assert all(one <= other for one, other in pairwise(latest)), "samples are not in order"
    for view, step_s in _STEPS_S.items():
        buckets: dict[tuple[int, int], list[tuple[int, float]]] = defaultdict(list)
        for (series_id, s), value in latest.items():
            buckets[series_id, s // step_s * step_s].append((s, value))
        expected = {key: _rollup(points) for key, points in buckets.items()}
        rows = asyncio.run(
            read_metrics(
                settings,
                "SELECT series_id, extract(epoch FROM bucket)::bigint, count, sum, min, max, first, last, increase, resets, "
                "excluded, extract(epoch FROM first_ts)::bigint, extract(epoch FROM last_ts)::bigint "
                f"FROM {view} JOIN series ON series.id = series_id WHERE org_id = $1",
                org_id,
            )
        )
        said = {(row[0], row[1]): tuple(row)[2:] for row in rows}
        assert said.keys() == expected.keys(), f"{view} has other buckets than its samples"
        assert said == expected, [(key, said[key], expected[key]) for key in said if said[key] != expected[key]][:3]
    return len(latest)


def _rollup(points: list[tuple[int, float]]) -> tuple[Any, ...]:
    """count, sum, min, max, first, last, increase, resets, excluded, first time, last time."""
    values = [value for _, value in points]
    rises = [now if now < before else now - before for before, now in pairwise(values)]
    falls = sum(now < before for before, now in pairwise(values))
    return (
        len(values), sum(values), min(values), max(values), values[0], values[-1], float(sum(rises)), falls, 0,
        points[0][0], points[-1][0],
    )  # fmt: skip
