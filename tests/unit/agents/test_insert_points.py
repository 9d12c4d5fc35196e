"""Blocks of points are stored once through any crash, a restart of the transport included, and bad messages are buried alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from agents.blocks import BlockBounds, BlockWriter
from agents.delivery import Delivery
from agents.inserts import points_into
from storage.metrics import AlreadyStored, MetricsStored, SourceRange
from storage.scope import OrgScope
from topics.errors import Refused, Unavailable
from topics.ledger import OpenIntent
from topics.metric_columns import MetricBatch, Series, encode, encode_series
from topics.raw import Headers

ORG = "0c6f1a3e-6b0e-4a52-9f0a-6a3f6f1f2b11"


def message(number: int, points: int = 1) -> bytes:
    series = encode_series(Series("up", {"number": str(number)}, "gauge", ""))
    zeros = np.zeros(points)
    return encode(MetricBatch([series], zeros.astype(np.int32), zeros.astype(np.int64), zeros + number))


class Message:
    def __init__(self, offset: int, value: bytes, headers: Headers) -> None:
        self.topic, self.partition, self.offset, self.value, self.headers = "metrics", 2, offset, value, headers
        self.key = None


class Event:
    def __init__(self, offset: int, value: bytes, org_id: str) -> None:
        self.message = Message(offset, value, [("org", org_id.encode())])
        self.acked = False

    def ack(self) -> None:
        self.acked = True


class Points:
    """A metrics store with transactions: points and the next offset together; its answers may get lost."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.next: dict[tuple[str, str, int], int] = {}
        self.lost_answers = 0
        self.refuses: set[float] = set()
        self.sources: list[SourceRange] = []

    async def insert(self, batches: Sequence[tuple[OrgScope, MetricBatch]], source: SourceRange) -> MetricsStored:
        await asyncio.sleep(0)
        place = (source.incarnation, source.topic, source.partition)
        if source.first < self.next.get(place, 0):
            raise AlreadyStored(self.next[place])
        values = [float(value) for _, batch in batches for value in batch.value]
        if self.refuses.intersection(values):
            raise Refused("cannot store them", code="bad_block")
        self.values += values
        self.next[place] = source.last + 1
        self.sources.append(source)
        if self.lost_answers:
            self.lost_answers -= 1
            raise Unavailable("the connection broke behind COMMIT")
        return MetricsStored(len(values), 0, 0)


class Transport:
    """One partition's intent and commit; `restart` begins a new incarnation, as Redis does."""

    def __init__(self) -> None:
        self.incarnation = "i.1"
        self.intent: OpenIntent | None = None
        self.committed = 1
        self.stalls_at_commit = False

    async def read(self) -> OpenIntent | None:
        return self.intent if self.intent is not None and self.intent.last >= self.committed else None

    async def write(self, intent: OpenIntent) -> None:
        self.intent = intent

    async def commit(self, last: int) -> None:
        if self.stalls_at_commit:
            await asyncio.Event().wait()
        self.committed = last + 1

    def token(self, first: int, last: int) -> str:
        return f"{self.incarnation}/metrics/2/{first}-{last}"


class Worker:
    """One life of a worker: reads from the committed offset on."""

    def __init__(self, store: Points, transport: Transport, messages: list[bytes], org_id: str = ORG) -> None:
        self.buried: list[bytes] = []
        self.crashes: list[BaseException] = []
        events = [Event(offset, value, org_id) for offset, value in enumerate(messages, 1)]
        self.events = [event for event in events if event.message.offset >= transport.committed]
        self.writer = BlockWriter(
            topic="metrics",
            bounds=BlockBounds(rows_max=3, age_s=0.01),
            ledger=transport,
            insert=points_into(store),
            delivery=Delivery(
                "store_metrics",
                produce=lambda event, topic, value, headers, key: self.buried.append(value),
                crash=self.crashes.append,
            ),
        )
        for event in self.events:
            self.writer.add(event, offset=event.message.offset, value=event.message.value, rows=1, size=20)

    async def settle(self) -> None:
        for _ in range(400):
            await asyncio.sleep(0.005)
            if all(event.acked for event in self.events):
                await asyncio.sleep(0.005)
                return


MESSAGES = [message(number) for number in range(1, 9)]
VALUES = [float(number) for number in range(1, 9)]


@pytest.mark.parametrize("restarted", [False, True])
async def test_points_stored_before_a_crash_are_not_stored_again(restarted: bool) -> None:
    store, transport = Points(), Transport()
    transport.stalls_at_commit = True
    first = Worker(store, transport, MESSAGES)
    await asyncio.sleep(0.05)
    await first.writer.stop()
    assert store.values == VALUES[:3], "one block is stored and not committed"
    transport.stalls_at_commit = False
    if restarted:
        transport.incarnation = "i.2"
    second = Worker(store, transport, MESSAGES)
    await second.settle()
    await second.writer.stop()
    assert store.values == VALUES
    assert {source.incarnation for source in store.sources[1:]} == {transport.incarnation}
    assert (transport.committed, first.crashes, second.crashes) == (9, [], [])


async def test_a_lost_answer_is_found_out() -> None:
    store = Points()
    store.lost_answers = 2
    worker = Worker(store, Transport(), MESSAGES)
    await worker.settle()
    await worker.writer.stop()
    assert store.values == VALUES
    assert store.sources[0] == SourceRange("i.1", "metrics", 2, 1, 3)


async def test_only_the_message_at_fault_is_buried() -> None:
    store, worker_messages = Points(), [*MESSAGES]
    store.refuses = {5.0}
    worker_messages[1] = b"not Arrow"
    worker_messages[6] = message(7, points=2)  # its header says 1
    worker = Worker(store, Transport(), worker_messages)
    await worker.settle()
    await worker.writer.stop()
    assert sorted(store.values) == [1.0, 3.0, 4.0, 6.0, 8.0]
    assert sorted(worker.buried) == sorted([worker_messages[1], MESSAGES[4], worker_messages[6]])
    assert worker.crashes == []


async def test_a_message_without_an_organization_is_buried() -> None:
    store = Points()
    worker = Worker(store, Transport(), MESSAGES[:1], org_id="nobody")
    await worker.settle()
    await worker.writer.stop()
    assert (store.values, worker.buried) == ([], MESSAGES[:1])


async def test_only_what_is_left_of_a_range_is_stored() -> None:
    store = Points()
    store.next["i.1", "metrics", 2] = 3
    worker = Worker(store, Transport(), MESSAGES[:3])
    await worker.settle()
    await worker.writer.stop()
    assert store.values == [3.0]
