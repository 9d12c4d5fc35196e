"""The stream store on real Redis: add, add a batch, read as a group, acknowledge, claim, trim."""

from __future__ import annotations

import asyncio
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
    with pytest.raises(Refused, match="no topic nowhere"):
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
