"""What an operator does on real Redis: dead letters looked at and put back, stopped groups found and forgotten."""

from __future__ import annotations

import asyncio
import os
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from aegis.doctor import _groups
from aegis.settings import load_settings
from topics.dead_letters import REPLAYS, DeadLetter, DeadLetters
from topics.errors import Refused, Unavailable
from topics.redis_streams.catalogue import declare_topics
from topics.redis_streams.config import TransportConfig
from topics.redis_streams.entries import decode_entry, encode_entry
from topics.redis_streams.keys import Keys
from topics.redis_streams.leases import Leases
from topics.redis_streams.overview import forget_group, read_overview, stopped_groups, trim_topic
from topics.redis_streams.stream_producer import StreamProducer
from topics.redis_streams.stream_store import RedisStreamStore
from topics.redis_streams.wire import Wire
from topics.stream_store import Removed

KEYS = Keys()


@pytest.fixture
async def client(redis_server: Any) -> AsyncIterator[Any]:
    client = redis.asyncio.Redis(port=redis_server.port, protocol=2)
    await declare_topics(client, {"a": 2, "dead_letters": 2}, readers={"a": ("g", "old")})
    yield client
    await client.aclose()


@pytest.fixture
async def wire(redis_server: Any) -> AsyncIterator[Wire]:
    wire = Wire(redis_server.url, name="test")
    yield wire
    await wire.close()


def store_of(url: str) -> RedisStreamStore:
    """One that only looks and moves: its producer is not started."""
    return RedisStreamStore(TransportConfig(url=url, data_dir=Path("unused")), StreamProducer(url, topics=[]))


@pytest.fixture
async def log(redis_server: Any) -> AsyncIterator[DeadLetters]:
    store = store_of(redis_server.url)
    yield DeadLetters(store)
    await store.close()


def letter(
    number: int, *, code: str = "bad", agent: str = "normalize", topic: str = "a", at_ms: int = 1000
) -> DeadLetter:
    headers = (("org", b"o"), ("n", b"%d" % number))
    return DeadLetter(topic, number % 2, number, agent, code, "cannot read [/it]", at_ms, headers)


async def bury(client: Any, *letters: DeadLetter, value: bytes | None = b"value", key: bytes | None = None) -> None:
    for at, each in enumerate(letters):
        own = b"value %d" % each.offset if value == b"value" else value
        fields = encode_entry(own, key=key, timestamp_ms=1, headers=each.message_headers())
        await client.execute_command("XADD", KEYS.stream("dead_letters", at % 2), "0-*", *fields)


async def read_topic(client: Any, topic: str, partition: int) -> list[Any]:
    entries = await client.xrange(KEYS.stream(topic, partition))
    return [decode_entry([part for pair in fields.items() for part in pair]) for _, fields in entries]


async def test_letters_are_listed_page_by_page_and_by_agent_and_code(client: Any, log: DeadLetters) -> None:
    await bury(client, *(letter(n, code="odd" if n % 5 == 0 else "bad") for n in range(47)))
    await bury(client, letter(99, agent="store"))
    ids: list[str] = []
    cursor = None
    while True:
        page = await log.page(cursor=cursor, limit=10)
        ids += [each.id for each in page.letters]
        if (cursor := page.next_cursor) is None:
            break
        assert len(page.letters) == 10
    assert len(ids) == len(set(ids)) == 48
    assert len((await log.page(code="odd")).letters) == 10
    (stored,) = (await log.page(agent="store", code="bad")).letters
    assert stored.letter == letter(99, agent="store")
    assert await log.get(stored.id) == stored
    assert await log.read_value(stored.id) == b"value 99"
    assert stored.value_bytes == 8


