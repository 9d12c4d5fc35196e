"""Blocks are cut by their bounds, and written so that a crash at any step stores every row once."""

from __future__ import annotations

import asyncio

import pytest

from agents.blocks import Block, BlockBounds, BlockBuffer, BlockWriter, Part
from agents.delivery import Delivery
from topics.errors import Refused, Unavailable
from topics.ledger import OpenIntent, PartitionLost

BOUNDS = BlockBounds(rows_max=100, bytes_max=1000, age_s=0.5)


class Message:
    def __init__(self, offset: int, value: bytes) -> None:
        self.topic, self.partition, self.offset, self.value, self.headers = "logs", 0, offset, value, []
        self.key = None


class Event:
    def __init__(self, offset: int, value: bytes) -> None:
        self.message = Message(offset, value)
        self.acked = False

    def ack(self) -> None:
        self.acked = True


class Store:
    """A store with deduplication by token, a ledger, and a process that can be stopped between any two steps."""

    def __init__(self) -> None:
        self.rows: list[bytes] = []
        self.tokens: set[str] = set()
        self.intent: OpenIntent | None = None
        self.committed = 1
        self.acked: list[Event] = []
        self.away = 0
        self.stop_at: tuple[str, int] | None = None
        self.steps: list[str] = []
        self.refuses: set[bytes] = set()
        self.lost = False

    async def step(self, name: str) -> None:
        self.steps.append(name)
        if self.stop_at == (name, self.steps.count(name)):
            await asyncio.Event().wait()
        if self.away:
            self.away -= 1
            raise Unavailable("away")

    async def read(self) -> OpenIntent | None:
        await self.step("read")
        return self.intent if self.intent is not None and self.intent.last >= self.committed else None

    async def write(self, intent: OpenIntent) -> None:
        await self.step("write")
        if self.lost:
            raise PartitionLost("lost")
        self.intent = intent
        await self.step("written")

    async def insert(self, block: Block) -> None:
        await self.step("insert")
        messages, token = [part.value for part in block.parts], block.token
        if self.refuses.intersection(messages):
            raise Refused("cannot store it", code="bad_block")
        if token not in self.tokens:
            self.tokens.add(token)
            self.rows += messages
        await self.step("inserted")

    async def commit(self, last: int) -> None:
        await self.step("commit")
        self.committed = last + 1

    def token(self, first: int, last: int) -> str:
        return f"{first}-{last}"


class Worker:
    """One life of a worker: reads from the committed offset on."""

    def __init__(self, store: Store, messages: list[bytes]) -> None:
        self.buried: list[bytes] = []
        self.crashes: list[BaseException] = []
        self.events = [Event(offset, value) for offset, value in enumerate(messages, 1) if offset >= store.committed]
        self.writer = BlockWriter(
            topic="logs",
            bounds=BlockBounds(rows_max=3, bytes_max=1000, age_s=0.01),
            ledger=store,
            insert=store.insert,
            delivery=Delivery(
                "store_logs",
                produce=lambda event, topic, value, headers, key: self.buried.append(value),
                crash=self.crashes.append,
            ),
        )
        for event in self.events:
            self.writer.add(event, offset=event.message.offset, value=event.message.value, rows=1, size=10)

    async def settle(self) -> None:
        for _ in range(400):
            await asyncio.sleep(0.005)
            if all(event.acked for event in self.events):
                await asyncio.sleep(0.005)
                return


@pytest.fixture
def store() -> Store:
    return Store()


def part(offset: int, rows: int, size: int = 10, arrived_s: float = 0.0) -> Part:
    return Part(None, offset, b"", rows, size, arrived_s)


