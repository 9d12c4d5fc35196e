"""Each signal's times, levels, ids and clients in one form, by the agents themselves with a real city database."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from agents.normalize_logs import normalize_logs
from agents.normalize_metrics import normalize_metrics
from agents.normalize_rum import normalize_rum
from agents.normalize_traces import normalize_traces
from enrichment.attributes import Enrichment
from enrichment.locations import Locations
from enrichment.user_agents import UserAgents
from topics import metric_columns
from topics.log_columns import LOG_MESSAGES
from topics.raw import RawBatch
from topics.rum_columns import RUM_MESSAGES
from topics.span_columns import SPAN_MESSAGES

RECEIVED_MS = 1_761_904_800_123
FUTURE = "2030-01-01T00:00:00Z"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
LOG = {"timestamp": 1_761_904_800, "service": "api", "level": "info", "message": ""}
SPAN = {
    "trace_id": TRACE,
    "span_id": "a1",
    "service": "api",
    "operation": "o",
    "start_time": 1_761_904_800,
    "duration_ms": 5,
}
EVENT = {"timestamp": 1_761_904_800, "type": "action", "session_id": "s"}
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"
BERLIN = {
    "city": {"names": {"en": "Berlin"}}, "country": {"iso_code": "DE"}, "subdivisions": [{"names": {"en": "BE"}}],
    "location": {"latitude": 52.5, "longitude": 13.4, "time_zone": "Europe/Berlin"},
}  # fmt: skip
PARIS = {"country": {"iso_code": "FR"}}


@pytest.fixture
def enrichment(write_cities: Callable[..., Path]) -> Enrichment:
    path = write_cities({"91.64.0.0/16": BERLIN, "80.10.0.0/16": PARIS})
    return Enrichment(
        Locations(path), UserAgents(), address_names=["client.address"], user_agent_names=["user_agent.original"]
    )


def batch(request: dict[str, Any], **changed: Any) -> RawBatch:
    known: dict[str, Any] = {"org_id": "o", "request_id": "r", "received_at_ms": RECEIVED_MS, "retention_days": 30}
    return RawBatch(**(known | {"body": json.dumps(request).encode()} | changed))


def rows(columns: pa.RecordBatch) -> list[dict[str, Any]]:
    times = columns["ts"].view(pa.int64()).to_pylist()
    others = columns.drop_columns(["ts", "received_at"]).to_pylist()
    return [
        row | {"ts": ts, "attributes": json.loads(row["attributes"])} for row, ts in zip(others, times, strict=True)
    ]


def test_logs(enrichment: Enrichment) -> None:
    sent = [
        LOG | {"level": "WARNING", "trace_id": f"0x{TRACE.upper()}", "span_id": "0" * 16},
        LOG | {"timestamp": FUTURE, "attributes": {"client.address": "91.64.1.2"}},
        LOG | {"timestamp": 1, "level": "50"},
    ]
    value, _ = normalize_logs(batch({"logs": sent}), partition=0, offset=1, enrichment=enrichment)
    first, second, third = rows(LOG_MESSAGES.decode(value))
    assert (first["level"], first["trace_id"], first["span_id"], first["attributes"]) == ("warn", TRACE, "", {})
    assert second["ts"] == RECEIVED_MS * 10**6
    assert second["attributes"] == {
        "client.address": "91.64.1.2", "original_timestamp": "2030-01-01T00:00:00.000Z", "geo.country": "DE",
        "geo.region": "BE", "geo.city": "Berlin", "geo.timezone": "Europe/Berlin", "geo.latitude": 52.5, "geo.longitude": 13.4,
    }  # fmt: skip
    assert (third["ts"], third["level"]) == (10**9, "error")


def test_spans(enrichment: Enrichment) -> None:
    sent = [
        SPAN | {"trace_id": "4BF92F35-77B3-4DA6-A3CE-929D0E0E4736", "parent_span_id": "0" * 16, "links": [
            {"trace_id": TRACE.upper(), "span_id": "0x0A", "attributes": {"k": 1}}]},
        SPAN | {"start_time": FUTURE, "attributes": {"user_agent.original": FIREFOX}},
    ]  # fmt: skip
    value, _ = normalize_traces(batch({"spans": sent}), partition=0, offset=1, enrichment=enrichment)
    first, second = rows(SPAN_MESSAGES.decode(value))
    assert (first["trace_id"], first["parent_span_id"]) == (TRACE, "")
    assert json.loads(first["links"]) == [{"trace_id": TRACE, "span_id": "0a", "attributes": {"k": 1}}]
    assert (second["ts"], second["duration_ns"]) == (RECEIVED_MS * 10**6, 5_000_000)
    assert second["attributes"] == {
        "user_agent.original": FIREFOX, "original_timestamp": "2030-01-01T00:00:00.000Z", "user_agent.browser": "Firefox",
        "user_agent.browser_version": "132.0", "user_agent.os": "Linux", "user_agent.device_type": "desktop",
        "user_agent.is_bot": False,
    }  # fmt: skip


def test_rum_events_by_the_request_and_by_what_the_client_says(enrichment: Enrichment) -> None:
    sent = [
        EVENT | {"timestamp": FUTURE},
        EVENT | {"client": {"ip": "91.64.1.2", "user_agent": "Googlebot/2.1"}},
        EVENT | {"client": {"ip": 7, "user_agent": None}},
        EVENT | {"client": {"ip": "10.0.0.1"}},
    ]
    raw = batch({"events": sent}, client_address="80.10.1.1", user_agent=FIREFOX)
    value, _ = normalize_rum(raw, partition=0, offset=1, enrichment=enrichment)
    first, second, third, fourth = rows(RUM_MESSAGES.decode(value))
    names = ("country", "city", "timezone", "latitude", "browser", "browser_version", "os", "device_type", "is_bot")
    of_request = ("FR", "", "", None, "Firefox", "132.0", "Linux", "desktop", 0)
    assert tuple(first[name] for name in names) == tuple(third[name] for name in names) == of_request
    assert tuple(second[name] for name in names) == (
        "DE", "Berlin", "Europe/Berlin", 52.5, "Googlebot", "2.1", "", "bot", 1,
    )  # fmt: skip
    assert (fourth["country"], fourth["browser"]) == ("", "Firefox")
    assert (first["ts"], first["attributes"]) == (
        RECEIVED_MS * 10**6, {"original_timestamp": "2030-01-01T00:00:00.000Z"},
    )  # fmt: skip


def test_metric_points() -> None:
    sent = [{"name": "up", "value": 1, "timestamp": FUTURE}, {"name": "up", "value": 2, "timestamp": 1}]
    value, _ = normalize_metrics(batch({"metrics": sent}), partition=0, offset=1)
    points = metric_columns.decode(value)
    assert points.ts_us.tolist() == [RECEIVED_MS * 1000, 1_000_000]
    assert len(points.series) == 1
