"""Metric points -> message bytes -> the same points, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from topics.errors import Refused
from topics.metric_columns import MetricBatch, Series, decode, decode_series, encode, encode_series

STALE_NAN = np.array([0x7FF0000000000002], np.uint64).view(np.float64)[0]


def _batch(points: int) -> MetricBatch:
    series = [encode_series(Series("up", {"service": f"s{i}"}, "gauge", "")) for i in range(3)]
    value = np.linspace(0, 1, points)
    value[0] = STALE_NAN
    return MetricBatch(
        series, np.arange(points, dtype=np.int32) % 3, np.arange(points, dtype=np.int64) * 1_000_000, value
    )


@pytest.mark.parametrize("points", [1, 31, 32, 5000])
def test_points_come_back_bit_for_bit(points: int) -> None:
    batch = _batch(points)
    back = decode(encode(batch))
    assert back.series == batch.series
    assert back.points == points
    assert (back.index == batch.index).all()
    assert (back.ts_us == batch.ts_us).all()
    assert (back.value.view(np.uint64) == batch.value.view(np.uint64)).all()


def test_a_series_has_one_text_whatever_the_order_of_its_labels() -> None:
    one = encode_series(Series("up", {"b": "2", "a": "1"}, "gauge", ""))
    assert one == encode_series(Series("up", {"a": "1", "b": "2"}, "gauge", ""))
    assert decode_series(one) == Series("up", {"a": "1", "b": "2"}, "gauge", "")


@pytest.mark.parametrize("message", [b"", b"junk", encode(_batch(40))[:-200]])
def test_what_is_no_metrics_message_is_refused(message: bytes) -> None:
    with pytest.raises(Refused) as refusal:
        decode(message)
    assert refusal.value.code == "bad_message"


def test_a_point_without_a_series_is_refused() -> None:
    batch = _batch(3)
    with pytest.raises(Refused):
        decode(encode(MetricBatch(batch.series[:1], batch.index, batch.ts_us, batch.value)))


@pytest.mark.parametrize("text", [b"", b"{}", b'["up"]', b'["up", {"a": 1}, "gauge", ""]'])
def test_what_is_no_series_is_refused(text: bytes) -> None:
    with pytest.raises(Refused):
        decode_series(text)
