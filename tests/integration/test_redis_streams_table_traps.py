"""What Faust 0.15.3 does wrong with tables and declares of itself, tests named for the numbers of docs/faust-traps.md."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from faust.types import TP

from topics.errors import Refused
from topics.faust_app import EmbeddedApp, TransportConfig, create_app
from topics.redis_streams.catalogue import declare_topics
from topics.redis_streams.keys import Keys

KEYS = Keys()
CHANGELOG = KEYS.stream("g1-counts-changelog", 0)

MakeApp = Callable[[], EmbeddedApp]


@pytest.fixture
async def client(redis_server: Any) -> AsyncIterator[Any]:
    client = redis.asyncio.Redis(port=redis_server.port, protocol=2)
    await declare_topics(client, {"a": 1}, readers={"a": ("g1",)})
    yield client
    await client.aclose()


@pytest.fixture
async def make_app(redis_server: Any, tmp_path: Path) -> AsyncIterator[MakeApp]:
    """Creates apps and stops them, whatever happens to the test."""
    apps: list[EmbeddedApp] = []
    config = TransportConfig(url=redis_server.url, data_dir=tmp_path / "faust", partitions=1, lease_s=0.8, drain_s=0.3)

    def make() -> EmbeddedApp:
        apps.append(create_app("g1", config))
        return apps[-1]

    yield make
    for app in apps:
        if app.started:
            await asyncio.wait_for(app.stop(), 10)


def count_messages(app: EmbeddedApp, table: Any = None, *, topic: str = "a") -> Any:
    """Count the app's messages by value, one after the other."""
    table = app.Table("counts", key_type=str, value_type=int, default=int, partitions=1) if table is None else table

    @app.agent(app.topic(topic), name=f"count_{topic}")
    async def count(stream: Any) -> None:
        async for value in stream:
            table[value.decode()] += 1

    return table


async def add(client: Any, *values: str, topic: str = "a") -> None:
    for value in values:
        await client.execute_command("XADD", KEYS.stream(topic, 0), "0-*", "v", value, "t", 1)


