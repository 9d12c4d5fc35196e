"""A block of messages -> one insert into a store, which stores it once however often it is repeated."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from prometheus_client import Counter

from agents.blocks import Block, Part
from agents.delivery import message_headers
from storage.metrics import AlreadyStored, MetricsStored, SourceRange
from storage.scope import OrgScope
from topics.arrow_messages import ArrowMessages
from topics.errors import Refused
from topics.ledger import incarnation_of
from topics.metric_columns import MetricBatch, decode

REFUSED_POINTS = Counter("aegis_metric_points_refused_total", "Points of new series past an organization's limit")

Insert = Callable[[Block], Awaitable[None]]


class ColumnStore(Protocol):
    """A table of ClickHouse, as its agent needs it."""

    async def insert(self, arrow_stream: bytes, *, rows: int, token: str) -> None:
        """Store a block; the same token again must store nothing. Raises `Unavailable` and `Refused`."""


class PointStore(Protocol):
    """The metrics store, as its agent needs it."""

    async def insert(self, batches: Sequence[tuple[OrgScope, MetricBatch]], source: SourceRange) -> MetricsStored:
        """Store points and where they come from in one transaction. Raises `AlreadyStored`, `Unavailable` and `Refused`."""


def columns_into(store: ColumnStore, messages: ArrowMessages) -> Insert:
    """Blocks of Arrow columns are joined and stored under their token."""

    async def insert(block: Block) -> None:
        stream = messages.join([part.value for part in block.parts], block.rows)
        await store.insert(stream, rows=block.rows, token=block.token)

    return insert


def points_into(store: PointStore) -> Insert:
    """Blocks of points are stored with the range that they come from, under the incarnation in which it was announced.

    That range, and not the present one, is what makes a repeat after a restart of the transport harmless: the restart
    begins a new incarnation, and the intent still names the old one.
    """

    async def insert(block: Block) -> None:
        parts = block.parts
        batches = [_points_of(part) for part in parts]
        message = parts[0].event.message
        while parts:
            source = SourceRange(
                incarnation=incarnation_of(block.token),
                topic=message.topic,
                partition=message.partition,
                first=parts[0].offset,
                last=parts[-1].offset,
            )
            try:
                stored = await store.insert(batches, source)
            except AlreadyStored as exc:
                # A repeat finds its whole range stored; whatever the store names beyond it is not stored yet.
                left = sum(part.offset >= exc.next_offset for part in parts)
                if left == len(parts):
                    raise RuntimeError(f"the store says that {source} is stored, and names none of it") from exc
                parts, batches = parts[len(parts) - left :], batches[len(batches) - left :]
            else:
                REFUSED_POINTS.inc(stored.refused_points)
                return

    return insert


def _points_of(part: Part) -> tuple[OrgScope, MetricBatch]:
    """Raises `Refused` for a message that nobody of ours wrote."""
    org_id = message_headers(part.event.message).get("org", b"")
    batch = decode(part.value)
    if batch.points != part.rows:
        raise Refused(f"cannot store {batch.points} points: header rows says {part.rows}", code="bad_message")
    return OrgScope(org_id.decode("latin-1")), batch
