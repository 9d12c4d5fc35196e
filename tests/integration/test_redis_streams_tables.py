"""Tables on the transport: what they show is what was committed, on whichever worker the partition is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from faust.types import TP

from topics.errors import Refused
from topics.faust_app import EmbeddedApp, TransportConfig, create_app
from topics.redis_streams.catalogue import check_server, declare_topics
from topics.redis_streams.keys import Keys

KEYS = Keys()
CHANGELOG = "g1-counts-changelog"


@pytest.fixture
async def client(redis_server: Any) -> AsyncIterator[Any]:
    client = redis.asyncio.Redis(port=redis_server.port, protocol=2)
    await declare_topics(client, {"a": 2}, readers={"a": ("g1",)})
    yield client
    await client.aclose()


class Counter:
    """An app that counts its messages by value; `gate` stops it before the count, `end` after it."""

    def __init__(self, config: TransportConfig) -> None:
        self.app: EmbeddedApp = create_app("g1", config)
        self.table = self.app.Table("counts", key_type=str, value_type=int, default=int, partitions=2)
        self.gate = asyncio.Event()
        self.gate.set()
        self.end = asyncio.Event()
        self.end.set()
        self.seen = 0

        @self.app.agent(self.app.topic("a"))
        async def count(stream: Any) -> None:
            async for value in stream:
                self.seen += 1
                await self.gate.wait()
                key = value.decode()
                if key.startswith("-"):
                    self.table.pop(key[1:], None)
                else:
                    self.table[key] += 1
                await self.end.wait()

    def shown(self) -> dict[str, int]:
        return dict(self.table.data.data)


@pytest.fixture
async def start(redis_server: Any, tmp_path: Path) -> AsyncIterator[Any]:
    running: list[Counter] = []

    async def start_one() -> Counter:
        config = TransportConfig(
            url=redis_server.url, data_dir=tmp_path / "faust", partitions=2, lease_s=0.8, drain_s=0.3
        )
        running.append(Counter(config))
        await running[-1].app.start()
        return running[-1]

    yield start_one
    for counter in running:
        await asyncio.wait_for(counter.app.stop(), 10)


async def add(client: Any, partition: int, *values: str) -> None:
    for value in values:
        await client.execute_command("XADD", KEYS.stream("a", partition), "0-*", "v", value, "t", 1)


async def until(true: Callable[[], bool], timeout_s: float = 8.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not true():
            await asyncio.sleep(0.01)


async def test_a_table_is_there_again_after_a_restart_and_its_changelog_is_compacted(client: Any, start: Any) -> None:
    one = await start()
    await add(client, 0, *["x"] * 50, "y", "z", "-y")
    await add(client, 1, *["w"] * 10, "-w")
    await until(lambda: one.app.streams.counts.messages_committed == 64)
    assert one.shown() == {"x": 50, "z": 1}
    await one.app.stop()
    # The rows that count, and the tombstone that is the last entry.
    assert await client.xlen(KEYS.stream(CHANGELOG, 0)) <= 3
    assert await client.xlen(KEYS.stream(CHANGELOG, 1)) == 1
    two = await start()
    assert two.shown() == {"x": 50, "z": 1}
    await add(client, 0, "x", "-z")
    await until(lambda: two.app.streams.counts.messages_committed == 2)
    assert two.shown() == {"x": 51}


async def test_trap_11_a_revoke_empties_the_table_of_the_partition_of_live_rows(client: Any, start: Any) -> None:
    """Faust's memory store goes on showing rows that an agent wrote into a partition that is gone."""
    one = await start()
    await add(client, 0, "x", "x")
    await add(client, 1, "y")
    await until(lambda: one.app.streams.counts.messages_committed == 3)
    two = await start()
    await until(lambda: len(one.app.streams.lanes) == 1 and len(two.app.streams.lanes) == 1)
    await until(lambda: not one.app.rebalancing and not two.app.rebalancing)
    by_partition = {0: {"x": 2}, 1: {"y": 1}}
    for counter in (one, two):
        (partition,) = counter.app.streams.lanes
        assert counter.shown() == by_partition[partition]
    await add(client, 0, "x")
    await add(client, 1, "y")
    await until(lambda: {**one.shown(), **two.shown()} == {"x": 3, "y": 2})


