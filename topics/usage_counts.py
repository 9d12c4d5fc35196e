"""What one raw batch adds to its organization's usage <-> a small message on `usage`, keyed by organization."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from topics.errors import Refused


class UsageCounts(msgspec.Struct, array_like=True, gc=False):
    """Records and bytes of one organization on one day, in one batch or in all of the day.

    `day` is days since 1970-01-01 in UTC, by arrival. `logs_bytes` are those of decoded request bodies. `scrubbed` is how often
    each rule of the scrubber found something.
    """

    org_id: str
    day: int
    logs_count: int = 0
    logs_bytes: int = 0
    metrics_count: int = 0
    spans_count: int = 0
    rum_events: int = 0
    scrubbed: dict[str, int] = {}

    def plus(self, other: UsageCounts) -> UsageCounts:
        """The sum of two counts of the same organization and day."""
        scrubbed = self.scrubbed
        if other.scrubbed:
            rules = self.scrubbed.keys() | other.scrubbed.keys()
            scrubbed = {rule: self.scrubbed.get(rule, 0) + other.scrubbed.get(rule, 0) for rule in rules}
        return UsageCounts(
            self.org_id,
            self.day,
            self.logs_count + other.logs_count,
            self.logs_bytes + other.logs_bytes,
            self.metrics_count + other.metrics_count,
            self.spans_count + other.spans_count,
            self.rum_events + other.rum_events,
            scrubbed,
        )


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(UsageCounts)
_DAY_MS = 86_400_000


def day_of(received_at_ms: int) -> int:
    """Unix milliseconds -> the day they lie in."""
    return received_at_ms // _DAY_MS


def date_of(day: int) -> datetime:
    """A day -> its beginning."""
    return datetime.fromtimestamp(day * 86_400, UTC)


def encode(counts: UsageCounts) -> bytes:
    """Counts -> message bytes."""
    return _ENCODER.encode(counts)


def decode(message: bytes) -> UsageCounts:
    """Message bytes -> counts. Raises `Refused` for anything that `encode` did not make."""
    try:
        return _DECODER.decode(message)
    except msgspec.MsgspecError as exc:
        raise Refused(f"cannot read a usage message: {exc}", code="bad_message") from exc
