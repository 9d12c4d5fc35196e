"""The future is not believed, the past is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from prometheus_client import REGISTRY

from agents.arrival_times import FUTURE_MAX_S, clamp_future, keep_originals

RECEIVED_MS = 1_761_904_800_123
LAST_NS = (RECEIVED_MS + FUTURE_MAX_S * 1000) * 1_000_000


def counted(signal: str) -> float:
    return REGISTRY.get_sample_value("aegis_timestamps_clamped_total", {"signal": signal}) or 0.0


def test_only_what_is_too_far_in_the_future_is_clamped() -> None:
    times = np.array([0, RECEIVED_MS * 10**6, LAST_NS, LAST_NS + 1, 2**63 - 1], np.int64)
    times.flags.writeable = False  # as Arrow hands them over
    before = counted("logs")
    clamped, originals = clamp_future(times, received_at_ms=RECEIVED_MS, signal="logs")
    assert clamped.tolist() == [0, RECEIVED_MS * 10**6, LAST_NS, RECEIVED_MS * 10**6, RECEIVED_MS * 10**6]
    assert originals == {3: LAST_NS + 1, 4: 2**63 - 1}
    assert counted("logs") == before + 2


def test_nothing_is_copied_when_nothing_is_late() -> None:
    times = np.array([LAST_NS], np.int64)
    clamped, originals = clamp_future(times, received_at_ms=RECEIVED_MS, signal="logs")
    assert clamped is times
    attributes = [b"{}"]
    assert keep_originals(attributes, originals) is attributes


@pytest.mark.parametrize("given", [b"{}", b'{"a":1}', b'{"original_timestamp":"mine"}'])
def test_the_original_is_kept_beside_what_was_sent(given: bytes) -> None:
    first, second = keep_originals([given, given], {1: 1_893_456_000 * 10**9})
    assert first == given
    kept = dict(json.loads(second, object_pairs_hook=list))
    name = "aegis.original_timestamp" if b"mine" in given else "original_timestamp"
    assert kept == json.loads(given) | {name: "2030-01-01T00:00:00.000Z"}
