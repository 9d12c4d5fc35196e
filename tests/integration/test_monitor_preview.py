"""POST /monitors/preview over real stores: when a monitor of each kind would have fired, and what it says when it would not."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from asked_metrics import NOON_S, keep_samples
from asked_queries import DAY, NOON, Asked

from monitors.definitions import parse_monitor
from query.alerting.past_records import RecordReader

SECOND = 10**9


async def preview(asked: Asked, **monitor: Any) -> httpx.Response:
    return await asked.post("/monitors/preview", monitor={"name": "m", "window_s": 60, **monitor})


def told(answer: httpx.Response) -> list[tuple[str, str, str]]:
    """Group, state and time of day."""
    assert answer.status_code == 200, answer.text
    return [(each["group"], each["state"], each["at"][11:19]) for each in answer.json()["transitions"]]


async def test_metrics(asked: Asked) -> None:
    samples = [("cpu", {"host": host}, NOON_S + at, 95.0 if host == "a" and 60 <= at < 90 else 10.0)
               for at in range(0, 300, 10) for host in "ab"]  # fmt: skip
    await keep_samples(asked.timescale, asked.ours, samples)
    asking = {"kind": "metric", "metric": "cpu", "aggregation": "max", "group_by": ["host"], "new_group_delay_s": 0}
    answer = await preview(asked, **asking, critical=90)
    assert told(answer) == [("host=a", "ALERT", "12:01:00"), ("host=a", "OK", "12:02:21")]
    body = answer.json()
    assert (body["records_read"], body["complete"], body["groups_count"]) == (60, True, 2)
    assert body["transitions"][0]["value"] == 95
    assert {group["group"]: group["why"] for group in body["groups"]} == {
        "host=a": "10 calls for OK",
        "host=b": "10 calls for OK",
    }
    # Why it did not fire: the values are there.
    quiet = (await preview(asked, **asking, critical=99)).json()
    assert quiet["transitions"] == []
    assert max(value or 0 for _, value in quiet["groups"][0]["values"]) == 95


async def test_logs_of_a_query(asked: Asked) -> None:
    logs = [{"ts": NOON + i * SECOND, "service": "api", "level": "error", "message": f"timeout {i}"} for i in range(10)]
    others = [{"ts": NOON + i * SECOND, "service": "api", "level": "error", "message": "refused"} for i in range(10)]
    await asked.keep("logs", *logs, *others)
    answer = await preview(asked, kind="log", query='{service="api", level="error"} |= "timeout"', critical=4)
    assert told(answer) == [("*", "ALERT", "12:00:04"), ("*", "OK", "12:01:06")]
    assert answer.json()["records_read"] == 20


async def test_spans_and_events(asked: Asked) -> None:
    await asked.keep(
        "spans",
        *({"ts": NOON + i * SECOND, "span_id": f"s{i}", "status": "error" if i > 7 else "ok"} for i in range(10)),
    )
    answer = await preview(asked, kind="trace", aggregation="error_rate", critical=0.1)
    assert told(answer) == [("*", "ALERT", "12:00:08")]
    await asked.keep(
        "rum",
        *({"ts": NOON + i * SECOND, "type": "web_vital", "name": "LCP", "value": 4000.0} for i in range(3)),
        {"ts": NOON, "type": "error"},
    )
    answer = await preview(asked, kind="rum", event_name="LCP", critical=2500)
    assert told(answer) == [("*", "ALERT", "12:00:00")]


async def test_a_refusal_names_the_field_within_the_monitor(asked: Asked) -> None:
    answer = await preview(asked, kind="metric", metric="cpu", critical=90, warning=95)
    assert (answer.status_code, answer.json()["error"]["details"][0]["path"]) == (422, "monitor.warning")
    long = await asked.post(
        "/monitors/preview", monitor={"name": "m", "kind": "metric", "metric": "cpu", "critical": 1},
        start="2025-10-01T00:00:00Z",
    )  # fmt: skip
    assert (long.status_code, long.json()["error"]["code"]) == (422, "too_expensive")


async def test_of_too_many_records_the_oldest_are_looked_at(asked: Asked) -> None:
    await asked.keep("logs", *({"ts": NOON + i * SECOND, "service": "api"} for i in range(30)))
    reader = RecordReader(asked.stores.logs, asked.stores.spans, asked.stores.rum, asked.stores.samples, records_max=20)
    definition = parse_monitor({"name": "m", "kind": "log", "query": '{service="api"}', "critical": 1})
    past = await reader.read(asked.ours, definition, NOON, NOON + 3600 * SECOND, None)
    assert (past.count, past.complete, past.end_ms) == (20, False, (NOON + 19 * SECOND) // 10**6)


@pytest.mark.parametrize("kind", ["log", "trace", "rum"])
async def test_nothing_is_there(asked: Asked, kind: str) -> None:
    asking = {"log": {"query": "{}"}, "trace": {"aggregation": "count"}, "rum": {}}[kind]
    answer = (await preview(asked, kind=kind, critical=1, **asking)).json()
    assert (answer["transitions"], answer["records_read"], answer["complete"]) == ([], 0, True)
    assert answer["until"].startswith(DAY["end"][:10])


async def test_a_monitor_that_would_fire_all_the_time_is_cut(asked: Asked) -> None:
    """Ninety minutes of values on both sides of the threshold, five seconds each."""
    samples = [("flapping", {}, float(NOON_S + at), float(at // 5 % 2)) for at in range(0, 6000, 5)]
    await keep_samples(asked.timescale, asked.ours, samples)
    answer = (await preview(asked, kind="metric", metric="flapping", aggregation="last", critical=0.5)).json()
    assert (len(answer["transitions"]), answer["complete"]) == (1000, False)
    assert answer["until"] == answer["transitions"][-1]["at"]
