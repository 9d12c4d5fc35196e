"""The stream store on real Redis: add, add a batch, read as a group, acknowledge, claim, trim."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from topics.errors import Refused, Unavailable
from topics.ledger import PartitionLost
from topics.redis_streams.catalogue import declare_topics
from topics.redis_streams.config import TransportConfig
from topics.redis_streams.keys import Keys
from topics.redis_streams.stream_producer import StreamProducer
from topics.redis_streams.stream_store import RedisStreamStore
from topics.stream_store import GroupReader, StoredMessage

KEYS = Keys()


@pytest.fixture
async def client(redis_server: Any) -> AsyncIterator[Any]:
    client = redis.asyncio.Redis(port=redis_server.port, protocol=2)
    await declare_topics(client, {"a": 4}, readers={"a": ("g",)})
    yield client
    await client.aclose()


@pytest.fixture
async def store(client: Any, redis_server: Any, tmp_path: Path) -> AsyncIterator[RedisStreamStore]:
    producer = StreamProducer(redis_server.url, topics=["a"])
    await producer.start()
    store = RedisStreamStore(TransportConfig(url=redis_server.url, data_dir=tmp_path), producer)
    yield store
    await store.close()
    await producer.close()


async def read_all(reader: GroupReader, number: int) -> list[StoredMessage]:
    found: list[StoredMessage] = []
    async with asyncio.timeout(8):
        while len(found) < number:
            found += await reader.read(limit=7, wait_s=0.1)
    return found


def values(messages: list[StoredMessage]) -> set[bytes]:
    return {message.value or b"" for message in messages}


async def test_what_is_added_is_read_once_and_trimmed_when_acknowledged(client: Any, store: RedisStreamStore) -> None:
    await store.add("a", b"first", [("h", b"1")])
    await store.add_batch("a", [b"%d" % n for n in range(40)])
    reader = await store.join("g", "a")
    messages = await read_all(reader, 41)
    assert values(messages) == {b"first", *(b"%d" % n for n in range(40))}
    (first,) = (message for message in messages if message.value == b"first")
    assert first.headers == (("h", b"1"),)
    assert await store.trim("a") == 0
    await reader.ack(messages[::-1])
    assert await reader.read() == []
    assert [await client.xlen(KEYS.stream("a", p)) for p in range(4)] == [0, 0, 0, 0]
    (group,) = await client.xinfo_groups(KEYS.stream("a", 0))
    assert (group["name"], group["lag"]) == (b"g", 0)
    await reader.close()


async def test_nothing_that_another_group_has_not_read_is_trimmed(client: Any, store: RedisStreamStore) -> None:
    late = await store.join("late", "a")
    await store.add_batch("a", [b"%d" % n for n in range(8)])
    reader = await store.join("g", "a")
    await reader.ack(await read_all(reader, 8))
    assert await store.trim("a") == 0
    messages = await read_all(late, 8)
    await late.ack(messages)
    assert sum([await client.xlen(KEYS.stream("a", p)) for p in range(4)]) == 0
    await late.close()
    await reader.close()


async def test_two_members_share_and_a_claim_takes_over_from_a_dead_one(store: RedisStreamStore) -> None:
    dead = await store.join("g", "a", lease_s=0.4)
    assert await dead.claim() == {0, 1, 2, 3}
    heir = await store.join("g", "a", lease_s=0.4)
    assert await heir.claim() == set()
    assert len(await dead.claim()) == 2
    assert len(await heir.claim()) == 2
    await store.add_batch("a", [b"%d" % n for n in range(20)])
    held = await dead.read(wait_s=0.1)
    assert 0 < len(held) < 20
    await dead.ack(held[:1])
    await asyncio.sleep(0.5)
    assert await heir.claim() == {0, 1, 2, 3}
    messages = await read_all(heir, 19)
    assert len(messages) == 19
    assert values(messages) | {held[0].value} == {b"%d" % n for n in range(20)}
    with pytest.raises(PartitionLost):
        await dead.ack(held)
    await heir.ack(messages)
    assert await heir.read() == []
    await dead.close()
    await heir.close()


async def test_a_member_that_leaves_makes_room_at_once(store: RedisStreamStore) -> None:
    leaver = await store.join("g", "a", lease_s=30)
    await store.add_batch("a", [b"1", b"2", b"3"])
    assert len(await read_all(leaver, 3)) == 3
    await leaver.close()
    heir = await store.join("g", "a", lease_s=30)
    messages = await read_all(heir, 3)
    await heir.ack(messages)
    await heir.close()


async def test_a_redis_that_is_away_is_unavailable_and_loses_nothing(
    redis_server: Any, store: RedisStreamStore
) -> None:
    reader = await store.join("g", "a")
    await store.add_batch("a", [b"1", b"2"])
    messages = await read_all(reader, 2)
    redis_server.kill()
    with pytest.raises(Unavailable):
        await reader.ack(messages)
    redis_server.start()
    # Another run of Redis may have lost its tail: what was read before counts for nothing and comes again.
    with pytest.raises(PartitionLost):
        await reader.ack(messages)
    await reader.claim()
    again = await read_all(reader, 2)
    assert values(again) == {b"1", b"2"}
    await reader.ack(again)
    await reader.close()


async def test_an_undeclared_topic_is_refused(store: RedisStreamStore) -> None:
    with pytest.raises(Refused, match="no topic 'nowhere'"):
        await store.join("g", "nowhere")


async def test_an_acknowledgement_of_an_earlier_claim_counts_for_nothing(client: Any, store: RedisStreamStore) -> None:
    """The partitions were lost and taken again in between: the same offsets may be other messages by then."""
    await store.add_batch("a", [b"old"] * 8)
    reader = await store.join("g", "a")
    old = await read_all(reader, 8)
    await client.flushall()
    await declare_topics(client, {"a": 4}, readers={"a": ("g",)})
    await reader.claim()
    with pytest.raises(PartitionLost, match="not ours any more"):
        await reader.ack(old)
    await store.add_batch("a", [b"new"] * 8)
    new = await read_all(reader, 8)
    assert values(new) == {b"new"}
    await reader.ack([])
    assert await store.trim("a") == 0
    await reader.ack(new)
    await reader.close()


async def test_a_stream_that_lost_its_end_goes_on_with_its_numbers(client: Any, store: RedisStreamStore) -> None:
    """New messages once got numbers that counted as read, were never read, and were trimmed."""
    await store.add_batch("a", [b"first"] * 20)
    reader = await store.join("g", "a")
    await reader.ack(await read_all(reader, 20))
    await reader.close()
    for partition in range(4):
        await client.delete(KEYS.stream("a", partition))
    again = await store.join("g", "a")
    await again.claim()
    await store.add_batch("a", [b"second"] * 8)
    assert values(await read_all(again, 8)) == {b"second"}
    await again.close()


async def test_a_read_waits_as_long_as_it_says_and_keeps_its_leases(store: RedisStreamStore) -> None:
    """Waits were once cut to a quarter of the lease without a word."""
    reader = await store.join("g", "a", lease_s=0.4)
    rival = await store.join("g", "a", lease_s=0.4)
    await reader.claim()
    waiting = asyncio.create_task(reader.read(wait_s=5))
    for _ in range(6):
        await asyncio.sleep(0.2)
        assert not waiting.done()
        assert len(await rival.claim()) <= 2
    began = time.monotonic()
    await store.add_batch("a", [b"%d" % n for n in range(4)])
    assert await waiting
    assert time.monotonic() - began < 1
    await rival.close()
    began = time.monotonic()
    held = await read_all(reader, 2)
    await reader.ack(held)
    while await reader.read(wait_s=0.5):
        began = time.monotonic()
    assert time.monotonic() - began >= 0.5
    await reader.close()


async def test_the_same_key_goes_to_the_same_partition(client: Any, store: RedisStreamStore) -> None:
    for n in range(12):
        await store.add("a", b"%d" % n, key=b"same")
    assert sorted([await client.xlen(KEYS.stream("a", p)) for p in range(4)]) == [0, 0, 0, 12]


async def test_a_peek_shows_everything_but_the_values_and_moves_nobody(client: Any, store: RedisStreamStore) -> None:
    for n in range(5):
        await store.add("a", b"%d" % n * 1000, [("h", b"%d" % n)], key=b"same")
    (partition,) = [p for p in range(4) if await client.xlen(KEYS.stream("a", p))]
    await client.execute_command("XADD", KEYS.stream("a", partition), "0-*", "t", "7")
    peeked = await store.peek("a", partition, limit=3, preview_bytes=4)
    assert [(each.offset, each.key, each.value_bytes, each.preview) for each in peeked] == [
        (n + 1, b"same", 1000, b"%d" % n * 4) for n in range(3)
    ]
    rest = await store.peek("a", partition, after=3)
    assert [(each.offset, each.headers, each.preview) for each in rest[:2]] == [
        (4, (("h", b"3"),), b""),
        (5, (("h", b"4"),), b""),
    ]
    assert (rest[2].value_bytes, rest[2].timestamp_ms) == (None, 7)
    assert await store.peek("a", partition, after=6) == []
    assert await client.hget(KEYS.committed("a", partition), "g") == b"1"
    for wrong in (("nowhere", 0), ("a", 4), ("a", -1)):
        with pytest.raises(Refused, match="there is no"):
            await store.peek(*wrong)


async def test_nothing_unread_is_removed_or_moved(client: Any, store: RedisStreamStore) -> None:
    await declare_topics(client, {"read": 1, "free": 1}, readers={"read": ("g",)})
    for topic in ("read", "free"):
        for _ in range(3):
            await client.execute_command("XADD", KEYS.stream(topic, 0), "0-*", "t", "1", "v", "x")
    for call in (
        store.remove("read", 0, [1]),
        store.move("read", 0, 1, to=("free", 0), headers=[]),
        store.remove_oldest("read", bytes_max=0),
    ):
        with pytest.raises(Refused, match="still has to read"):
            await call
    assert await client.xlen(KEYS.stream("read", 0)) == 3
    await client.hset(KEYS.committed("read", 0), "g", 2)
    assert await store.move("read", 0, 1, to=("free", 0), headers=[("h", b"1")]) == 4
    assert await store.remove("free", 0, [1, 2, 9]) == 2
    assert [each.offset for each in await store.peek("free", 0)] == [3, 4]


async def test_a_batch_that_was_not_taken_whole_says_so(client: Any, redis_server: Any, tmp_path: Path) -> None:
    producer = StreamProducer(redis_server.url, topics=["a"])
    await producer.start()
    store = RedisStreamStore(TransportConfig(url=redis_server.url, data_dir=tmp_path), producer)
    await client.config_set("maxmemory-policy", "noeviction")
    await client.config_set("maxmemory", 1)
    with pytest.raises(Unavailable, match="cannot enqueue"):
        await store.add_batch("a", [b"1", b"2"])
    await client.config_set("maxmemory", 0)
    with pytest.raises(Unavailable, match="are waiting already"):
        await store.add_batch("a", [b"x" * (1 << 20)] * 80)
    await store.close()
    await producer.close()