async def test_a_member_without_partitions_takes_over_what_is_left(client: Any, start: Any) -> None:
    one, two, three = await start(), await start(), await start()
    await until(lambda: [len(c.app.streams.lanes) for c in (one, two, three)] == [1, 1, 0])
    await add(client, 0, *["x"] * 5)
    await add(client, 1, *["y"] * 5)
    await until(lambda: one.seen + two.seen == 10)
    await asyncio.gather(one.app.stop(), two.app.stop())
    await add(client, 0, *["x"] * 5)
    await until(lambda: three.shown() == {"x": 10, "y": 5})


async def test_an_agent_that_outlives_a_rebalance_changes_no_table_twice(client: Any, start: Any) -> None:
    one = await start()
    one.gate.clear()
    await add(client, 1, "y")
    await until(lambda: one.seen == 1)
    # Partition 0 is taken over by somebody else: a rebalance that the agent of partition 1 does not finish in time for.
    await client.set(KEYS.epoch("g1", 0), "99:somebody")
    await client.hset(KEYS.lease("g1", 0), mapping={"owner": "somebody", "exp": 1 << 53})
    await until(lambda: one.app.streams.assignment() == {TP("a", 1), TP(CHANGELOG, 1)})
    one.gate.set()
    await until(lambda: one.app.streams.counts.messages_committed == 1)
    assert one.seen == 2
    assert one.shown() == {"y": 1}


def test_a_redis_that_drops_data_is_refused() -> None:
    check_server(b"redis_version:7.0.15\r\n", [b"maxmemory-policy", b"noeviction"])
    with pytest.raises(Refused, match="noeviction"):
        check_server(b"redis_version:8.2.3\r\n", [b"maxmemory-policy", b"allkeys-lru"])
    with pytest.raises(Refused, match="first that numbers"):
        check_server(b"redis_version:6.2.1\r\n", [b"maxmemory-policy", b"noeviction"])


async def test_a_partition_claimed_anew_shows_what_its_owner_in_between_wrote(client: Any, start: Any) -> None:
    """A worker that was stopped past its lease may claim its own partition again before it sees that it was lost.

    Its memory was taken for current then, and the next commit met rows that it did not know of.
    """
    one = await start()
    await add(client, 0, "x", "x")
    await until(lambda: one.app.streams.counts.messages_committed == 2)
    assert one.shown() == {"x": 2}
    ownership = one.app.streams.ownership
    await ownership.pause()
    await client.set(KEYS.epoch("g1", 0), "50:somebody else")
    changelog = KEYS.stream(CHANGELOG, 0)
    last = await client.xadd(changelog, {"k": b'"x"', "v": b"7", "t": 1}, id="0-*")
    await client.xdel(changelog, f"0-{int(last.split(b'-')[1]) - 1}")
    # It had read a third message and committed it; added and trimmed at once, so that ours does not begin it as well.
    await client.execute_command("XSETID", KEYS.stream("a", 0), "0-3")
    await client.hset(KEYS.committed("a", 0), "g1", 4)
    claimed = await ownership._leases.claim([0], 1)
    await ownership._rebalance(set(), dict(claimed))
    assert one.shown() == {"x": 7}
    await add(client, 0, "x")
    await until(lambda: one.shown() == {"x": 8})
    await until(lambda: one.app.streams.counts.messages_committed == 3)
    assert not one.app.should_stop


