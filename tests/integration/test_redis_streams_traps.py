"""What Faust 0.15.3 does wrong or late with messages, tests named for the numbers of docs/faust-traps.md."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from faust.types import TP

from agents.delivery import Delivery
from topics.faust_app import EmbeddedApp, TransportConfig, create_app
from topics.redis_streams.catalogue import declare_topics
from topics.redis_streams.delivery import Delivery as Reading
from topics.redis_streams.fetch import Fetch, Record
from topics.redis_streams.keys import Keys

KEYS = Keys()
ZERO, ONE = TP("a", 0), TP("a", 1)

MakeApp = Callable[..., EmbeddedApp]


@pytest.fixture
async def client(redis_server: Any) -> AsyncIterator[Any]:
    client = redis.asyncio.Redis(port=redis_server.port, protocol=2)
    await declare_topics(client, {"a": 2, "b": 2}, readers={"a": ("g1",), "b": ("g2",)})
    yield client
    await client.aclose()


@pytest.fixture
def config(redis_server: Any, tmp_path: Path) -> TransportConfig:
    return TransportConfig(url=redis_server.url, data_dir=tmp_path / "faust", lease_s=1.0, drain_s=0.5, partitions=2)


@pytest.fixture
async def make_app(config: TransportConfig) -> AsyncIterator[MakeApp]:
    """Creates apps and stops them, whatever happens to the test."""
    apps: list[EmbeddedApp] = []

    def make(**changes: Any) -> EmbeddedApp:
        apps.append(create_app("g1", replace(config, **changes)))
        return apps[-1]

    yield make
    for app in apps:
        if app.started:
            await asyncio.wait_for(app.stop(), 10)


class Holder:
    """An agent that holds its events until a test acknowledges them."""

    def __init__(self, app: EmbeddedApp) -> None:
        self.events: list[Any] = []

        @app.agent(app.topic("a"))
        async def hold(stream: Any) -> None:
            async for event in stream.noack().events():
                self.events.append(event)

    def of(self, partition: int) -> list[Any]:
        return [event for event in self.events if event.message.partition == partition]


async def add(client: Any, number: int, *, partition: int = 0) -> None:
    for n in range(number):
        await client.execute_command("XADD", KEYS.stream("a", partition), "0-*", "v", b"%d" % n, "t", 1)


async def until(true: Callable[[], Any], timeout_s: float = 8.0) -> None:
    async with asyncio.timeout(timeout_s):
        while True:
            answer = true()
            if await answer if isinstance(answer, Awaitable) else answer:
                return
            await asyncio.sleep(0.01)


async def committed(client: Any, partition: int = 0) -> int:
    return int(await client.hget(KEYS.committed("a", partition), "g1"))


async def take_away(client: Any, partition: int) -> None:
    """Give a partition to somebody else, as after a stall beyond the lease."""
    await client.set(KEYS.epoch("g1", partition), "99:somebody")
    await client.hset(KEYS.lease("g1", partition), mapping={"owner": "somebody", "exp": 1 << 53})


@pytest.mark.parametrize("wrapped", [True, False])
async def test_trap_01_an_exception_in_an_agent_acknowledges_nothing(
    client: Any, make_app: MakeApp, wrapped: bool
) -> None:
    """Faust acknowledges the event of an agent that raises. With `Delivery` nothing raises; without, the worker ends."""
    app = make_app()
    delivery = Delivery("agent", produce=app.sender.take, crash=app._crash)

    async def fail(event: Any) -> None:
        raise ZeroDivisionError

    @app.agent(app.topic("a"))
    async def agent(stream: Any) -> None:
        if wrapped:
            await delivery.each(stream, fail)
        async for event in stream.events():
            await fail(event)

    await add(client, 3)
    await app.start()
    assert type(await asyncio.wait_for(app.wait_until_failed(), 5)) is ZeroDivisionError
    await asyncio.sleep(0.2)
    assert await committed(client) == 1
    await app.stop()
    assert await committed(client) == 1
    again = Holder(after := make_app())
    await after.start()
    await until(lambda: [event.message.offset for event in again.events] == [1, 2, 3])


async def start_of_batches_is_refused(client: Any, app: EmbeddedApp, name: str) -> None:
    @app.agent(app.topic("a"))
    async def agent(stream: Any) -> None:
        async for _ in getattr(stream, name)(10, within=0.05):
            raise ZeroDivisionError

    await add(client, 3)
    with pytest.raises(RuntimeError, match="cannot take batches"):
        await asyncio.wait_for(app.start(), 5)
    await app.stop()
    assert await committed(client) == 1


@pytest.mark.parametrize("name", ["take", "take_events", "take_with_timestamp"])
async def test_trap_01_a_batch_that_a_failing_agent_would_acknowledge_is_refused(
    client: Any, make_app: MakeApp, name: str
) -> None:
    await start_of_batches_is_refused(client, make_app(), name)


async def test_trap_02_a_batch_that_would_never_come_again_is_refused(client: Any, make_app: MakeApp) -> None:
    await start_of_batches_is_refused(client, make_app(), "noack_take")


async def test_trap_02_a_stop_does_not_wait_for_what_is_never_acknowledged(client: Any, make_app: MakeApp) -> None:
    holder = Holder(app := make_app())
    await app.start()
    await add(client, 1)
    await until(lambda: len(holder.events) == 1)
    await asyncio.wait_for(app.stop(), 3)
    assert await committed(client) == 1


async def test_trap_02_a_wait_for_agents_can_be_cancelled(client: Any, make_app: MakeApp) -> None:
    holder = Holder(app := make_app(drain_s=30.0))
    await app.start()
    await add(client, 1)
    await until(lambda: len(holder.events) == 1)
    waiting = asyncio.create_task(app.streams.wait_empty())
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.wait([waiting], timeout=1)
    assert waiting.cancelled()
    holder.events[0].ack()


async def test_trap_04_what_is_acknowledged_before_a_revoke_is_committed(client: Any, make_app: MakeApp) -> None:
    """Faust forgets acknowledgements first and commits then. Here the commit comes with the drain and no earlier."""
    holder = Holder(app := make_app(commit_interval_s=60.0))
    await app.start()
    await add(client, 3, partition=0)
    await add(client, 3, partition=1)
    await until(lambda: len(holder.events) == 6)
    for event in holder.events:
        event.ack()
    assert await committed(client) == 1
    other = Holder(second := make_app())
    await second.start()
    await until(lambda: len(app.streams.lanes) == 1 and len(second.streams.lanes) == 1)
    assert [await committed(client, partition) for partition in (0, 1)] == [4, 4]
    await asyncio.sleep(0.1)
    assert (len(holder.events), other.events) == (6, [])


async def test_trap_05_a_failed_commit_moves_no_offset_and_ends_no_worker(
    client: Any, make_app: MakeApp, redis_server: Any
) -> None:
    holder = Holder(app := make_app())
    await app.start()
    await add(client, 2)
    await until(lambda: len(holder.events) == 2)
    redis_server.kill()
    for event in holder.events:
        event.ack()
    assert await app.streams.commit() is False
    await asyncio.sleep(0.2)
    track = app.streams.track(ZERO)
    assert track is None or track.committed == 1
    assert app.streams._committed_offset[ZERO] == 1
    redis_server.start()
    await until(lambda: len(holder.events) == 4)
    for event in holder.events[2:]:
        event.ack()
    await until(lambda: app.streams._committed_offset[ZERO] == 3)
    assert await committed(client) == 3
    assert app.crash_reason is None


async def test_trap_07_messages_bear_the_generation_that_agents_accept(client: Any, make_app: MakeApp) -> None:
    """Faust skips silently what is of another generation than the app's."""
    holder = Holder(app := make_app())
    await app.start()
    await add(client, 1)
    await until(lambda: len(holder.events) == 1)
    first = app.consumer_generation_id
    assert holder.events[0].message.generation_id == first
    await take_away(client, 1)
    await until(lambda: app.streams.assignment() == {ZERO})
    await until(lambda: len(holder.events) == 2)
    assert app.consumer_generation_id == first + 1
    assert holder.events[1].message.generation_id == first + 1
    # The one of before is the same message, and counts for nothing now.
    holder.events[0].ack()
    await asyncio.sleep(0.1)
    assert await committed(client) == 1
    holder.events[1].ack()
    await until(lambda: app.streams.counts.messages_committed == 1)


