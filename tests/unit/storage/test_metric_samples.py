"""Columns <-> binary COPY, without a server."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from storage.metric_samples import Samples, decode_copy, encode_copy, in_order
from storage.sample_answer import SampleAnswer
from topics.errors import Unavailable

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
EPOCH_US = 946_684_800_000_000


def samples(rows: list[tuple[int, int, float]]) -> Samples:
    series, ts, value = zip(*rows, strict=True) if rows else ((), (), ())
    return Samples(np.array(series, np.int32), np.array(ts, np.int64), np.array(value, np.float64))


def rows_of(found: Samples) -> list[tuple[int, int, float]]:
    return list(zip(found.series_id.tolist(), found.ts_us.tolist(), found.value.tolist(), strict=True))


def answer(rows: list[tuple[int, int, int, float]]) -> bytes:
    """What COPY (read_samples) gives: (series, ts, block, value)."""
    packed = b"".join(
        struct.pack(">hiiiqiqid", 4, 4, series, 8, ts - EPOCH_US, 8, block, 8, value)
        for series, ts, block, value in rows
    )
    return HEADER + packed + b"\xff\xff"


def test_a_block_is_sorted_and_the_last_of_equals_stays() -> None:
    given = samples([(2, 5, 1.0), (1, 9, 2.0), (2, 5, 3.0), (1, 7, 4.0), (2, 5, 5.0), (2, 4, 6.0)])
    assert rows_of(in_order(given)) == [(1, 7, 4.0), (1, 9, 2.0), (2, 4, 6.0), (2, 5, 5.0)]
    assert rows_of(in_order(samples([]))) == []
    assert rows_of(in_order(samples([(1, 1, 1.0)]))) == [(1, 1, 1.0)]


def test_the_bytes_are_those_of_the_format() -> None:
    encoded = encode_copy(samples([(7, EPOCH_US + 1, 2.5)]), 3)
    assert encoded == HEADER + struct.pack(">hiqidiqii", 4, 8, 1, 8, 2.5, 8, 3, 4, 7) + b"\xff\xff"


def test_bits_of_nan_pass_both_ways() -> None:
    bits = np.array([0x7FF0000000000002, 0x7FF8000000000001, 0xFFF8000000000000], np.uint64)
    encoded = encode_copy(Samples(np.arange(3, dtype=np.int32), np.zeros(3, np.int64), bits.view(np.float64)), 1)
    assert all(struct.pack(">Q", pattern) in encoded for pattern in bits.tolist())
    packed = b"".join(
        struct.pack(">hiiiqiqiQ", 4, 4, n, 8, 0, 8, 1, 8, pattern) for n, pattern in enumerate(bits.tolist())
    )
    assert decode_copy(HEADER + packed + b"\xff\xff").value.view(np.uint64).tolist() == bits.tolist()


def test_what_is_read_comes_in_order_and_the_higher_block_wins() -> None:
    read = decode_copy(answer([(2, 20, 5, 1.0), (1, 10, 7, 2.0), (1, 10, 3, 3.0), (1, 5, 9, 4.0), (2, 10, 5, 5.0)]))
    assert rows_of(read) == [(1, 5, 4.0), (1, 10, 2.0), (2, 10, 5.0), (2, 20, 1.0)]
    assert rows_of(decode_copy(answer([]))) == []


def bare(rows: list[tuple[int, int, float]]) -> bytes:
    """What the same gives without blocks: (series, ts, value)."""
    packed = b"".join(struct.pack(">hiiiqid", 3, 4, series, 8, ts - EPOCH_US, 8, value) for series, ts, value in rows)
    return HEADER + packed + b"\xff\xff"


def taken(whole: bytes, size: int = 1000) -> SampleAnswer:
    answer = SampleAnswer()
    for begin in range(0, len(whole), size):
        answer.take(whole[begin : begin + size])
    return answer


@pytest.mark.parametrize(
    ("rows", "counts", "times", "values"),
    [
        # Two blocks, each in order of series and time; series 4 has nothing.
        (
            [(2, 1, 1.0), (2, 2, 2.0), (9, 1, 3.0), (2, 3, 4.0), (9, 3, 5.0)],
            [3, 0, 2],
            [1, 2, 3, 1, 3],
            [1, 2, 4, 3, 5],
        ),
        # A sample that came late lies behind newer ones.
        (
            [(2, 5, 1.0), (2, 3, 2.0), (9, 7, 3.0), (9, 6, 4.0), (2, 4, 5.0)],
            [3, 0, 2],
            [3, 4, 5, 6, 7],
            [2, 5, 1, 4, 3],
        ),
        ([(9, 3, 1.0)], [0, 0, 1], [3], [1]),
        ([], [0, 0, 0], [], []),
    ],
)
def test_without_blocks_samples_come_series_by_series_in_order(
    rows: list[tuple[int, int, float]], counts: list[int], times: list[int], values: list[float]
) -> None:
    whole = bare(rows)
    for size in (1, 7, 35, len(whole)):
        answer = taken(whole, size)
        found = answer.columns(np.array([2, 4, 9], np.int32))
        assert found is not None
        assert ([column.tolist() for column in found], answer.rows) == ([counts, times, values], len(rows))


def test_without_blocks_two_samples_of_one_time_cannot_be_told_apart() -> None:
    ids = np.array([1, 2], np.int32)
    assert taken(bare([(1, 5, 1.0), (1, 5, 2.0)])).columns(ids) is None
    assert taken(bare([(1, 5, 1.0), (1, 7, 1.0), (2, 7, 1.0), (1, 5, 2.0)])).columns(ids) is None
    assert taken(bare([(1, 5, 1.0), (2, 5, 2.0)])).columns(ids) is not None


@pytest.mark.parametrize("cut", [0, 10, 19, 25, 53, 54])
def test_without_blocks_an_answer_that_is_cut_off_is_not_taken_for_a_short_one(cut: int) -> None:
    whole = bare([(1, 10, 1.0)])
    assert cut < len(whole)
    with pytest.raises(Unavailable):
        taken(whole[:cut]).columns(np.array([1], np.int32))


@pytest.mark.parametrize("cut", [0, 10, 25, 40, 66])
def test_an_answer_that_is_cut_off_is_not_taken_for_a_short_one(cut: int) -> None:
    whole = answer([(1, 10, 1, 1.0)])
    assert cut < len(whole)
    with pytest.raises(Unavailable):
        decode_copy(whole[:cut])
