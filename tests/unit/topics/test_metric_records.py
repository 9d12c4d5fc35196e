"""A metrics body is read whole, or refused with the path of the field at fault; its columns are what was sent."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest

from gateway.native_metrics import check_native_metrics
from topics.errors import Refused
from topics.metric_columns import decode_series
from topics.metric_records import (
    KnownSeries,
    MetricsRequest,
    read_metric_timestamps,
    read_metrics,
    read_series,
    read_values,
)

POINT: dict[str, Any] = {"name": "http_requests_total", "value": 1}


def body(*points: Any) -> bytes:
    return json.dumps({"metrics": list(points)}).encode()


def refusal(raw: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        check_native_metrics(raw)
    return caught.value


def test_a_whole_point_is_read() -> None:
    full = POINT | {"timestamp": "2025-10-31T10:00:00Z", "type": "counter", "unit": "1", "labels": {"b": "2", "a": "ü"}}
    points = read_metrics(body(full, POINT))
    series, index = read_series(points)
    assert series[0] == '["http_requests_total",{"a":"ü","b":"2"},"counter","1"]'.encode()
    assert decode_series(series[1]).type == ""
    assert index == [0, 1]
    assert read_metric_timestamps(points, received_at_ms=7).tolist() == [1_761_904_800_000_000, 7_000]


def test_one_series_however_its_labels_are_written() -> None:
    raw = (
        b'{"metrics":[{"name":"a","value":1,"labels":{"x":"1","y":"2"}},{"name":"a","value":2,"labels":{"y":"2", "x":"1"}},'
        b'{"name":"a","value":3,"labels":{"\\u0078":"1","y":"2","z":""}},{"name":"a","value":4,"labels":null},'
        b'{"name":"a","value":5}]}'
    )
    series, index = read_series(read_metrics(raw))
    assert index == [0, 0, 0, 1, 1]
    assert [decode_series(text).labels for text in series] == [{"x": "1", "y": "2"}, {}]


def test_values_keep_their_bits() -> None:
    values = [1, 1.5, -0.0, "NaN", "+Inf", "-Inf", "StaleNaN", 2**60]
    column = read_values(read_metrics(body(*(POINT | {"value": value} for value in values))))
    bits = column.view(np.uint64).tolist()
    assert column[[0, 1, 4, 5, 7]].tolist() == [1.0, 1.5, float("inf"), float("-inf"), float(2**60)]
    assert bits[2] == 1 << 63
    assert np.isnan(column[[3, 6]]).all()
    assert bits[6] == 0x7FF0000000000002
    assert bits[3] != bits[6]


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("name", "", "name"),
        ("name", 5, "name"),
        ("name", None, "name"),
        ("name", "a\0", "name"),
        ("name", "n" * 201, "name"),
        ("value", "nan", "value"),
        ("value", "1", "value"),
        ("value", None, "value"),
        ("value", True, "value"),
        ("value", 10**400, "value"),
        ("timestamp", True, "timestamp"),
        ("timestamp", "noon", "timestamp"),
        ("timestamp", -1, "timestamp"),
        ("type", "rate", "type"),
        ("unit", "u" * 65, "unit"),
        ("unit", "a\0", "unit"),
        ("unit", 5, "unit"),
        ("labels", [], "labels"),
        ("labels", "text", "labels"),
        ("labels", {"a": 5}, "labels.a"),
        ("labels", {"a": None}, "labels.a"),
        ("labels", {"__name__": "x"}, "labels.__name__"),
        ("labels", {"a\0": "x"}, "labels"),
        ("labels", {"": "x"}, "labels"),
        ("labels", {"a" * 201: "x"}, "labels"),
        ("labels", {"a": "v" * 2001}, "labels.a"),
        ("labels", {"a": "v\0"}, "labels.a"),
        ("labels", {f"a{i}": "x" for i in range(65)}, "labels"),
        ("labels", {f"a{i}": "v" * 1999 for i in range(9)}, "labels"),
        ("colour", "red", "colour"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: Any, path: str) -> None:
    found = refusal(body(POINT, POINT, POINT | {field: value}))
    assert (found.code, found.path) == ("invalid_field", f"metrics[2].{path}")


def test_what_is_just_within_the_bounds_is_accepted() -> None:
    bounds: list[dict[str, Any]] = [
        {"name": "n" * 200},
        {"name": ":a_:1"},
        {"name": "http.server größe-0\n"},
        {"labels": {"service.name": "x", "0": "x", "a:b": "x", "π ": "x"}},
        {"unit": "u" * 64},
        {"labels": {"_" * 200: "v" * 2000}},
        {"labels": {f"a{i}": "" for i in range(64)}},
        {"value": -1.7e308},
        {"timestamp": None, "type": None, "unit": None, "labels": None},
    ]
    assert check_native_metrics(body(*(POINT | each for each in bounds))) == len(bounds)


@pytest.mark.parametrize("missing", ["name", "value"])
def test_a_missing_field_is_named(missing: str) -> None:
    point = {name: value for name, value in POINT.items() if name != missing}
    found = refusal(body(POINT, point))
    assert (found.code, found.path) == ("invalid_field", f"metrics[1].{missing}")


def test_only_some_points_have_a_timestamp_and_the_wrong_one_is_named() -> None:
    found = refusal(body(POINT, POINT | {"timestamp": 5}, POINT, POINT | {"timestamp": "noon"}))
    assert found.path == "metrics[3].timestamp"


def test_five_thousand_points_fit_and_one_more_does_not() -> None:
    assert check_native_metrics(body(*[POINT] * 5000)) == 5000
    found = refusal(body(*[POINT] * 5001))
    assert (found.code, found.path) == ("too_many_records", "metrics")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"{", "malformed_json"),
        (b'{"metrics":[{"name":"a","value":NaN}]}', "malformed_json"),
        (b'{"metrics":[{"name":"a","value":1,"labels":{"a":"\xff"}}]}', "invalid_utf8"),
        (b"[]", "invalid_field"),
        (b'{"metrics":[]}', "invalid_field"),
    ],
)
def test_a_body_that_is_no_request_is_refused(raw: bytes, code: str) -> None:
    assert refusal(raw).code == code


def test_what_is_remembered_is_bounded_and_begun_again() -> None:
    known = KnownSeries(20_000)
    for i in range(1000):
        points = read_metrics(body(POINT | {"labels": {"pod": str(i)}}))
        assert decode_series(read_series(points, known)[0][0]).labels == {"pod": str(i)}
        assert 1 <= len(known.texts) <= 40
    with pytest.raises(Refused):
        read_series(read_metrics(body(POINT | {"labels": {"\0": "x"}})), known)
    assert not any(b'"0"' in key[1] for key in known.texts), "what was refused must not be remembered"


def test_the_published_schema_carries_the_bounds() -> None:
    _, schemas = msgspec.json.schema_components([MetricsRequest])
    assert schemas["MetricsRequest"]["properties"]["metrics"]["maxItems"] == 5000
    point = schemas["MetricPoint"]
    assert point["required"] == ["name", "value"]
    assert point["properties"]["name"]["pattern"] == r"^[^\u0000]*$"
    assert point["properties"]["labels"]["maxProperties"] == 64