async def test_a_replay_moves_the_original_back_and_shows_how_often(client: Any, log: DeadLetters) -> None:
    await bury(client, letter(3))
    replayed = await log.replay("0-1")
    assert replayed == ("0-1", "a", 1, 1, 1)
    (entry,) = await read_topic(client, "a", 1)
    assert entry.value == b"value 3"
    assert entry.headers == [("org", b"o"), ("n", b"3"), (REPLAYS, b"1")]
    assert (await log.page()).letters == []
    with pytest.raises(Refused, match="replayed already"):
        await log.replay("0-1")
    assert len(await read_topic(client, "a", 1)) == 1
    again = DeadLetter("a", 1, 1, "normalize", "bad", "still", 2000, tuple(entry.headers))
    await bury(client, again)
    (stored,) = (await log.page()).letters
    assert stored.letter.replays == 1
    assert (await log.replay(stored.id)).replays == 2


async def test_a_replay_whose_answer_is_lost_happened_once(
    client: Any, redis_lossy_proxy: Any, log: DeadLetters
) -> None:
    await bury(client, letter(2), letter(4))
    cut_store = store_of(f"redis://127.0.0.1:{redis_lossy_proxy.port}/0")
    cut = DeadLetters(cut_store)
    redis_lossy_proxy.trigger = b"EVAL\r\n"
    redis_lossy_proxy.mode = "before"
    with pytest.raises(Unavailable):
        await cut.replay("0-1")
    assert await read_topic(client, "a", 0) == []
    assert (await cut.replay("0-1")).replays == 1
    redis_lossy_proxy.mode = "after"
    with pytest.raises(Unavailable):
        await cut.replay("1-1")
    with pytest.raises(Refused, match="replayed already"):
        await cut.replay("1-1")
    await cut_store.close()
    assert [entry.value for entry in await read_topic(client, "a", 0)] == [b"value 2", b"value 4"]


async def test_two_operators_replay_one_letter_once(client: Any, redis_server: Any) -> None:
    await bury(client, letter(2))
    stores = [store_of(redis_server.url) for _ in range(5)]
    outcomes = await asyncio.gather(*(DeadLetters(store).replay("0-1") for store in stores), return_exceptions=True)
    assert sum(isinstance(outcome, Refused) for outcome in outcomes) == 4
    assert len(await read_topic(client, "a", 0)) == 1
    for store in stores:
        await store.close()


async def test_what_cannot_go_back_stays(client: Any, log: DeadLetters) -> None:
    await bury(client, letter(1, topic="gone"))
    await client.execute_command("XADD", KEYS.stream("dead_letters", 1), "0-*", "v", "no letter")
    for letter_id, reason in (
        ("0-1", "cannot replay 0-1: there is no topic 'gone'"),
        ("1-1", "no topic ''"),
        ("x", "an id, or a"),
        ("0-" + "9" * 26, "an id, or a"),
    ):
        with pytest.raises(Refused, match=reason):
            await log.replay(letter_id)
    assert [each.letter.code for each in (await log.page()).letters] == ["bad", "unreadable_letter"]


async def test_a_message_that_redis_does_not_take_leaves_its_letter(client: Any, log: DeadLetters) -> None:
    """Redis goes on with a MULTI after an error: such a letter was once taken away and its message was nowhere."""
    await bury(client, letter(2))
    await client.xadd(KEYS.stream("a", 0), {"v": "not ours"}, id="5-5")
    with pytest.raises(Exception, match="equal or smaller"):
        await log.replay("0-1")
    assert [each.id for each in (await log.page()).letters] == ["0-1"]


async def test_an_entry_that_nobody_can_read_is_shown_all_the_same(client: Any, log: DeadLetters) -> None:
    await client.execute_command(
        "XADD", KEYS.stream("dead_letters", 0), "0-*", "v", "x", "t", "noon", "h", "no msgpack"
    )
    await bury(client, letter(3))
    assert [each.letter.code for each in (await log.page()).letters] == ["unreadable_letter", "bad"]