async def until(true: Callable[[], bool], timeout_s: float = 8.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not true():
            await asyncio.sleep(0.01)


async def committed(client: Any) -> int:
    return int(await client.hget(KEYS.committed("a", 0), "g1"))


async def test_trap_06_no_offset_is_committed_before_its_changelog_rows(client: Any, make_app: MakeApp) -> None:
    """Faust's flush before a commit may return early. Whoever looks sees the offset and the row of the same moment."""
    count_messages(app := make_app())
    await app.start()
    seen: set[int] = set()

    async def look() -> None:
        while 400 not in seen:
            pipeline = client.pipeline(transaction=True)
            pipeline.hget(KEYS.committed("a", 0), "g1")
            pipeline.xrevrange(CHANGELOG, count=1)
            offset, rows = await pipeline.execute()
            assert int(offset) - 1 == (int(rows[0][1][b"v"]) if rows else 0)
            seen.add(int(offset) - 1)

    async with asyncio.timeout(10):
        looking = asyncio.create_task(look())
        await add(client, *["x"] * 400)
        await looking
    assert len(seen) > 3


async def test_trap_06_a_flush_returns_when_everything_is_out(client: Any, make_app: MakeApp) -> None:
    count_messages(app := make_app())
    await app.start()
    await app.streams.learn_topics(["b"])
    for number in (1, 500):
        before = await client.xlen(KEYS.stream("b", 0))
        for _ in range(number):
            app.sender.take(None, "b", b"x" * 10_000, partition=0)
        await asyncio.sleep(0)  # The flusher has taken it from the queue, and Redis does not have it yet.
        await app.producer.flush()
        assert await client.xlen(KEYS.stream("b", 0)) == before + number


async def test_trap_08_a_batch_may_write_tables_event_by_event(client: Any, make_app: MakeApp) -> None:
    """Within Faust's take() a table cannot be written at all. Events that are held and acknowledged together can."""
    app = make_app()
    table = app.Table("counts", key_type=str, value_type=int, default=int, partitions=1)

    @app.agent(app.topic("a"))
    async def count(stream: Any) -> None:
        batch = []
        async for event in stream.noack().events():
            table[event.value.decode()] += 1
            batch.append(event)
            if len(batch) == 4:
                for each in batch:
                    each.ack()
                batch.clear()

    await app.start()
    await add(client, "x", "y", "x")
    await until(lambda: table.data.data == {"x": 2, "y": 1})
    await asyncio.sleep(0.1)
    assert (await committed(client), await client.xlen(CHANGELOG)) == (1, 0)
    await add(client, "x")
    await until(lambda: app.streams.counts.messages_committed == 4)
    rows = {fields[b"k"]: fields[b"v"] for _, fields in await client.xrange(CHANGELOG)}
    assert rows == {b'"x"': b"3", b'"y"': b"1"}


async def test_trap_08_a_take_that_would_write_a_table_is_refused(client: Any, make_app: MakeApp) -> None:
    app = make_app()
    table = app.Table("counts", key_type=str, value_type=int, default=int, partitions=1)

    @app.agent(app.topic("a"))
    async def count(stream: Any) -> None:
        async for values in stream.take(10, within=0.05):
            table["all"] += len(values)

    with pytest.raises(RuntimeError, match="cannot take batches"):
        await asyncio.wait_for(app.start(), 5)


async def test_trap_09_a_changelog_without_its_last_entry_is_recovered(client: Any, make_app: MakeApp) -> None:
    """Faust reads up to the entry before the next offset, and waits for ever when that one is gone."""
    count_messages(one := make_app())
    await one.start()
    await add(client, "x", "y", "z")
    await until(lambda: one.streams.counts.messages_committed == 3)
    await one.stop()
    (last, fields), *_ = await client.xrevrange(CHANGELOG, count=1)
    assert fields[b"k"] == b'"z"'
    await client.xdel(CHANGELOG, last)
    table = count_messages(two := make_app())
    await asyncio.wait_for(two.start(), 5)
    assert table.data.data == {"x": 1, "y": 1}
    await add(client, "x")
    await until(lambda: two.streams.counts.messages_committed == 1)
    # Rows go on behind the missing one; a number that was used already would have made the commit fail.
    assert two.streams.counts.fenced == 0
    assert (await client.xrevrange(CHANGELOG, count=1))[0][0] == b"0-%d" % (int(last.split(b"-")[1]) + 1)


async def test_trap_09_faust_is_told_of_nothing_to_recover(client: Any, make_app: MakeApp) -> None:
    """Its recovery takes one from highwaters that it asks for and reads inclusively; ours has loaded the table before."""
    table = count_messages(app := make_app())
    await client.execute_command("XADD", CHANGELOG, "0-*", "k", '"x"', "v", "7", "t", 1)
    await asyncio.wait_for(app.start(), 5)
    assert table.data.data == {"x": 7}
    tp = TP("g1-counts-changelog", 0)
    assert await app.consumer.highwaters(tp) == {tp: None}
    assert await app.consumer.earliest_offsets(tp) == {tp: None}
    assert app.streams.track(tp).position == 1


async def start_is_refused(client: Any, app: EmbeddedApp, why: str) -> None:
    """What waits is neither acknowledged nor trimmed."""
    await add(client, "x", "y")
    with pytest.raises(Refused, match=why):
        await asyncio.wait_for(app.start(), 5)
    await app.stop()
    assert (await committed(client), await client.xlen(KEYS.stream("a", 0))) == (1, 2)


async def test_trap_13_a_table_with_other_partitions_than_its_source_is_refused_at_the_start(
    client: Any, make_app: MakeApp
) -> None:
    """Faust finds out at every write, restarts the agent, and acknowledges the events."""
    app = make_app()
    count_messages(app, app.Table("counts", key_type=str, value_type=int, default=int, partitions=3))
    await start_is_refused(client, app, "g1-counts-changelog has 3 partitions and a, .* has 1")


@pytest.mark.parametrize("expires", [timedelta(seconds=1), None])
async def test_trap_17_a_windowed_table_is_refused(client: Any, make_app: MakeApp, expires: timedelta | None) -> None:
    """The data of a closed window is always empty. Besides, rows would expire outside of events and their commits."""
    app = make_app()
    table = app.Table("counts", default=int, partitions=1)
    count_messages(app, table.tumbling(timedelta(seconds=1), expires=expires))
    await start_is_refused(client, app, "cannot keep table counts: Faust closes a window without its data")


async def test_trap_17_a_table_that_wants_to_hear_of_closed_windows_is_refused(client: Any, make_app: MakeApp) -> None:
    app = make_app()
    closed: list[Any] = []
    count_messages(app, app.Table("counts", default=int, on_window_close=lambda *closing: closed.append(closing)))
    await start_is_refused(client, app, "cannot keep table counts: Faust closes a window without its data")
    assert closed == []


async def test_trap_14_topics_that_agents_read_are_declared_and_no_others(client: Any, make_app: MakeApp) -> None:
    """Faust declares only its own; it adds one for the leader, and a standby to every table."""
    count_messages(app := make_app(), topic="fresh")
    await app.start()
    assert await client.hgetall(KEYS.topics) == {b"a": b"1", b"fresh": b"1", b"g1-counts-changelog": b"1"}
    assert await client.hget(KEYS.committed("fresh", 0), "g1") == b"1"
    assert (app.conf.table_standby_replicas, app.assignor.assigned_standbys()) == (0, set())


async def test_trap_14_a_topic_that_comes_later_is_read_soon(client: Any, make_app: MakeApp) -> None:
    """Faust waits 45 s before it subscribes to it."""
    table = count_messages(app := make_app())
    await app.start()
    count_messages(app, table, topic="late")
    await app.agents["count_late"].start()
    await until(lambda: TP("late", 0) in app.streams.assignment(), timeout_s=5)
    await add(client, "x", topic="late")
    await until(lambda: table.data.data == {"x": 1})


async def test_trap_14_a_table_that_needs_standbys_is_refused(client: Any, make_app: MakeApp) -> None:
    app = make_app()
    count_messages(app, app.GlobalTable("counts", default=int, partitions=1))
    await start_is_refused(client, app, "cannot keep table counts: a global one")