def test_a_block_is_due_by_rows_bytes_or_age() -> None:
    buffer = BlockBuffer(BOUNDS)
    assert buffer.due_in_s(5.0) is None
    buffer.add(part(1, 10, arrived_s=5.0))
    assert buffer.due_in_s(5.2) == pytest.approx(0.3)
    assert buffer.due_in_s(9.0) == 0.0
    buffer.add(part(2, 90, arrived_s=5.1))
    assert buffer.due_in_s(5.1) == 0.0
    assert [p.offset for p in buffer.cut()] == [1, 2]
    assert buffer.due_in_s(9.0) is None
    buffer.add(part(3, 1, size=1000, arrived_s=9.0))
    assert buffer.due_in_s(9.0) == 0.0


def test_a_cut_keeps_within_the_bounds_but_takes_at_least_one() -> None:
    buffer = BlockBuffer(BOUNDS)
    for offset, rows in ((1, 500), (2, 60), (3, 40), (4, 1)):
        buffer.add(part(offset, rows))
    assert [[p.offset for p in buffer.cut()] for _ in range(4)] == [[1], [2, 3], [4], []]


def test_a_block_is_bounded_by_its_messages_too() -> None:
    buffer = BlockBuffer(BlockBounds(messages_max=3))
    for offset in range(1, 8):
        buffer.add(part(offset, 1, arrived_s=5.0))
    assert buffer.due_in_s(5.0) == 0.0
    assert [[p.offset for p in buffer.cut()] for _ in range(3)] == [[1, 2, 3], [4, 5, 6], [7]]


def test_an_announced_range_is_cut_as_it_was() -> None:
    buffer = BlockBuffer(BOUNDS)
    assert buffer.cut_through(2) is None
    buffer.add(part(1, 1))
    assert buffer.cut_through(2) is None
    buffer.add(part(2, 500))
    buffer.add(part(3, 1))
    assert [p.offset for p in buffer.cut_through(2) or ()] == [1, 2]
    assert [p.offset for p in buffer.cut()] == [3]


MESSAGES = [b"m%d" % i for i in range(1, 9)]
STEPS = ["read", "write", "written", "insert", "inserted", "commit"]


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("step", STEPS)
async def test_a_crash_at_any_step_stores_every_row_once(store: Store, step: str, at: int) -> None:
    store.stop_at = (step, at)
    first = Worker(store, MESSAGES)
    for _ in range(20):
        await asyncio.sleep(0.005)
    await first.writer.stop()
    store.stop_at = None
    # The successor reads in other portions than its predecessor did.
    second = Worker(store, MESSAGES)
    await second.settle()
    await second.writer.stop()
    assert sorted(store.rows) == sorted(MESSAGES)
    assert store.committed == len(MESSAGES) + 1
    assert (first.crashes, second.crashes) == ([], [])


async def test_a_store_that_is_away_is_waited_for(store: Store) -> None:
    store.away = 4
    worker = Worker(store, MESSAGES)
    await worker.settle()
    await worker.writer.stop()
    assert sorted(store.rows) == sorted(MESSAGES)
    assert store.away == 0


async def test_the_message_at_fault_is_buried_alone(store: Store) -> None:
    store.refuses = {b"m5"}
    worker = Worker(store, MESSAGES)
    await worker.settle()
    await worker.writer.stop()
    assert worker.buried == [b"m5"]
    assert sorted(store.rows) == sorted(set(MESSAGES) - {b"m5"})
    assert store.committed == len(MESSAGES) + 1


async def test_nothing_is_written_once_the_partition_is_lost(store: Store) -> None:
    store.lost = True
    worker = Worker(store, MESSAGES)
    await asyncio.sleep(0.05)
    assert (store.rows, worker.crashes) == ([], [])
    assert not any(event.acked for event in worker.events)
    await worker.writer.stop()


async def test_a_bug_crashes_and_acknowledges_nothing(store: Store) -> None:
    async def broken(block: Block) -> None:
        raise ZeroDivisionError

    store.insert = broken  # type: ignore[method-assign]  # the bug
    worker = Worker(store, MESSAGES)
    await asyncio.sleep(0.05)
    assert [type(exc) for exc in worker.crashes] == [ZeroDivisionError]
    assert not any(event.acked for event in worker.events)
    await worker.writer.stop()