class SlowFetch(Fetch):
    """Reads, and does something else before it says what it has found."""

    def __init__(self, app: EmbeddedApp, meanwhile: Callable[[], Awaitable[None]]) -> None:
        super().__init__(app.transport.wire("slow"), KEYS, app.transport.config)
        self._meanwhile = meanwhile

    async def read(self, positions: Mapping[tuple[str, int], int], block_s: float) -> dict[Any, list[Record]]:
        found = await super().read(positions, block_s)
        if found:
            await self._meanwhile()
        return found


async def test_trap_10_a_fetch_that_raced_a_seek_is_discarded(client: Any, make_app: MakeApp) -> None:
    holder = Holder(app := make_app())
    await app.start()
    app.streams.stop_flow()
    await add(client, 5)
    sought = False

    async def seek() -> None:
        if sought:
            await app.streams.seek_wait({ZERO: 4})

    fetch = SlowFetch(app, seek)
    reading = Reading(app.streams, fetch, app.transport.config)
    assert [offset for offset, _ in (await reading.read({ZERO}, 0.1))[ZERO]] == [1, 2, 3, 4, 5]
    sought = True
    assert await reading.read({ZERO}, 0.1) == {}
    assert app.streams._read_offset[ZERO] == 4
    app.streams.resume_flow()
    await until(lambda: len(holder.events) == 2)
    assert [event.message.offset for event in holder.events] == [4, 5]
    await fetch.close()


