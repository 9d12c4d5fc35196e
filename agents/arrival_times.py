"""Times that records claim -> times that are kept: one far in the future of its arrival becomes that of its arrival.

A clock that is years ahead would put its records above all others for as long as they are kept. The past is believed: records
are sent late, and imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
from prometheus_client import Counter

from enrichment.attributes import append_members
from topics.timestamps import format_timestamp

FUTURE_MAX_S: Final = 600
ORIGINAL_TIMESTAMP: Final = "original_timestamp"

CLAMPED = Counter(
    "aegis_timestamps_clamped_total",
    "Records from too far in the future, which got the time of their arrival",
    ["signal"],
)


def clamp_future(
    ts_ns: npt.NDArray[np.int64], *, received_at_ms: int, signal: str
) -> tuple[npt.NDArray[np.int64], Mapping[int, int]]:
    """Times in unix nanoseconds, none later than `FUTURE_MAX_S` after arrival, and what the others were, by their places."""
    if ts_ns.max() <= (received_at_ms + FUTURE_MAX_S * 1000) * 1_000_000:
        return ts_ns, {}
    late = np.flatnonzero(ts_ns > (received_at_ms + FUTURE_MAX_S * 1000) * 1_000_000)
    CLAMPED.labels(signal).inc(len(late))
    originals = {int(i): int(ts_ns[i]) for i in late}
    clamped = ts_ns.copy()
    clamped[late] = received_at_ms * 1_000_000
    return clamped, originals


def keep_originals(attributes: list[bytes], originals: Mapping[int, int]) -> list[bytes]:
    """The attributes with `original_timestamp`, RFC 3339, where a time was clamped; one that the sender gave stays beside it."""
    if not originals:
        return attributes
    kept = attributes.copy()
    for i, ns in originals.items():
        name = ORIGINAL_TIMESTAMP
        while f'"{name}"'.encode() in kept[i]:
            name = f"aegis.{name}"
        kept[i] = append_members(kept[i], {name: format_timestamp(ns)})
    return kept
