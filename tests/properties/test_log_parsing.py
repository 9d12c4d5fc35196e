"""Whatever is sent: the parsers accept exactly what they should, and fail in no other way than by a refusal."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.normalize_logs import normalize_logs
from gateway.native_logs import check_native_logs
from topics.errors import Refused
from topics.levels import normalize_levels
from topics.log_columns import LOG_MESSAGES
from topics.raw import RawBatch
from topics.timestamps import format_timestamp, parse_timestamp, parse_timestamps
from topics.trace_ids import normalize_ids

RECEIVED_MS = 9_223_372_036_000
"""As late as there is, so that no time lies in the future of its arrival."""

NS_MAX = 2**63 - 1
UNIT_EDGES = [edge + step for edge in (10**11, 10**14, 10**17, NS_MAX, NS_MAX // 10**9, 0) for step in (-1, 0, 1)]
texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
timestamps = (
    st.integers(0, 9_223_372_036)
    | st.datetimes(datetime(1970, 1, 1), datetime(2262, 1, 1)).map(lambda moment: moment.isoformat() + "Z")
    | st.floats(0, 4e9)
)
logs = st.fixed_dictionaries(
    {
        "timestamp": timestamps,
        "service": texts.filter(lambda text: 1 <= len(text) <= 200),
        "level": st.sampled_from(["debug", "INFO", "Warn", "error"]),
        "message": texts,
    },
    optional={
        "trace_id": st.none() | texts.filter(lambda text: len(text) <= 200),
        "host": st.none() | texts.filter(lambda text: len(text) <= 200),
        "attributes": st.none() | st.dictionaries(texts, json_values, max_size=4),
    },
)


@given(st.integers(0, NS_MAX))
def test_a_time_written_is_the_time_read(ns: int) -> None:
    assert parse_timestamp(format_timestamp(ns)) == ns
    assert parse_timestamps([format_timestamp(ns)] * 30).tolist() == [ns] * 30


@given(st.integers(0, 4_000_000_000), st.integers(-14 * 60, 14 * 60))
def test_a_zone_moves_the_clock_and_not_the_time(seconds: int, offset_minutes: int) -> None:
    local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, minutes=offset_minutes)
    sign, size = ("-", -offset_minutes) if offset_minutes < 0 else ("+", offset_minutes)
    text = f"{local:%Y-%m-%dT%H:%M:%S}{sign}{size // 60:02d}:{size % 60:02d}"
    if local.year >= 1970:
        assert parse_timestamp(text) == seconds * 10**9


@given(
    st.lists(texts | st.integers() | st.floats(), min_size=1, max_size=60)
    | st.lists(st.integers(0, 10**19) | st.sampled_from(UNIT_EDGES), min_size=24, max_size=60)
    | st.lists(st.floats(0, 1e19) | st.sampled_from([float(edge) for edge in UNIT_EDGES]), min_size=24, max_size=60)
)
def test_a_column_is_read_as_its_values_are(values: list[Any]) -> None:
    def outcome(read: Any) -> Any:
        try:
            return read()
        except Refused as exc:
            return exc.path

    def one_by_one() -> list[int]:
        return [parse_timestamp_at(values, i) for i in range(len(values))]

    assert outcome(lambda: parse_timestamps(values).tolist()) == outcome(one_by_one)


def parse_timestamp_at(values: list[Any], i: int) -> int:
    try:
        return parse_timestamp(values[i])
    except Refused as exc:
        raise Refused(exc.reason, path=f"[{i}]") from None


@given(st.binary(max_size=300) | json_values.map(lambda value: json.dumps(value).encode()))
def test_a_body_is_read_or_refused_and_nothing_else(body: bytes) -> None:
    try:
        count = check_native_logs(body)
    except Refused as exc:
        code = exc.code
    else:
        code = "accepted" if count >= 1 else "none"
    assert code in {"accepted", "malformed_json", "invalid_utf8", "invalid_field", "too_many_records"}


@settings(max_examples=50)
@given(st.lists(logs, min_size=1, max_size=40))
def test_what_the_gateway_accepts_the_normalizer_keeps_whole(sent: list[dict[str, Any]]) -> None:
    body = json.dumps({"logs": sent}).encode()
    assert check_native_logs(body) == len(sent)
    batch = RawBatch("0c6f1a3e-6b0e-4a52-9f0a-6a3f6f1f2b11", "r", RECEIVED_MS, 30, body)
    value, _ = normalize_logs(batch, partition=1, offset=1)
    rows = LOG_MESSAGES.decode(value).drop_columns(["ts", "received_at"]).to_pylist()
    for log, row in zip(sent, rows, strict=True):
        assert (row["service"], row["message"]) == (log["service"], log["message"])
        assert row["level"] == normalize_levels([log["level"]])[0]
        assert row["trace_id"] == normalize_ids([log.get("trace_id")])[0]
        assert json.loads(row["attributes"]) == (log.get("attributes") or {})


@given(logs, st.sampled_from(["service", "level", "message", "timestamp"]), json_values)
def test_a_field_of_the_wrong_type_is_named(log: dict[str, Any], field: str, value: Any) -> None:
    if isinstance(value, str) or (
        field == "timestamp" and isinstance(value, int | float) and not isinstance(value, bool)
    ):
        return
    with pytest.raises(Refused) as caught:
        check_native_logs(json.dumps({"logs": [log, log | {field: value}]}).encode())
    assert caught.value.path == f"logs[1].{field}"
