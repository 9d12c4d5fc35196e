"""The commit against a real Redis: all or nothing, once, by the owner only, whatever happens to the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from topics.errors import Unavailable
from topics.redis_streams import transaction
from topics.redis_streams.catalogue import declare_topics, read_incarnation
from topics.redis_streams.errors import Fenced, OutcomeUnknown
from topics.redis_streams.intents import Intent, Intents
from topics.redis_streams.keys import Keys
from topics.redis_streams.lane import Lane, Share, Track
from topics.redis_streams.leases import Leases
from topics.redis_streams.overview import GroupPosition, read_overview
from topics.redis_streams.wire import Wire

KEYS = Keys("t")


@pytest.fixture
async def client(redis_server: Any) -> AsyncIterator[Any]:
    client = redis.asyncio.Redis(port=redis_server.port, protocol=2)
    await declare_topics(client, {"a": 1, "b": 1}, readers={"a": ("g",)}, namespace="t")
    for n in range(5):
        await client.execute_command("XADD", KEYS.stream("a", 0), "0-*", "v", f"in {n}")
    yield client
    await client.aclose()


@pytest.fixture
async def wire(redis_lossy_proxy: Any) -> AsyncIterator[Wire]:
    wire = Wire(f"redis://127.0.0.1:{redis_lossy_proxy.port}/0", name="test", timeout_s=2)
    yield wire
    await wire.close()


async def own(wire: Wire, member: str, lease_ms: int = 5000) -> Lane:
    leases = Leases(wire, KEYS, group="g", member=member, lease_ms=lease_ms)
    epochs = await leases.claim([0], 1)
    return Lane(0, epochs[0], wire.run_id)


def handle(lane: Lane, committed: int, *offsets: int) -> list[Share]:
    """As if agents had handled these messages, each producing one."""
    track = lane.tracks["a"] = Track(committed)
    for offset in offsets:
        track.deliver(offset, 10)
        track.acked.add(offset)
        lane.attach("a", offset, to=("b", 0), fields=[b"v", f"out {offset}".encode()], future=None)
    share = lane.share(1 << 20)
    assert share is not None
    return [share]


async def produced(client: Any) -> list[bytes]:
    return [fields[b"v"] for _, fields in await client.xrange(KEYS.stream("b", 0))]


async def committed(client: Any) -> int:
    return int(await client.hget(KEYS.committed("a", 0), "g"))


async def test_offsets_products_and_trimming_go_together(client: Any, wire: Wire) -> None:
    lane = await own(wire, "me")
    result = await transaction.commit(wire, KEYS, "g", handle(lane, 1, 1, 2, 3))
    assert len(result.committed) == 1
    assert await produced(client) == [b"out 1", b"out 2", b"out 3"]
    assert await committed(client) == 4
    assert await client.xlen(KEYS.stream("a", 0)) == 2
    assert lane.tracks["a"].committed == 4


async def test_a_stale_owner_can_commit_nothing(client: Any, wire: Wire) -> None:
    stale = await own(wire, "stale", lease_ms=1)
    await asyncio.sleep(0.01)
    fresh = await own(wire, "fresh")
    result = await transaction.commit(wire, KEYS, "g", handle(stale, 1, 1, 2))
    assert [lane for lane, _ in result.lost] == [stale]
    assert await produced(client) == []
    assert await committed(client) == 1
    assert (await transaction.commit(wire, KEYS, "g", handle(fresh, 1, 1))).committed
    assert await produced(client) == [b"out 1"]


async def test_a_take_over_between_watch_and_exec_aborts(client: Any, wire: Wire) -> None:
    lane = await own(wire, "me", lease_ms=1)
    await asyncio.sleep(0.01)
    other = Wire(wire_url(client), name="other")

    class TakenOver(Wire):
        """Lets another member take the partition just before EXEC is sent."""

        async def call(self, *commands: Any, **options: Any) -> list[Any]:
            if commands[0][0] == "MULTI":
                await own(other, "other")
            return await super().call(*commands, **options)

    mine = TakenOver(wire_url(client), name="mine")
    await mine.call(("PING",))
    result = await transaction.commit(mine, KEYS, "g", handle(lane, 1, 1))
    assert result.again
    result = await transaction.commit(other, KEYS, "g", result.again)
    assert result.lost
    assert await produced(client) == []
    await mine.close()
    await other.close()


async def test_a_connection_replaced_after_watch_commits_nothing_unwatched(client: Any, wire: Wire) -> None:
    class Replaced(Wire):
        """Loses its connection just before EXEC is sent, and has another one at once."""

        async def call(self, *commands: Any, **options: Any) -> list[Any]:
            if commands[0][0] == "MULTI":
                self.cut()
                await super().call(("PING",))
            return await super().call(*commands, **options)

    lane = await own(wire, "me")
    replaced = Replaced(wire_url(client), name="replaced")
    shares = handle(lane, 1, 1)
    with pytest.raises(OutcomeUnknown):
        await transaction.commit(replaced, KEYS, "g", shares)
    assert await produced(client) == []
    assert (await transaction.resolve(wire, KEYS, "g", shares)).again == shares
    await replaced.close()


def wire_url(client: Any) -> str:
    return f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}/0"


@pytest.mark.parametrize("mode", ["before", "after"])
async def test_a_lost_reply_is_resolved_and_nothing_goes_out_twice(
    client: Any, wire: Wire, redis_lossy_proxy: Any, mode: str
) -> None:
    lane = await own(wire, "me")
    shares = handle(lane, 1, 1, 2)
    redis_lossy_proxy.mode = mode
    with pytest.raises(OutcomeUnknown):
        await transaction.commit(wire, KEYS, "g", shares)
    assert redis_lossy_proxy.lost == 1
    result = await transaction.resolve(wire, KEYS, "g", shares)
    if mode == "after":
        assert result.committed == shares
        transaction.settle(result.committed)
    else:
        assert result.again == shares
        assert (await transaction.commit(wire, KEYS, "g", shares)).committed
    assert await produced(client) == [b"out 1", b"out 2"]
    assert await committed(client) == 3
    assert lane.clean


async def test_an_exec_that_arrives_after_the_question_whether_it_happened_aborts(
    client: Any, wire: Wire, redis_lossy_proxy: Any
) -> None:
    lane = await own(wire, "me")
    shares = handle(lane, 1, 1, 2)
    redis_lossy_proxy.mode = "late"
    with pytest.raises(OutcomeUnknown):
        await transaction.commit(wire, KEYS, "g", shares)
    result = await transaction.resolve(wire, KEYS, "g", shares)
    assert result.again == shares
    redis_lossy_proxy.late.set()
    await asyncio.wait_for(redis_lossy_proxy.late_done.wait(), 5)
    assert await produced(client) == []
    assert (await transaction.commit(wire, KEYS, "g", shares)).committed
    assert await produced(client) == [b"out 1", b"out 2"]


async def test_offsets_that_nobody_here_has_written_are_never_overwritten(client: Any, wire: Wire) -> None:
    lane = await own(wire, "me")
    shares = handle(lane, 1, 1, 2)
    await client.hset(KEYS.committed("a", 0), "g", 5)
    result = await transaction.commit(wire, KEYS, "g", shares)
    assert [lost for lost, _ in result.lost] == [lane]
    assert await produced(client) == []


async def test_a_restart_of_redis_makes_lanes_of_the_run_before_uncommittable(client: Any, redis_server: Any) -> None:
    wire = Wire(redis_server.url, name="test")
    lane = await own(wire, "me")
    before = await read_incarnation(client, namespace="t")
    assert await read_incarnation(client, namespace="t") == before
    redis_server.kill()
    with pytest.raises(Unavailable):
        await transaction.commit(wire, KEYS, "g", handle(lane, 1, 1))
    redis_server.start()
    result = await transaction.commit(wire, KEYS, "g", handle(lane, 1, 1))
    assert result.lost == [(lane, "Redis was restarted")]
    assert await read_incarnation(client, namespace="t") != before
    await wire.close()


async def test_a_registered_group_that_never_ran_keeps_what_it_has_not_read(client: Any, wire: Wire) -> None:
    await declare_topics(client, {"a": 1}, readers={"a": ("g", "late")}, namespace="t")
    lane = await own(wire, "me")
    await transaction.commit(wire, KEYS, "g", handle(lane, 1, 1, 2, 3, 4, 5))
    assert await committed(client) == 6
    assert await client.xlen(KEYS.stream("a", 0)) == 5


async def test_tooling_sees_the_position_and_lag_of_the_group(client: Any, wire: Wire) -> None:
    await client.xgroup_create(KEYS.stream("a", 0), "g", 0)
    lane = await own(wire, "me")
    await transaction.commit(wire, KEYS, "g", handle(lane, 1, 1, 2))
    (group,) = await client.xinfo_groups(KEYS.stream("a", 0))
    assert (group["last-delivered-id"], group["entries-read"], group["lag"]) == (b"0-2", 2, 3)


async def test_an_operator_sees_positions_owners_and_lag(client: Any, wire: Wire) -> None:
    await declare_topics(client, {"a": 1}, readers={"a": ("late",)}, namespace="t")
    lane = await own(wire, "me")
    await transaction.commit(wire, KEYS, "g", handle(lane, 1, 1, 2))
    read, derived = await read_overview(wire, KEYS)
    assert (read.topic, read.partition, read.entries, read.last_offset) == ("a", 0, 5, 5)
    assert read.size_bytes > 0
    mine, late = read.groups
    assert mine._replace(lease_left_ms=0) == GroupPosition("g", 3, 3, "me", 1, 0)
    assert 0 < mine.lease_left_ms <= 5000
    assert late == GroupPosition("late", 1, 5, "", 0, 0)
    assert (derived.topic, derived.entries, derived.groups) == ("b", 2, [])


async def test_a_large_commit_arrives_whole(client: Any, wire: Wire) -> None:
    lane = await own(wire, "me")
    lane.tracks["a"] = Track(1)
    lane.tracks["a"].deliver(1, 10)
    lane.tracks["a"].acked.add(1)
    for n in range(8):
        lane.attach("a", 1, to=("b", 0), fields=[b"v", bytes([n]) * 400_000], future=None)
    share = lane.share(1)
    assert share is not None
    await transaction.commit(wire, KEYS, "g", [share])
    assert [len(value) for value in await produced(client)] == [400_000] * 8


async def test_intents_are_kept_until_committed_and_refused_to_a_stale_owner(client: Any, wire: Wire) -> None:
    lane = await own(wire, "me")

    sink = Intents(wire, KEYS, "g")
    assert await sink.read("a", 0) is None
    first = Intent(1, 3, "inc.a.0.1.3")
    await sink.write("a", 0, first, lane)
    assert await sink.read("a", 0) == first
    await transaction.commit(wire, KEYS, "g", handle(lane, 1, 1, 2, 3))
    assert await sink.read("a", 0) is None
    for stale in (Lane(0, b"1:somebody", wire.run_id), Lane(0, lane.epoch, "another run"), None):
        with pytest.raises(Fenced):
            await sink.write("a", 0, Intent(4, 5, "stale"), stale)
    assert await sink.read("a", 0) is None
