"""What reaches the watch agent <-> messages on `panes`, keyed by monitor: parts of windows, the time, and what people ask for.

All that a monitor's state depends on comes through this one topic, in one order, and time comes inside the messages: so whoever
handles them again, after a crash, decides the same.
"""

from __future__ import annotations

import msgspec

from topics.errors import Refused


class Pane(msgspec.Struct, array_like=True, gc=False):
    """What of one batch, or of all, falls into one pane of a window: values from `start_ms` on, for the pane's width.

    Times are unix milliseconds. `last` is the value at `last_ms`, the newest. `buckets` counts values by their logarithm, and is
    empty where no quantile is asked for. `samples` names a few records, as `trace:<id>` or `log:<id>`.
    """

    start_ms: int
    count: int
    sum: float
    min: float
    max: float
    last_ms: int
    last: float
    buckets: dict[int, int] = {}
    counters: list[Counter] = []
    samples: list[str] = []


class Counter(msgspec.Struct, array_like=True, gc=False):
    """One counter series in one pane: its first and last point, and by how much it grew between them, resets counted."""

    series: int
    first_ms: int
    first: float
    last_ms: int
    last: float
    increase: float


class Part(msgspec.Struct, array_like=True, gc=False):
    """Panes of one group of one monitor. `shape` names the form of window that they are for: a monitor's changes with an edit."""

    monitor_id: str
    shape: int
    group: str
    panes: list[Pane]


class Parts(msgspec.Struct, array_like=True, tag="parts", gc=False):
    """What one batch holds for the monitors of one partition; `received_at_ms` is when the batch came."""

    org_id: str
    received_at_ms: int
    parts: list[Part]


class Tick(msgspec.Struct, array_like=True, tag="tick", gc=False):
    """The time, for what is due without data. The owner of a partition sends it; one too many changes nothing."""

    at_ms: int


class Resolve(msgspec.Struct, array_like=True, tag="resolve", gc=False):
    """Somebody ends a group's state by hand: it becomes OK and its window empty, so that only new data raise it again."""

    org_id: str
    monitor_id: str
    group: str
    at_ms: int
    by: str = ""
    """Who, for the evidence: a user's id, or empty for a program."""


PanesMessage = Parts | Tick | Resolve

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[PanesMessage] = msgspec.msgpack.Decoder(PanesMessage)


def encode(message: PanesMessage) -> bytes:
    """What reaches the watch agent -> message bytes."""
    return _ENCODER.encode(message)


def decode(message: bytes) -> PanesMessage:
    """The other way round. Raises `Refused` for anything that `encode` did not make."""
    try:
        return _DECODER.decode(message)
    except msgspec.MsgspecError as exc:
        raise Refused(f"cannot read a panes message: {exc}", code="bad_message") from exc
