"""Whatever is sent as metrics, spans or RUM events: it is kept whole, or refused with its path, and nothing else happens."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.normalize_metrics import normalize_metrics
from agents.normalize_rum import normalize_rum
from agents.normalize_traces import normalize_traces
from gateway.native_metrics import check_native_metrics
from gateway.native_rum import check_native_rum
from gateway.native_traces import check_native_traces
from topics import metric_columns
from topics.errors import Refused
from topics.metric_columns import decode_series
from topics.raw import RawBatch
from topics.rum_columns import RUM_MESSAGES
from topics.span_columns import SPAN_MESSAGES
from topics.trace_ids import normalize_ids

RECEIVED_MS = 9_223_372_036_000
"""As late as there is, so that no time lies in the future of its arrival."""

CODES = {"accepted", "malformed_json", "invalid_utf8", "invalid_field", "too_many_records"}
texts = st.text(st.characters(exclude_categories=["Cs"]))
names = texts.filter(lambda text: 1 <= len(text) <= 200)
short = st.none() | texts.filter(lambda text: len(text) <= 200)
numbers = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
attributes = st.none() | st.dictionaries(texts, json_values, max_size=3)
seconds = st.integers(0, 9_223_372_036)
label_names = st.from_regex(re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,20}", re.ASCII), fullmatch=True).filter(
    lambda name: name != "__name__"
)
points = st.fixed_dictionaries(
    {
        "name": st.from_regex(re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,30}", re.ASCII), fullmatch=True),
        "value": numbers | st.sampled_from(["NaN", "+Inf", "-Inf", "StaleNaN"]),
    },
    optional={
        "timestamp": st.none() | seconds,
        "type": st.sampled_from(["gauge", "counter", "histogram", "summary", None]),
        "unit": st.none() | texts.filter(lambda text: len(text) <= 64 and "\0" not in text),
        "labels": st.none() | st.dictionaries(label_names, texts.filter(lambda text: "\0" not in text), max_size=5),
    },
)
span_events = st.fixed_dictionaries({"name": names, "timestamp": seconds}, optional={"attributes": attributes})
span_links = st.fixed_dictionaries({"trace_id": names, "span_id": names}, optional={"attributes": attributes})
spans = st.fixed_dictionaries(
    {
        "trace_id": names,
        "span_id": names,
        "service": names,
        "operation": names,
        "start_time": seconds,
        "duration_ms": st.floats(0, 1e9) | st.integers(0, 10**12),
    },
    optional={
        "parent_span_id": short,
        "kind": st.sampled_from(["internal", "server", "client", "producer", "consumer", None]),
        "status": st.sampled_from(["unset", "ok", "error", None]),
        "status_message": st.none() | texts,
        "attributes": attributes,
        "events": st.none() | st.lists(span_events, max_size=3),
        "links": st.none() | st.lists(span_links, max_size=3),
    },
)
errors = st.fixed_dictionaries({}, optional={"message": st.none() | texts, "type": short, "stack": st.none() | texts})
rum_events = st.fixed_dictionaries(
    {
        "timestamp": seconds,
        "type": st.sampled_from(["page_view", "web_vital", "error", "action", "resource", "long_task"]),
        "session_id": names,
    },
    optional={
        "view_id": short,
        "page_url": st.none() | texts,
        "page_path": st.none() | texts,
        "user_id": short,
        "name": st.none() | texts,
        "value": st.none() | numbers,
        "error": st.none() | errors,
        "client": attributes,
        "attributes": attributes,
    },
)


def batch(field: str, records: list[Any]) -> RawBatch:
    body = json.dumps({field: records}).encode()
    return RawBatch("0c6f1a3e-6b0e-4a52-9f0a-6a3f6f1f2b11", "r", RECEIVED_MS, 30, body)


@pytest.mark.parametrize(
    ("check", "field"),
    [(check_native_metrics, "metrics"), (check_native_traces, "spans"), (check_native_rum, "events")],
)
@given(data=st.data())
def test_a_body_is_read_or_refused_and_nothing_else(
    check: Callable[[bytes], int], field: str, data: st.DataObject
) -> None:
    anything = st.binary(max_size=300) | json_values.map(lambda value: json.dumps(value).encode())
    records = st.lists(json_values | points | spans | rum_events, max_size=3)
    body = data.draw(anything | records.map(lambda value: json.dumps({field: value}).encode()))
    try:
        code = "accepted" if check(body) >= 1 else "none"
    except Refused as exc:
        code = exc.code
    assert code in CODES


def bits(value: float) -> bytes:
    return struct.pack(">d", value)


@settings(max_examples=50)
@given(st.lists(points, min_size=1, max_size=40))
def test_points_that_are_accepted_are_kept_whole(sent: list[dict[str, Any]]) -> None:
    raw = batch("metrics", sent)
    assert check_native_metrics(raw.body) == len(sent)
    message, _ = normalize_metrics(raw, partition=0, offset=1)
    kept = metric_columns.decode(message)
    assert len(set(kept.series)) == len(kept.series)
    for point, at, ts_us, value in zip(sent, kept.index, kept.ts_us, kept.value, strict=True):
        series = decode_series(kept.series[at])
        labels = {name: text for name, text in (point.get("labels") or {}).items() if text}
        assert (series.name, series.labels) == (point["name"], labels)
        assert (series.type, series.unit) == (point.get("type") or "", point.get("unit") or "")
        given_s = point.get("timestamp")
        assert ts_us == (RECEIVED_MS * 1_000 if given_s is None else given_s * 1_000_000)
        wanted = point["value"]
        if wanted == "StaleNaN":
            assert bits(value) == bytes.fromhex("7ff0000000000002")
        elif wanted == "NaN":
            assert math.isnan(value)
        else:
            assert bits(value) == bits(float(wanted))


@settings(max_examples=50)
@given(st.lists(spans, min_size=1, max_size=40))
def test_spans_that_are_accepted_are_kept_whole(sent: list[dict[str, Any]]) -> None:
    raw = batch("spans", sent)
    assert check_native_traces(raw.body) == len(sent)
    message, _ = normalize_traces(raw, partition=1, offset=1)
    for span, row in zip(
        sent, SPAN_MESSAGES.decode(message).drop_columns(["ts", "received_at"]).to_pylist(), strict=True
    ):
        for name in ("trace_id", "span_id", "parent_span_id"):
            assert row[name] == normalize_ids([span.get(name)])[0]
        for name in ("service", "operation"):
            assert row[name] == span[name]
        for name, absent in (("kind", "internal"), ("status", "unset"), ("status_message", "")):
            assert row[name] == (span.get(name) or absent)
        assert row["duration_ns"] == round(float(span["duration_ms"]) * 1e6)
        assert json.loads(row["attributes"]) == (span.get("attributes") or {})
        ids = [(link["trace_id"], link["span_id"]) for link in json.loads(row["links"])]
        assert ids == [tuple(normalize_ids([link["trace_id"], link["span_id"]])) for link in span.get("links") or []]
        events = json.loads(row["events"])
        assert [event["name"] for event in events] == [event["name"] for event in span.get("events") or []]


@settings(max_examples=50)
@given(st.lists(rum_events, min_size=1, max_size=40))
def test_rum_events_that_are_accepted_are_kept_whole(sent: list[dict[str, Any]]) -> None:
    raw = batch("events", sent)
    assert check_native_rum(raw.body) == len(sent)
    message, _ = normalize_rum(raw, partition=1, offset=1)
    for event, row in zip(
        sent, RUM_MESSAGES.decode(message).drop_columns(["ts", "received_at"]).to_pylist(), strict=True
    ):
        for name in ("type", "session_id", "view_id", "page_url", "page_path", "user_id", "name"):
            assert row[name] == (event.get(name) or "")
        value = event.get("value")
        assert row["value"] == (None if value is None else float(value))
        error = event.get("error") or {}
        for name in ("message", "type", "stack"):
            assert row[f"error_{name}"] == (error.get(name) or "")
        for name in ("client", "attributes"):
            assert json.loads(row[name]) == (event.get(name) or {})
