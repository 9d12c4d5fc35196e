"""Raw batches of metrics, spans and RUM events become columns in which nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from agents.normalize_metrics import normalize_metrics
from agents.normalize_rum import normalize_rum
from agents.normalize_traces import normalize_traces
from topics import metric_columns, rum_columns, span_columns
from topics.errors import Refused
from topics.metric_columns import decode_series
from topics.raw import Headers, RawBatch
from topics.record_ids import record_ids
from topics.rum_columns import RUM_MESSAGES
from topics.span_columns import SPAN_MESSAGES

ORG = "0c6f1a3e-6b0e-4a52-9f0a-6a3f6f1f2b11"
RECEIVED_MS = 1_761_904_800_123
Normalize = Callable[..., tuple[bytes, Headers]]

POINT = {"name": "up", "value": "StaleNaN", "timestamp": 1_761_904_800.25, "type": "gauge", "unit": "1",
         "labels": {"service": "api", "az": "b"}}  # fmt: skip
SPAN = {"trace_id": "t", "span_id": "s", "parent_span_id": "p", "service": "api", "operation": "GET /", "kind": "client",
        "start_time": "2025-10-31T10:00:00.123456789Z", "duration_ms": 2.5, "status": "error", "status_message": "no",
        "attributes": {"a": [1, None]}, "events": [{"name": "e", "timestamp": 1_761_904_800}],
        "links": [{"trace_id": "t2", "span_id": "s2"}]}  # fmt: skip
BARE_SPAN = {"trace_id": "t", "span_id": "r", "service": "api", "operation": "o", "start_time": 1_761_904_800,
             "end_time": 1_761_904_801, "events": None, "links": None, "attributes": None}  # fmt: skip
EVENT = {"timestamp": "2025-10-31T10:00:00Z", "type": "error", "session_id": "s", "view_id": "v", "page_url": "u",
         "page_path": "p", "user_id": "w", "name": "n", "value": 2, "error": {"message": "m", "type": "T", "stack": "at"},
         "client": {"user_agent": "x"}, "attributes": {"k": 1}}  # fmt: skip
BARE_EVENT = {"timestamp": 1_761_904_800, "type": "action", "session_id": "s", "client": None, "attributes": None}


def batch(request: dict[str, Any], **changed: Any) -> RawBatch:
    known: dict[str, Any] = {"org_id": ORG, "request_id": "r", "received_at_ms": RECEIVED_MS, "retention_days": 30}
    return RawBatch(**(known | {"body": json.dumps(request).encode()} | changed))


def test_points_arrive_with_their_series_once() -> None:
    sent = [POINT, POINT | {"value": 5, "timestamp": None}, {"name": "other", "value": -1.5, "timestamp": 1}]
    value, headers = normalize_metrics(batch({"metrics": sent}), partition=3, offset=7)
    points = metric_columns.decode(value)
    known = dict(headers)
    assert (known["schema"], known["rows"], known["org"]) == (b"metrics/1", b"3", ORG.encode())
    assert int(known["bytes"]) >= 3 * 20
    assert [points.series[i] for i in points.index][:2] == [points.series[0]] * 2
    first = decode_series(points.series[0])
    assert (first.name, first.labels, first.type, first.unit) == ("up", {"az": "b", "service": "api"}, "gauge", "1")
    assert points.ts_us.tolist() == [1_761_904_800_250_000, RECEIVED_MS * 1000, 1_000_000]
    assert points.value[1:].tolist() == [5.0, -1.5]
    assert points.value.view("uint64")[0] == 0x7FF0000000000002


def test_every_field_of_a_span_arrives() -> None:
    value, headers = normalize_traces(batch({"spans": [SPAN, BARE_SPAN]}), partition=3, offset=7)
    columns = SPAN_MESSAGES.decode(value)
    assert columns.schema == span_columns.SCHEMA
    assert dict(headers) == {"schema": b"spans/1", "rows": b"2", "bytes": b"%d" % columns.nbytes}
    assert columns["ts"].view(pa.int64()).to_pylist() == [1_761_904_800_123_456_789, 1_761_904_800 * 10**9]
    assert columns["received_at"].view(pa.int64()).to_pylist() == [RECEIVED_MS] * 2
    full, bare = columns.drop_columns(["ts", "received_at"]).to_pylist()
    assert json.loads(full.pop("attributes")) == SPAN["attributes"]
    assert json.loads(full.pop("events")) == [{"name": "e", "timestamp": "2025-10-31T10:00:00.000Z", "attributes": {}}]
    assert json.loads(full.pop("links")) == SPAN["links"]
    ids = record_ids(3, 7, 2)
    assert full == {
        "org_id": ORG, "record_id": ids[0], "trace_id": "t", "span_id": "s", "parent_span_id": "p", "service": "api",
        "operation": "GET /", "kind": "client", "duration_ns": 2_500_000, "status": "error", "status_message": "no",
        "retention_days": 30,
    }  # fmt: skip
    assert bare == {
        "org_id": ORG, "record_id": ids[1], "trace_id": "t", "span_id": "r", "parent_span_id": "", "service": "api",
        "operation": "o", "kind": "internal", "duration_ns": 10**9, "status": "unset", "status_message": "",
        "attributes": "{}", "events": "[]", "links": "[]", "retention_days": 30,
    }  # fmt: skip


def test_every_field_of_a_rum_event_arrives() -> None:
    value, headers = normalize_rum(batch({"events": [EVENT, BARE_EVENT]}), partition=3, offset=7)
    columns = RUM_MESSAGES.decode(value)
    assert columns.schema == rum_columns.SCHEMA
    assert dict(headers) == {"schema": b"rum/1", "rows": b"2", "bytes": b"%d" % columns.nbytes}
    assert columns["ts"].view(pa.int64()).to_pylist() == [1_761_904_800 * 10**9] * 2
    enriched = ("country", "region", "city", "timezone", "browser", "browser_version", "os", "device_type")
    unknown: dict[str, Any] = dict.fromkeys(enriched, "") | {"latitude": None, "longitude": None, "is_bot": 0}
    full, bare = columns.drop_columns(["ts", "received_at"]).to_pylist()
    assert json.loads(full.pop("client")) == EVENT["client"]
    assert json.loads(full.pop("attributes")) == EVENT["attributes"]
    ids = record_ids(3, 7, 2)
    assert full == unknown | {
        "org_id": ORG, "record_id": ids[0], "type": "error", "session_id": "s", "view_id": "v", "page_url": "u",
        "page_path": "p", "user_id": "w", "name": "n", "value": 2.0, "error_type": "T", "error_message": "m",
        "error_stack": "at", "retention_days": 30,
    }  # fmt: skip
    assert bare == unknown | {
        "org_id": ORG, "record_id": ids[1], "type": "action", "session_id": "s", "view_id": "", "page_url": "",
        "page_path": "", "user_id": "", "name": "", "value": None, "error_type": "", "error_message": "",
        "error_stack": "", "client": "{}", "attributes": "{}", "retention_days": 30,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("normalize", "request_of"),
    [
        (normalize_metrics, {"metrics": [POINT]}),
        (normalize_traces, {"spans": [SPAN]}),
        (normalize_rum, {"events": [EVENT]}),
    ],
)
def test_what_cannot_be_read_is_refused(normalize: Normalize, request_of: dict[str, Any]) -> None:
    normalize(batch(request_of), partition=0, offset=1)
    for broken in ({"body": b"{"}, {"format": "otlp"}, {"encoding": "gzip"}, {"encoding": "br"}, {"body": b'{"x":[]}'}):
        with pytest.raises(Refused):
            normalize(batch(request_of, **broken), partition=0, offset=1)
