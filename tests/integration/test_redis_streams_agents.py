"""Agents on the transport, inside this process: what an agent may rely on, and what it is kept from doing."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from faust.types import TP

from topics.faust_app import EmbeddedApp, TransportConfig, create_app
from topics.redis_streams.catalogue import declare_topics
from topics.redis_streams.errors import Fenced
from topics.redis_streams.intents import Intent
from topics.redis_streams.keys import Keys

KEYS = Keys()


@pytest.fixture
async def client(redis_server: Any) -> AsyncIterator[Any]:
    client = redis.asyncio.Redis(port=redis_server.port, protocol=2)
    await declare_topics(client, {"a": 2, "b": 2}, readers={"a": ("g1",), "b": ("g2",)})
    yield client
    await client.aclose()


@pytest.fixture
def config(redis_server: Any, tmp_path: Path) -> TransportConfig:
    return TransportConfig(url=redis_server.url, data_dir=tmp_path / "faust", lease_s=1.0, drain_s=1.0, partitions=2)


MakeApp = Callable[..., EmbeddedApp]


@pytest.fixture
async def make_app(config: TransportConfig) -> AsyncIterator[MakeApp]:
    """Creates apps and stops them, whatever happens to the test: Faust's tasks do not end otherwise."""
    apps: list[EmbeddedApp] = []

    def make(group: str = "g1", other: TransportConfig | None = None) -> EmbeddedApp:
        apps.append(create_app(group, other or config))
        return apps[-1]

    yield make
    for app in apps:
        if app.started:
            await asyncio.wait_for(app.stop(), 10)


async def fill(client: Any, number: int, *, size: int = 0, topic: str = "a", start: int = 0) -> None:
    pipeline = client.pipeline(transaction=False)
    for n in range(start, start + number):
        value = f"{n:06d}".encode() + b"." * size
        pipeline.execute_command("XADD", KEYS.stream(topic, n % 2), "0-*", "v", value, "t", 1)
    await pipeline.execute()


async def until(true: Callable[[], Any], timeout_s: float = 8.0) -> None:
    async with asyncio.timeout(timeout_s):
        while True:
            answer = true()
            if await answer if isinstance(answer, Awaitable) else answer:
                return
            await asyncio.sleep(0.01)


async def committed(client: Any, topic: str, group: str) -> list[int]:
    return [int(await client.hget(KEYS.committed(topic, p), group) or 1) for p in range(2)]


async def test_two_apps_share_a_loop_and_leave_no_trace(
    client: Any, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["aegis", "--datadir=/nowhere", "-l", "debug", "worker"])
    for name in ("BROKER_URL", "APP_DATADIR", "WEB_ENABLED", "WEB_PORT", "F_DATADIR", "FAUST_LOOP"):
        monkeypatch.setenv(name, "/nowhere")
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    interrupt, terminate = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    tasks, folder = asyncio.all_tasks(), set(os.listdir("."))
    first, second = make_app("g1"), make_app("g2")
    middle, got = first.topic("b"), []

    @first.agent(first.topic("a"))
    async def derive(stream: Any) -> None:
        async for event in stream.events():
            assert event.app is first
            await middle.send(value=event.value, key=b"k", headers={"h": b"1"})

    @second.agent(second.topic("b"))
    async def collect(stream: Any) -> None:
        async for event in stream.events():
            assert event.app is second
            got.append((event.value, event.key, event.headers))

    await asyncio.gather(first.start(), second.start())
    await fill(client, 2000)
    await until(lambda: len(got) >= 2000)
    assert sorted(got) == [(f"{n:06d}".encode(), b"k", {"h": b"1"}) for n in range(2000)]
    began = asyncio.get_running_loop().time()
    await first.stop()
    await second.stop()
    assert asyncio.get_running_loop().time() - began < 1.0
    assert asyncio.all_tasks() == tasks
    assert (logging.getLogger().handlers, logging.getLogger().level) == (handlers, level)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == (interrupt, terminate)
    assert set(os.listdir(".")) == folder
    assert sum(await committed(client, "b", "g2")) == 2002
    assert [await client.xlen(KEYS.stream("b", p)) for p in range(2)] == [0, 0]


async def run_one(app: EmbeddedApp, agent: Callable[[EmbeddedApp], Any]) -> EmbeddedApp:
    app.agent(app.topic("a"))(agent(app))
    await app.start()
    return app


