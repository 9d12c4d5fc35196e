"""One record at fault is told apart from its batch, whatever it makes the codec raise."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from agents.normalize_logs import normalize_logs
from agents.refused_records import RefusedRecord, normalize_apart
from topics.errors import Refused, Unavailable
from topics.log_columns import LOG_MESSAGES
from topics.raw import RawBatch

GOOD = {"timestamp": 1_761_904_800, "service": "api", "level": "info", "message": "good"}
BAD = GOOD | {"timestamp": "yesterday"}


def batch(*logs: Any, **changed: Any) -> RawBatch:
    known: dict[str, Any] = {
        "org_id": "o",
        "request_id": "r",
        "received_at_ms": 1_761_904_800_123,
        "retention_days": 30,
    }
    return RawBatch(**(known | {"body": json.dumps({"logs": logs}).encode()} | changed))


def normalized(batch: RawBatch) -> tuple[list[str], list[RefusedRecord]]:
    (value, _), refused = normalize_apart(lambda each: normalize_logs(each, partition=1, offset=7), batch)
    return [
        row["message"] for row in LOG_MESSAGES.decode(value).drop_columns(["ts", "received_at"]).to_pylist()
    ], refused


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_the_others_go_on_and_the_bad_ones_can_be_replayed(encoding: str) -> None:
    whole = batch(GOOD | {"message": "1"}, BAD, GOOD | {"message": "2"}, GOOD | {"surprise": True}, encoding=encoding)
    if encoding == "gzip":
        whole = batch(body=gzip.compress(whole.body), encoding=encoding)
    messages, refused = normalized(whole)
    assert messages == ["1", "2"]
    assert [record.reason.path for record in refused] == ["logs[0].timestamp", "logs[0].surprise"]
    assert [json.loads(record.batch.body) for record in refused] == [
        {"logs": [BAD]}, {"logs": [GOOD | {"surprise": True}]},
    ]  # fmt: skip
    again = RawBatch.from_message(refused[0].batch.body, refused[0].batch.headers())
    assert (again.org_id, again.request_id, again.received_at_ms, again.encoding) == (
        "o",
        "r",
        1_761_904_800_123,
        "identity",
    )
    with pytest.raises(Refused):
        normalized(again)


def test_a_good_batch_is_normalized_once() -> None:
    assert normalized(batch(GOOD, GOOD)) == (["good", "good"], [])


@pytest.mark.parametrize(
    "whole",
    [
        batch(BAD),
        batch(BAD, BAD),
        batch(body=b"{"),
        batch(body=b'{"logs":[1],"more":[2]}'),
        batch(body=b"[1,2]"),
        batch(body=b"\x1f\x8b", encoding="gzip"),
        batch(GOOD, GOOD, format="otlp"),
    ],
)
def test_what_is_not_the_fault_of_single_records_is_refused_whole(whole: RawBatch) -> None:
    with pytest.raises(Refused):
        normalized(whole)


@pytest.mark.parametrize("fault", [ValueError("odd"), OverflowError(), RecursionError(), UnicodeError("odd")])
def test_a_fault_of_data_is_told_apart_too(fault: Exception) -> None:
    def work(each: RawBatch) -> bytes:
        if b"odd" in each.body:
            raise fault
        return each.body

    done, (refused,) = normalize_apart(work, batch(GOOD, GOOD | {"message": "odd"}))
    assert json.loads(done) == {"logs": [GOOD]}
    assert refused.reason.code == "cannot_normalize"


@pytest.mark.parametrize("fault", [TypeError(), KeyError(), Unavailable("away")])
def test_a_bug_or_an_absent_store_is_nobodys_fault(fault: Exception) -> None:
    def work(each: RawBatch) -> bytes:
        raise fault

    with pytest.raises(type(fault)):
        normalize_apart(work, batch(GOOD, GOOD))