async def test_a_stopped_group_is_named_and_can_be_forgotten(
    client: Any, wire: Wire, redis_server: Any, tmp_path: Path
) -> None:
    for n in range(6):
        await client.execute_command("XADD", KEYS.stream("a", n % 2), "0-*", "v", "x")
    leases = Leases(wire, KEYS, group="g", member="me", lease_ms=5000)
    await leases.claim([0, 1], 2)
    await client.hset(KEYS.committed("a", 0), "g", 3)
    await client.hset(KEYS.committed("a", 1), "g", 4)
    assert await trim_topic(wire, KEYS, "a") == 0  # `old` has read nothing.
    (stopped,) = stopped_groups(await read_overview(wire, KEYS))
    assert (stopped.topic, stopped.group, stopped.lag) == ("a", "old", 6)
    settings = load_settings(tmp_path, {"transport": redis_server.url})
    (finding,) = await _groups(settings)
    assert (finding.subject, finding.state) == ("group old", "warning")
    assert "aegis topics forget-group a old" in finding.remedy

    with pytest.raises(Refused, match="me works for it"):
        await forget_group(wire, KEYS, "a", "g")
    with pytest.raises(Refused, match="not registered"):
        await forget_group(wire, KEYS, "a", "nobody")
    assert await forget_group(wire, KEYS, "a", "old") == 5
    (finding,) = await _groups(settings)
    assert finding.state == "ok"
    assert len(await read_topic(client, "a", 0)) == 1


async def test_key_and_tombstone_come_back_as_they_were(client: Any, log: DeadLetters) -> None:
    await bury(client, letter(2), value=None, key=b"k\x00")
    (stored,) = (await log.page()).letters
    assert (stored.key, stored.value_bytes) == (b"k\x00", None)
    assert await log.read_value(stored.id) is None
    await log.replay(stored.id)
    await bury(client, letter(4), value=b"", key=b"")
    await log.replay((await log.page()).letters[0].id)
    entries = await read_topic(client, "a", 0)
    assert [(entry.key, entry.value) for entry in entries] == [(b"k\x00", None), (b"", b"")]


async def test_listing_large_letters_holds_few_of_them(client: Any, log: DeadLetters) -> None:
    """All at once were once in memory: 150 of 2 MiB took 2.7 GB."""
    large = os.urandom(2 << 20)
    for n in range(40):
        await bury(client, letter(n), value=large)
    await log.page(limit=1)
    tracemalloc.start()
    page = await log.page(limit=100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [each.value_bytes for each in page.letters] == [2 << 20] * 40
    assert [each.letter.offset for each in page.letters] == list(range(40))
    assert peak < 1 << 20


async def test_discarded_letters_are_gone_and_asking_again_says_so(client: Any, log: DeadLetters) -> None:
    await bury(client, letter(1), letter(2), letter(3))
    await log.discard("0-1")
    for again in ("0-1", "0-9"):
        with pytest.raises(Refused, match="cannot discard dead letter"):
            await log.discard(again)
    assert [each.id for each in (await log.page()).letters] == ["0-2", "1-1"]
    assert await log.removed() == Removed(0, 0)


async def test_the_bound_removes_the_oldest_and_counts_them_for_ever(client: Any, log: DeadLetters) -> None:
    value = os.urandom(100_000)
    await bury(client, *(letter(n) for n in range(40)), value=value)
    assert await log.bound(8 << 20) == Removed(0, 0)
    first = await log.bound(2 << 20)
    assert 20 <= first.messages <= 28  # What an entry takes is some tenths more than what it says.
    assert first.size_bytes > first.messages * 100_000
    left = (await log.page()).letters
    assert next(each.id for each in left if each.id.startswith("0-")) == f"0-{first.messages // 2 + 1}"
    assert len(left) == 40 - first.messages
    sizes = [await client.memory_usage(KEYS.stream("dead_letters", p), samples=0) for p in (0, 1)]
    assert sum(sizes) <= 2 << 20
    assert await log.bound(2 << 20) == Removed(0, 0)
    more = await log.bound(0)
    assert more.messages == len(left)
    assert await log.removed() == Removed(40, first.size_bytes + more.size_bytes)
    # Numbers go on: an id names its letter for ever.
    await bury(client, letter(1))
    assert [each.id for each in (await log.page()).letters] == ["0-21"]