async def test_trap_12_messages_of_a_partition_that_went_meanwhile_reach_nobody(client: Any, make_app: MakeApp) -> None:
    """Faust's conductor raises KeyError for a topic partition that is not assigned, and the fetcher ends."""
    holder = Holder(app := make_app())
    gone = asyncio.Event()

    async def lose_it() -> None:
        if not gone.is_set():
            await take_away(client, 0)
            await until(lambda: app.streams.assignment() == {ONE} and not app.rebalancing)
            gone.set()

    await app.streams._delivery.close()
    app.streams._delivery._fetch = SlowFetch(app, lose_it)
    await app.start()
    await add(client, 3, partition=0)
    await asyncio.wait_for(gone.wait(), 5)
    await add(client, 1, partition=1)
    await until(lambda: len(holder.of(1)) == 1)
    assert holder.of(0) == []
    assert app.crash_reason is None


async def test_trap_12_a_fetcher_that_fails_ends_the_worker(client: Any, make_app: MakeApp) -> None:
    """Faust's worker lives on without one, and holds its partitions for ever."""
    Holder(app := make_app())
    await app.start()
    failed = asyncio.create_task(app.wait_until_failed())
    pipeline = client.pipeline(transaction=True)
    pipeline.delete(KEYS.stream("a", 0))
    pipeline.set(KEYS.stream("a", 0), "no stream")
    await pipeline.execute()
    reason = await asyncio.wait_for(failed, 5)
    assert "WRONGTYPE" in str(reason)
    await app.stop()


async def test_trap_15_the_consumer_exists_before_the_start_with_the_one_producer(
    client: Any, make_app: MakeApp
) -> None:
    """A consumer asks for the producer while it is made; both are needed before the start, for hooks and topics."""
    holder = Holder(app := make_app())
    streams = app.streams
    assert streams.transactions.producer is app.sender
    await streams.learn_topics(["b"])
    await app.start()
    assert app.streams is streams
    await add(client, 1)
    await until(lambda: len(holder.events) == 1)
    app.sender.take(holder.events[0], "b", b"made", partition=1)
    holder.events[0].ack()
    await until(lambda: client.xlen(KEYS.stream("b", 1)))


async def test_trap_15_hooks_tell_of_partitions_before_they_go_and_when_they_come(
    client: Any, make_app: MakeApp
) -> None:
    """Faust tells of a revoke after it has waited for agents: too late for a sink to flush and acknowledge."""
    calls: list[tuple[str, set[TP]]] = []
    holder = Holder(app := make_app())

    async def flush(partitions: set[TP]) -> None:
        calls.append(("revoke", partitions))
        for event in holder.events:
            event.ack()

    async def came(partitions: set[TP]) -> None:
        calls.append(("assign", partitions))

    app.streams.before_revoke.append(flush)
    app.streams.after_assign.append(came)
    await app.start()
    await add(client, 5, partition=0)
    await add(client, 5, partition=1)
    await until(lambda: len(holder.events) == 10)
    assert [await committed(client, partition) for partition in (0, 1)] == [1, 1]
    second = make_app()
    Holder(second)
    await second.start()
    await until(lambda: len(app.streams.lanes) == 1 and not app.rebalancing)
    (kept,) = (TP("a", partition) for partition in app.streams.lanes)
    assert calls == [("assign", {ZERO, ONE}), ("revoke", {ZERO, ONE}), ("assign", {kept})]
    assert [await committed(client, partition) for partition in (0, 1)] == [6, 6]
    await add(client, 1, partition=kept.partition)
    await until(lambda: len(holder.events) == 11)
    await app.stop()
    assert calls[3:] == [("revoke", {kept})]
    assert await committed(client, kept.partition) == 7


async def test_trap_16_waiting_for_agents_collects_no_garbage(client: Any, make_app: MakeApp) -> None:
    """Faust runs gc.collect in every round of its wait, seconds each with a large heap."""
    holder = Holder(app := make_app())
    await app.start()
    await add(client, 1)
    await until(lambda: len(holder.events) == 1)
    collections: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        collections.append(info["generation"])

    gc.disable()
    gc.callbacks.append(note)
    try:
        await app.streams.wait_empty()
    finally:
        gc.callbacks.remove(note)
        gc.enable()
    assert collections == []


async def test_trap_16_a_rebalance_pauses_the_others_no_longer_than_a_drain(client: Any, make_app: MakeApp) -> None:
    """Every rebalance pauses all partitions: an agent that never ends its message must not keep them paused."""
    holder = Holder(app := make_app(drain_s=0.5))
    await app.start()
    await add(client, 1, partition=1)
    await until(lambda: len(holder.events) == 1)
    await take_away(client, 0)
    await until(lambda: app.rebalancing)
    began = time.monotonic()
    await add(client, 1, partition=1)
    await until(lambda: [event.message.offset for event in holder.of(1)] == [1, 1, 2])
    assert time.monotonic() - began < 0.5 + 1.0