async def test_a_changelog_that_somebody_else_wrote_refuses_the_commit_whole(client: Any, start: Any) -> None:
    """Redis does the rest of a transaction whose XADD fails; so the numbers are looked at before, and nothing is done."""
    one = await start()
    await add(client, 0, "x")
    await until(lambda: one.app.streams.counts.messages_committed == 1)
    one.gate.clear()
    await add(client, 0, "x")
    await until(lambda: one.seen == 2)
    changelog = KEYS.stream(CHANGELOG, 0)
    last = await client.xadd(changelog, {"k": b'"x"', "v": b"7", "t": 1}, id="0-*")
    await client.xdel(changelog, f"0-{int(last.split(b'-')[1]) - 1}")
    one.gate.set()
    await until(lambda: one.app.streams.counts.fenced == 1)
    await until(lambda: one.shown() == {"x": 8})
    await until(lambda: one.app.streams.counts.messages_committed == 2)
    assert not one.app.should_stop


async def test_a_redis_that_evicts_is_refused_before_anything_is_read(client: Any, start: Any) -> None:
    await client.config_set("maxmemory-policy", "allkeys-lru")
    await add(client, 0, "x")
    with pytest.raises(Refused, match="allkeys-lru"):
        await asyncio.wait_for(start(), 5)
    assert await client.hget(KEYS.committed("a", 0), "g1") == b"1"


async def end_recovery(app: EmbeddedApp, generation: int) -> None:
    """What Faust's task does at the end of the assignment before; it may come to it late."""
    await app.tables.recovery.on_recovery_completed(generation)


async def resume_everything(app: EmbeddedApp, generation: int) -> None:
    """What that task does on its way, with no look at the generation."""
    app.streams.resume_partitions(app.streams.assignment())
    app.flow_control.resume()
    app.streams.resume_flow()


async def hand_over_late(app: EmbeddedApp, generation: int) -> None:
    """What a fetcher does that waited for the agents' queue; the message is of the generation in which it was read."""
    message = app.streams._delivery.message(TP("a", 0), (2, [b"v", b"x", b"t", b"1"]))
    message.generation_id = generation
    app.flow_control.resume()
    await app.streams.callback(message)


@pytest.mark.parametrize("disturb", [end_recovery, resume_everything, hand_over_late])
async def test_trap_18_what_comes_while_partitions_move_changes_no_table(client: Any, start: Any, disturb: Any) -> None:
    """A table that holds what nobody has committed is wrong from then on: the message comes again.

    With a partition lost just after an assignment, Faust's recovery of that assignment ended in the middle of the next
    move, and agents got messages while tables were read. Found by make chaos.
    """
    one = await start()
    await add(client, 0, "x")
    await until(lambda: one.app.streams.counts.messages_committed == 1)
    ownership = one.app.streams.ownership
    await ownership.pause()
    one.end.clear()
    generation = one.app.consumer_generation_id
    disturbed = False

    async def on_revoked(app: Any, revoked: set[TP], **_: Any) -> None:
        nonlocal disturbed
        await add(client, 0, "x")
        await disturb(app, generation)
        await asyncio.sleep(0.2)
        disturbed = True

    one.app.on_partitions_revoked.connect(on_revoked, weak=False)
    await ownership._rebalance(set(), {})
    assert disturbed
    await until(lambda: one.seen == 2)
    one.end.set()
    await until(lambda: one.app.streams.counts.messages_committed == 2)
    assert one.shown() == {"x": 2}
    assert one.seen == 2
    ((_, row),) = await client.xrange(KEYS.stream(CHANGELOG, 0))
    assert row[b"v"] == b"2"


async def test_trap_18_what_agents_have_is_not_sought_back(client: Any, start: Any) -> None:
    """It seeks at the end of a recovery; a message delivered by then would come twice under one generation."""
    one = await start()
    one.end.clear()
    await add(client, 0, "x")
    await until(lambda: one.seen == 1)
    await one.app.streams.perform_seek()
    await add(client, 0, "y")
    one.end.set()
    await until(lambda: one.app.streams.counts.messages_committed >= 2)
    await asyncio.sleep(0.1)
    assert one.shown() == {"x": 1, "y": 1}
    assert one.seen == 2