async def test_messages_acknowledged_out_of_order_commit_when_the_first_is_done(client: Any, make_app: MakeApp) -> None:
    held: list[Any] = []

    def agent(app: EmbeddedApp) -> Any:
        async def hold(stream: Any) -> None:
            async for event in stream.noack().events():
                held.append(event)

        return hold

    app = await run_one(make_app(), agent)
    await fill(client, 20)
    await until(lambda: len(held) == 20)
    by_offset = {(e.message.partition, e.message.offset): e for e in held}
    for offset in range(10, 1, -1):
        by_offset[0, offset].ack()
    await asyncio.sleep(0.15)
    assert await committed(client, "a", "g1") == [1, 1]
    by_offset[0, 1].ack()
    await until(lambda: app.streams.status().counts.messages_committed == 10)
    assert await committed(client, "a", "g1") == [11, 1]
    await app.stop()


async def test_a_stalled_agent_bounds_what_is_read(client: Any, config: TransportConfig, make_app: MakeApp) -> None:
    bounded = TransportConfig(
        url=config.url, data_dir=config.data_dir, partitions=2, lease_s=1.0, drain_s=0.2,
        buffer_bytes=200_000, fetch_bytes=50_000, fetch_messages=16,
    )  # fmt: skip
    let_go, got = asyncio.Event(), []

    def agent(app: EmbeddedApp) -> Any:
        async def stall(stream: Any) -> None:
            async for value in stream:
                await let_go.wait()
                got.append(value)

        return stall

    app = await run_one(make_app(other=bounded), agent)
    await fill(client, 400, size=10_000)
    await asyncio.sleep(0.5)
    status = app.streams.status()
    assert 200_000 <= status.pending_bytes < 900_000
    assert sum(status.pending_messages.values()) < 90
    let_go.set()
    await until(lambda: len(got) == 400)
    assert len(set(got)) == 400
    await app.stop()


async def test_what_waits_for_itself_or_for_another_app_is_refused(client: Any, make_app: MakeApp) -> None:
    errors: list[str] = []
    other = make_app("g2")

    def agent(app: EmbeddedApp) -> Any:
        target = app.topic("b")

        async def try_all(stream: Any) -> None:
            async for event in stream.noack().events():
                for attempt in (
                    lambda: app.producer.send_and_wait("b", None, b"1", None, None, None),
                    lambda: await_sent(target),
                    lambda: other.topic("b").send(value=b"cross"),
                ):
                    try:
                        await attempt()
                    except RuntimeError as error:
                        errors.append(str(error))
                event.ack()
                try:
                    app.sender.take(event, "b", b"late")
                except RuntimeError as error:
                    errors.append(str(error))

        return try_all

    async def await_sent(target: Any) -> None:
        await (await target.send(value=b"attached"))

    app = await run_one(make_app(), agent)
    await fill(client, 1)
    await until(lambda: len(errors) == 4)
    assert "cannot send and wait" in errors[0]
    assert "cannot wait for a message that an event produced" in errors[1]
    assert "belongs to the app g1" in errors[2]
    assert "acknowledged already" in errors[3]
    await app.stop()
    await other.producer.stop()
    await other.transport.catalogue.close()


async def test_products_of_several_events_go_with_the_event_they_are_given(client: Any, make_app: MakeApp) -> None:
    held: list[Any] = []

    def agent(app: EmbeddedApp) -> Any:
        async def hold(stream: Any) -> None:
            async for event in stream.noack().events():
                held.append(event)

        return hold

    app = await run_one(make_app(), agent)
    await app.transport.catalogue.partitions("b")
    await fill(client, 4)
    await until(lambda: len(held) == 4)
    of_zero = [event for event in held if event.message.partition == 0]
    for event in held:
        app.sender.take(event, "b", event.value, partition=0, headers=[("x", b"1")])
    for event in of_zero:
        event.ack()
    await until(lambda: client.xlen(KEYS.stream("b", 0)))
    await asyncio.sleep(0.1)
    values = [fields[b"v"] for _, fields in await client.xrange(KEYS.stream("b", 0))]
    assert values == [event.value for event in of_zero]
    await app.stop()
    assert await client.xlen(KEYS.stream("b", 0)) == 2


async def test_sends_outside_events_go_at_once(client: Any, make_app: MakeApp) -> None:
    def agent(app: EmbeddedApp) -> Any:
        async def ignore(stream: Any) -> None:
            async for _ in stream:
                pass

        return ignore

    app = await run_one(make_app(), agent)
    sent = await asyncio.gather(*[app.topic("b").send(value=b"%d" % n, partition=1) for n in range(100)])
    places = [await future for future in sent]
    assert sorted(place.offset for place in places) == list(range(1, 101))
    await app.stop()


