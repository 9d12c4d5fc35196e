"""A raw batch becomes columns: timestamps in nanoseconds, ids of where it stood, nothing lost."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from agents.normalize_logs import normalize_logs
from topics.errors import Refused
from topics.log_columns import LOG_MESSAGES, SCHEMA
from topics.raw import RawBatch
from topics.record_ids import record_ids

ORG = "0c6f1a3e-6b0e-4a52-9f0a-6a3f6f1f2b11"


def batch(*logs: object, **changed: object) -> RawBatch:
    body = json.dumps({"logs": logs}).encode()
    return RawBatch(**{  # type: ignore[arg-type]  # the mapping mixes the fields' types
        "org_id": ORG, "request_id": "r", "received_at_ms": 1_761_904_800_123, "retention_days": 30, "body": body,
    } | changed)  # fmt: skip


FULL = {
    "timestamp": "2025-10-31T10:00:00.123456789Z", "service": "api", "level": "ERROR", "message": "fäiled",
    "trace_id": "t", "span_id": "s", "host": "h", "environment": "e", "version": "v", "attributes": {"a": [1, {"b": None}]},
}  # fmt: skip
BARE = {"timestamp": 1_761_904_800, "service": "web", "level": "info", "message": "", "host": None, "attributes": None}


def test_every_field_arrives() -> None:
    value, _ = normalize_logs(batch(FULL, BARE), partition=3, offset=7)
    columns = LOG_MESSAGES.decode(value)
    assert columns.schema == SCHEMA
    full, bare = columns.to_pylist()
    assert {name: full[name] for name in ("service", "level", "message", "trace_id", "span_id")} == {
        "service": "api", "level": "error", "message": "fäiled", "trace_id": "t", "span_id": "s",
    }  # fmt: skip
    assert json.loads(full["attributes"]) == FULL["attributes"]
    assert columns["ts"].view(pa.int64()).to_pylist() == [1_761_904_800_123_456_789, 1_761_904_800_000_000_000]
    assert columns["received_at"].view(pa.int64()).to_pylist() == [1_761_904_800_123] * 2
    assert (bare["host"], bare["environment"], bare["attributes"], bare["org_id"]) == ("", "", "{}", ORG)
    assert columns["record_id"].to_pylist() == list(record_ids(3, 7, 2))
    assert columns["retention_days"].to_pylist() == [30, 30]


def test_the_message_says_what_it_holds() -> None:
    value, headers = normalize_logs(batch(*[BARE] * 40), partition=0, offset=1)
    columns = LOG_MESSAGES.decode(value)
    assert dict(headers) == {"schema": b"logs/1", "rows": b"40", "bytes": b"%d" % columns.nbytes}
    assert columns.num_rows == 40


@pytest.mark.parametrize(
    "broken",
    [
        batch(FULL, body=b"{"),
        batch(FULL, format="otlp"),
        batch(FULL, encoding="gzip"),
        batch(FULL | {"timestamp": "?"}),
    ],
)
def test_what_cannot_be_read_is_refused(broken: RawBatch) -> None:
    with pytest.raises(Refused):
        normalize_logs(broken, partition=0, offset=1)
