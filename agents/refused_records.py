"""A raw batch that is refused -> the records at fault, each by itself, and a batch of the others.

The gateway has checked every record before, so this is for what another version let through, or for what only normalizing finds:
one record must not take a thousand with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import msgspec

from agents.raw_batches import DECODED_BYTES_MAX
from topics.content_encoding import decoded
from topics.errors import Refused
from topics.raw import RawBatch

log = logging.getLogger(__name__)

T = TypeVar("T")

_REQUEST: Final = msgspec.json.Decoder(dict[str, list[msgspec.Raw]])

DATA_FAULTS: Final = (ValueError, OverflowError, RecursionError, msgspec.MsgspecError)
"""What data can make a codec raise. Anything else is a bug that no record is to blame for."""


@dataclass(frozen=True, slots=True)
class RefusedRecord:
    """One record, as a raw batch of its own that can be replayed, and why."""

    batch: RawBatch
    reason: Refused


def normalize_apart(work: Callable[[RawBatch], T], batch: RawBatch) -> tuple[T, list[RefusedRecord]]:
    """What `work` makes of a batch, or of those of its records that it does not refuse, and the others.

    Raises `Refused` when the fault is not of single records: the body cannot be read, or no record is good.
    """
    try:
        return _done(work, batch), []
    except Refused as exc:
        # The gateway should have found it, so whoever looks needs to see where it was.
        log.error("request %s of organization %s: %s", batch.request_id, batch.org_id, exc, exc_info=exc.__cause__)
        collection, records = _records(batch, exc)
        good, refused = _told_apart(work, batch, collection, records)
        if not good:
            raise
    return _done(work, _batch_of(batch, collection, good)), refused


def _told_apart(
    work: Callable[[RawBatch], T], batch: RawBatch, collection: str, records: list[msgspec.Raw]
) -> tuple[list[msgspec.Raw], list[RefusedRecord]]:
    good: list[msgspec.Raw] = []
    refused: list[RefusedRecord] = []
    for record in records:
        alone = _batch_of(batch, collection, [record])
        try:
            _done(work, alone)
        except Refused as exc:
            refused.append(RefusedRecord(alone, exc))
        else:
            good.append(record)
    return good, refused


def _done(work: Callable[[RawBatch], T], batch: RawBatch) -> T:
    try:
        return work(batch)
    except DATA_FAULTS as exc:
        raise Refused(f"cannot normalize: {exc}", code="cannot_normalize") from exc


def _records(batch: RawBatch, refusal: Refused) -> tuple[str, list[msgspec.Raw]]:
    """The one collection of a native request. Raises `refusal` when there is none of more than one record."""
    if batch.format != "native":
        raise refusal
    try:
        request = _REQUEST.decode(decoded(batch.body, batch.encoding, bytes_max=DECODED_BYTES_MAX))
    except (Refused, msgspec.MsgspecError, RecursionError):
        raise refusal from None
    if len(request) != 1 or len(next(iter(request.values()))) < 2:
        raise refusal
    return next(iter(request.items()))


def _batch_of(batch: RawBatch, collection: str, records: list[msgspec.Raw]) -> RawBatch:
    return replace(batch, body=msgspec.json.encode({collection: records}), encoding="identity")
