"""What is put on a topic comes off it the same: raw batches, dead letters, columns, ids."""

from __future__ import annotations

import pyarrow as pa
import pytest

from topics.dead_letters import DeadLetter
from topics.errors import Refused
from topics.log_columns import LOG_MESSAGES, SCHEMA
from topics.raw import RawBatch
from topics.record_ids import record_ids

RAW = RawBatch(
    org_id="0c6f1a3e-6b0e-4a52-9f0a-6a3f6f1f2b11",
    request_id="r1",
    received_at_ms=1_761_904_800_123,
    retention_days=30,
    body=b"\x00\xff{}",
    format="native",
    encoding="gzip",
)


def test_raw_batch_round_trip() -> None:
    assert RawBatch.from_message(RAW.body, RAW.headers()) == RAW


@pytest.mark.parametrize("drop", ["org", "request", "received_at_ms", "retention_days", "format", "encoding"])
def test_raw_message_without_a_header_is_refused(drop: str) -> None:
    with pytest.raises(Refused, match=drop):
        RawBatch.from_message(b"", [pair for pair in RAW.headers() if pair[0] != drop])


def test_dead_letter_keeps_the_original() -> None:
    letter = DeadLetter(
        topic="logs.raw",
        partition=3,
        offset=41,
        agent="normalize_logs",
        code="bad_message",
        reason="cannot read: ü",
        refused_at_ms=1,
        headers=tuple(RAW.headers()),
    )
    again = DeadLetter.from_headers(letter.message_headers())
    assert again == letter
    assert RawBatch.from_message(RAW.body, again.headers) == RAW
    with pytest.raises(Refused):
        DeadLetter.from_headers(RAW.headers())


def columns(rows: int, first_id: int = 0) -> pa.RecordBatch:
    texts = pa.array([f"text {i}" for i in range(rows)])
    instants = pa.array(range(rows), pa.int64())
    made = {
        "ts": instants.cast(pa.timestamp("ns", "UTC")),
        "received_at": instants.cast(pa.timestamp("ms", "UTC")),
        "record_id": pa.array(range(first_id, first_id + rows), pa.uint64()),
        "retention_days": pa.array([30] * rows, pa.uint16()),
    }
    return pa.record_batch([made.get(field.name, texts) for field in SCHEMA], schema=SCHEMA)


@pytest.mark.parametrize("rows", [1, 31, 32, 1000])
def test_columns_round_trip(rows: int) -> None:
    assert LOG_MESSAGES.decode(LOG_MESSAGES.encode(columns(rows))) == columns(rows)


@pytest.mark.parametrize("sizes", [(1000, 400, 300), (1, 1000, 3), (1,) * 500, (3,)])
def test_joined_messages_are_one_arrow_stream(sizes: tuple[int, ...]) -> None:
    firsts = [sum(sizes[:i]) for i in range(len(sizes))]
    parts = [columns(size, first) for size, first in zip(sizes, firsts, strict=True)]
    stream = LOG_MESSAGES.join([LOG_MESSAGES.encode(part) for part in parts], sum(sizes))
    with pa.ipc.open_stream(stream) as reader:
        assert reader.schema == SCHEMA
        batches = list(reader)
    assert pa.Table.from_batches(batches) == pa.Table.from_batches(parts)
    assert len(batches) == (1 if sum(sizes) < 100 * len(sizes) else len(sizes))


def test_a_broken_message_among_small_ones_is_refused() -> None:
    with pytest.raises(Refused):
        LOG_MESSAGES.join([LOG_MESSAGES.encode(columns(1)), b"junk"], 2)


@pytest.mark.parametrize("junk", [b"", b"\x00" * 64, b"not arrow at all, but rather long", None])
def test_a_message_that_is_no_batch_is_refused(junk: bytes | None) -> None:
    with pytest.raises(Refused):
        LOG_MESSAGES.decode(junk if junk is not None else LOG_MESSAGES.encode(columns(50))[:-200])


def test_record_ids_are_unique_over_partitions_offsets_and_rows() -> None:
    ids = [i for p in (0, 1, 255) for o in (0, 1, 2**46 - 1) for i in record_ids(p, o, 1000)]
    assert len(set(ids)) == len(ids)
    assert max(ids) < 2**64
    for bad in ((256, 0, 1), (0, 2**46, 1), (0, 0, 1025), (-1, 0, 1)):
        with pytest.raises(ValueError, match="cannot make record ids"):
            record_ids(*bad)
