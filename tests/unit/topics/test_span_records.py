"""A traces body is read whole, or refused with the path of the field at fault; times become starts and durations."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway.native_traces import check_native_traces
from topics.errors import Refused
from topics.span_records import SpansRequest, events_text, read_span_times, read_spans

SPAN: dict[str, Any] = {
    "trace_id": "t", "span_id": "s", "service": "api", "operation": "GET /", "start_time": "2025-10-31T10:00:00Z",
    "duration_ms": 1.5,
}  # fmt: skip
START_NS = 1_761_904_800 * 10**9
EVENT = {"name": "retry", "timestamp": 1_761_904_800}
LINK = {"trace_id": "t", "span_id": "s"}


def body(*spans: Any) -> bytes:
    return json.dumps({"spans": list(spans)}).encode()


def refusal(raw: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        check_native_traces(raw)
    return caught.value


def test_a_whole_span_is_read() -> None:
    full = SPAN | {
        "end_time": "2025-10-31T10:00:00.000000007Z", "parent_span_id": "p", "kind": "server", "status": "error",
        "status_message": "no", "attributes": {"a": 1}, "events": [EVENT | {"attributes": {"b": [2]}}], "links": [LINK],
    }  # fmt: skip
    (span,) = read_spans(body(full))
    assert (span.parent_span_id, span.kind, span.status, span.status_message) == ("p", "server", "error", "no")
    assert json.loads(events_text(span.events)) == [
        {"name": "retry", "timestamp": "2025-10-31T10:00:00.000Z", "attributes": {"b": [2]}}
    ]
    assert json.loads(bytes(span.links)) == [LINK]


def test_a_duration_is_given_or_comes_of_the_end() -> None:
    spans = [
        SPAN,
        SPAN | {"end_time": START_NS + 7},
        {name: value for name, value in SPAN.items() if name != "duration_ms"} | {"end_time": 1_761_904_802},
        SPAN | {"duration_ms": 0},
        SPAN | {"duration_ms": 1e12, "start_time": 0},
    ]
    starts, durations = read_span_times(read_spans(body(*spans)))
    assert starts.tolist() == [START_NS] * 4 + [0]
    assert durations.tolist() == [1_500_000, 7, 2 * 10**9, 0, 10**18]


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("trace_id", "", "trace_id"),
        ("trace_id", "t" * 201, "trace_id"),
        ("trace_id", "0" * 32, "trace_id"),
        ("trace_id", "00000000-0000-0000-0000-000000000000", "trace_id"),
        ("span_id", "0x" + "0" * 16, "span_id"),
        ("span_id", 5, "span_id"),
        ("span_id", "", "span_id"),
        ("parent_span_id", "p" * 201, "parent_span_id"),
        ("service", "", "service"),
        ("service", "s" * 201, "service"),
        ("operation", "", "operation"),
        ("operation", "o" * 1001, "operation"),
        ("kind", "SERVER", "kind"),
        ("start_time", None, "start_time"),
        ("start_time", "noon", "start_time"),
        ("end_time", None, "end_time"),
        ("end_time", "noon", "end_time"),
        ("end_time", "2025-10-31T09:59:59.999999999Z", "end_time"),
        ("duration_ms", -0.1, "duration_ms"),
        ("duration_ms", 1.1e12, "duration_ms"),
        ("duration_ms", "5", "duration_ms"),
        ("duration_ms", None, "duration_ms"),
        ("status", "OK", "status"),
        ("status_message", "m" * 4097, "status_message"),
        ("attributes", [], "attributes"),
        ("attributes", {"a": "x" * 65_536}, "attributes"),
        ("events", {}, "events"),
        ("events", [EVENT] * 129, "events"),
        ("events", [EVENT, EVENT | {"name": ""}], "events[1].name"),
        ("events", [EVENT, {"name": "a"}], "events[1].timestamp"),
        ("events", [EVENT | {"timestamp": "noon"}], "events[0].timestamp"),
        ("events", [EVENT | {"attributes": 5}], "events[0].attributes"),
        ("events", [EVENT | {"attributes": {"a": "x" * 65_536}}], "events"),
        ("events", [5], "events[0]"),
        ("links", [LINK] * 129, "links"),
        ("links", "x", "links"),
        ("links", [{"trace_id": "t"}], "links[0].span_id"),
        ("links", [LINK | {"attributes": "x"}], "links[0].attributes"),
        ("colour", "red", "colour"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: Any, path: str) -> None:
    found = refusal(body(SPAN, SPAN, SPAN | {field: value}))
    assert (found.code, found.path) == ("invalid_field", f"spans[2].{path}")


def test_a_span_without_an_end_is_refused() -> None:
    open_ended = {name: value for name, value in SPAN.items() if name != "duration_ms"}
    found = refusal(body(SPAN, open_ended))
    assert (found.code, found.path) == ("invalid_field", "spans[1].end_time")


def test_the_span_whose_end_is_wrong_is_named_among_those_without_one() -> None:
    assert refusal(body(SPAN, SPAN, SPAN, SPAN | {"end_time": "noon"})).path == "spans[3].end_time"
    assert refusal(body(SPAN, SPAN | {"end_time": 5})).path == "spans[1].end_time"


@pytest.mark.parametrize("missing", ["trace_id", "span_id", "service", "operation", "start_time"])
def test_a_missing_field_is_named(missing: str) -> None:
    span = {name: value for name, value in SPAN.items() if name != missing}
    found = refusal(body(SPAN, span))
    assert (found.code, found.path) == ("invalid_field", f"spans[1].{missing}")


def test_what_is_just_within_the_bounds_is_accepted() -> None:
    bounds: list[dict[str, Any]] = [
        {"operation": "o" * 1000},
        {"events": [EVENT] * 128, "links": [LINK] * 128},
        {"events": None, "links": None, "attributes": None, "kind": None, "status": None, "parent_span_id": ""},
        {"events": [EVENT | {"attributes": None}]},
    ]
    assert check_native_traces(body(*(SPAN | each for each in bounds))) == len(bounds)


def test_five_hundred_spans_fit_and_one_more_does_not() -> None:
    assert check_native_traces(body(*[SPAN] * 500)) == 500
    found = refusal(body(*[SPAN] * 501))
    assert (found.code, found.path) == ("too_many_records", "spans")


def test_the_published_schema_carries_the_bounds() -> None:
    _, schemas = msgspec.json.schema_components([SpansRequest])
    spans = schemas["SpansRequest"]["properties"]["spans"]
    assert spans["maxItems"] == 500
    assert spans["items"]["anyOf"] == [{"required": ["end_time"]}, {"required": ["duration_ms"]}]
    assert schemas["SpanRecord"]["required"] == ["trace_id", "span_id", "service", "operation", "start_time"]
    assert schemas["SpanRecord"]["properties"]["events"]["maxItems"] == 128