async def test_a_fenced_partition_is_dropped_and_its_late_work_counts_for_nothing(
    client: Any, make_app: MakeApp
) -> None:
    lost: list[set[TP]] = []
    held: list[Any] = []

    def agent(app: EmbeddedApp) -> Any:
        async def hold(stream: Any) -> None:
            async for event in stream.noack().events():
                held.append(event)

        return hold

    async def gone(partitions: set[TP]) -> None:
        lost.append(partitions)

    app = make_app("g1")
    app.agent(app.topic("a"))(agent(app))
    app.streams.after_loss.append(gone)
    await app.start()
    await app.transport.catalogue.partitions("b")
    await fill(client, 2)
    await until(lambda: len(held) == 2)
    await client.set(KEYS.epoch("g1", 0), "99:somebody")
    await client.hset(KEYS.lease("g1", 0), mapping={"owner": "somebody", "exp": 1 << 53})
    mine = next(event for event in held if event.message.partition == 0)
    app.sender.take(mine, "b", b"stale")
    mine.ack()
    await until(lambda: lost == [{TP("a", 0)}])
    await until(lambda: app.streams.assignment() == {TP("a", 1)})
    with pytest.raises(Fenced):
        await app.streams.write_intent(TP("a", 0), Intent(1, 1, "token"))
    await app.streams.write_intent(TP("a", 1), Intent(1, 1, "token"))
    assert await app.streams.read_intent(TP("a", 1)) == Intent(1, 1, "token")
    app.sender.take(mine, "b", b"stale too")
    assert await committed(client, "a", "g1") == [1, 1]
    assert [await client.xlen(KEYS.stream("b", p)) for p in range(2)] == [0, 0]
    assert app.streams.status().counts.fenced == 1
    # What the kept partition had not finished comes again, since every rebalance reads from the last commit.
    await until(lambda: len(held) == 3)
    before, again = (event for event in held if event.message.partition == 1)
    before.ack()
    await asyncio.sleep(0.1)
    assert await committed(client, "a", "g1") == [1, 1]
    again.ack()
    await until(lambda: app.streams.counts.messages_committed == 1)
    assert await committed(client, "a", "g1") == [1, 2]
    await app.stop()


async def test_a_worker_waits_for_redis_and_goes_on_when_it_is_back(
    client: Any, make_app: MakeApp, redis_server: Any
) -> None:
    got: list[bytes] = []

    def agent(app: EmbeddedApp) -> Any:
        async def note(stream: Any) -> None:
            async for value in stream:
                got.append(value)

        return note

    redis_server.kill()
    starting = asyncio.create_task(run_one(make_app(), agent))
    await asyncio.sleep(0.3)
    assert not starting.done()
    redis_server.start()
    app = await asyncio.wait_for(starting, 10)
    await fill(client, 10)
    await until(lambda: len(got) == 10)
    await until(lambda: app.streams.status().connected)
    before = app.streams.status().incarnation
    redis_server.kill()
    await until(lambda: not app.streams.status().connected)
    redis_server.start()
    await until(lambda: app.streams.status().connected and app.streams.status().incarnation != before)
    await fill(client, 10, start=10)
    await until(lambda: len(set(got)) == 20)
    assert app.crash_reason is None
    await app.stop()


async def test_a_start_that_waits_for_redis_can_be_given_up(client: Any, make_app: MakeApp, redis_server: Any) -> None:
    app = make_app()

    @app.agent(app.topic("a"))
    async def ignore(stream: Any) -> None:
        async for _ in stream:
            pass

    tasks = asyncio.all_tasks()
    redis_server.kill()
    starting = asyncio.create_task(app.start())
    await asyncio.sleep(0.2)
    assert not starting.done()
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await asyncio.wait_for(app.stop(), 5)
    assert asyncio.all_tasks() == tasks
    redis_server.start()


async def test_a_worker_stops_promptly_while_redis_is_away(client: Any, make_app: MakeApp, redis_server: Any) -> None:
    def agent(app: EmbeddedApp) -> Any:
        async def ignore(stream: Any) -> None:
            async for _ in stream:
                pass

        return ignore

    app = await run_one(make_app(), agent)
    await fill(client, 10)
    redis_server.kill()
    await asyncio.wait_for(app.stop(), 5)
    redis_server.start()


async def test_a_flushed_redis_is_noticed_and_new_data_is_not_skipped(client: Any, make_app: MakeApp) -> None:
    got: list[bytes] = []

    def agent(app: EmbeddedApp) -> Any:
        async def note(stream: Any) -> None:
            async for value in stream:
                got.append(value)

        return note

    app = await run_one(make_app(), agent)
    await fill(client, 10)
    await until(lambda: len(got) == 10)
    await client.flushall()
    await fill(client, 6, start=100)
    await until(lambda: len(got) == 16)
    await until(lambda: app.streams.status().counts.fenced == 2)
    await app.stop()
