"""Taking requests into Redis: once each, within limits, whatever becomes of connections. Small bodies go through Lua, large ones
through a transaction; every promise holds for both."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis.asyncio as aioredis

from topics.errors import RateLimited, Refused, Unavailable
from topics.intake import Terms
from topics.redis_streams.catalogue import declare_topics
from topics.redis_streams.intake import LARGE_BYTES, RedisIntake
from topics.redis_streams.keys import Keys
from topics.redis_streams.stream_producer import StreamProducer

TOPIC = "logs.raw"
PARTITIONS = 2
Make = Callable[..., Any]


@pytest.fixture(params=[100, LARGE_BYTES], ids=["small", "large"])
def body(request: pytest.FixtureRequest) -> bytes:
    return os.urandom(request.param)


@pytest.fixture
async def client(redis_server: Any) -> AsyncIterator[aioredis.Redis]:
    connection = aioredis.Redis.from_url(redis_server.url)
    await declare_topics(connection, {TOPIC: PARTITIONS}, readers={TOPIC: ("g",)})
    yield connection
    await connection.aclose()


@pytest.fixture
async def make_intake(redis_server: Any, client: aioredis.Redis) -> AsyncIterator[Make]:
    made: list[RedisIntake] = []

    async def make(url: str | None = None) -> RedisIntake:
        producer = StreamProducer(url or redis_server.url, topics=[TOPIC])
        await producer.start()
        made.append(RedisIntake(producer))
        return made[-1]

    yield make
    for intake in made:
        await intake.close()


def terms(**changes: Any) -> Terms:
    fresh = Terms("org", 10_000, "10.0.0.1", 1_000, os.urandom(16), b"", b"", 1_000, os.urandom(20))
    return fresh._replace(**changes)


async def count(client: aioredis.Redis) -> int:
    return sum([await client.xlen(Keys().stream(TOPIC, p)) for p in range(PARTITIONS)])


async def test_each_request_is_enqueued_with_its_own_answer(
    make_intake: Make, client: aioredis.Redis, body: bytes
) -> None:
    intake = await make_intake()
    asked = [terms() for _ in range(70)]
    taken = await asyncio.gather(*(intake.take(TOPIC, body, [("org", b"o")], each) for each in asked))
    assert [each.answer for each in taken] == [each.answer for each in asked]
    assert not any(each.repeated for each in taken)
    assert await count(client) == 70
    remaining = [each.allowance.remaining for each in taken]
    assert max(remaining) == 999
    assert min(remaining) >= 930  # More when the machine is slow, as buckets fill all the time.


async def test_the_same_signed_request_gives_the_first_answer(
    make_intake: Make, client: aioredis.Redis, body: bytes
) -> None:
    intake, other_gateway = await make_intake(), await make_intake()
    first = terms()
    await intake.take(TOPIC, body, [], first)
    repeat = await other_gateway.take(TOPIC, body, [], first._replace(answer=b"another"))
    assert (repeat.answer, repeat.repeated) == (first.answer, True)
    assert await count(client) == 1


async def test_of_twins_at_the_same_moment_one_is_enqueued(
    make_intake: Make, client: aioredis.Redis, body: bytes
) -> None:
    gateways = [await make_intake() for _ in range(3)]
    for _ in range(20):
        key = os.urandom(16)
        twins = [terms(idempotency=key, body=b"12345678") for _ in range(9)]
        taken = await asyncio.gather(*(gateways[i % 3].take(TOPIC, body, [], twin) for i, twin in enumerate(twins)))
        assert len({each.answer for each in taken}) == 1
        assert sum(not each.repeated for each in taken) == 1
    assert await count(client) == 20


async def test_a_key_with_another_body_is_a_conflict_and_changes_nothing(
    make_intake: Make, client: aioredis.Redis, body: bytes
) -> None:
    intake = await make_intake()
    first = terms(idempotency=b"k" * 16, body=b"body one")
    await intake.take(TOPIC, body, [], first)
    with pytest.raises(Refused) as refusal:
        await intake.take(TOPIC, body, [], terms(idempotency=b"k" * 16, body=b"body two"))
    assert refusal.value.code == "conflict"
    again = await intake.take(TOPIC, body, [], terms(idempotency=b"k" * 16, body=b"body one"))
    assert (again.answer, again.repeated) == (first.answer, True)
    assert await count(client) == 1


async def test_keys_of_one_organization_are_capped_and_others_go_on(make_intake: Make, client: aioredis.Redis) -> None:
    intake = await make_intake()
    for i in range(3):
        await intake.take(TOPIC, b"x", [], terms(idempotency=b"%16d" % i, body=b"12345678", keys_max=3))
    with pytest.raises(RateLimited, match="3 idempotency keys"):
        await intake.take(TOPIC, b"x", [], terms(idempotency=b"more" * 4, body=b"12345678", keys_max=3))
    # A repeat of a known key needs no room; neither does a request without one, nor another organization.
    assert (await intake.take(TOPIC, b"x", [], terms(idempotency=b"%16d" % 1, body=b"12345678", keys_max=3))).repeated
    await intake.take(TOPIC, b"x", [], terms(keys_max=3))
    await intake.take(TOPIC, b"x", [], terms(organization="b", idempotency=b"more" * 4, body=b"12345678", keys_max=3))
    assert await count(client) == 5


@pytest.mark.parametrize(
    ("rates", "who"),
    [
        ({"organization_per_minute": 5, "address_per_minute": 1000}, "organization"),
        ({"organization_per_minute": 1000, "address_per_minute": 5}, "address"),
    ],
)
async def test_an_empty_bucket_refuses_and_says_when(
    make_intake: Make, client: aioredis.Redis, body: bytes, rates: dict[str, int], who: str
) -> None:
    intake = await make_intake()
    left = [(await intake.take(TOPIC, body, [], terms(**rates))).allowance for _ in range(5)]
    assert [each.remaining for each in left] == [4, 3, 2, 1, 0]
    assert {each.limit for each in left} == {5}
    for _ in range(3):
        with pytest.raises(RateLimited, match=f"this {who} may send 5") as refusal:
            await intake.take(TOPIC, body, [], terms(**rates))
        assert 10 < refusal.value.retry_after_s <= 12
        assert 55 <= refusal.value.reset_s <= 60
    assert await count(client) == 5
    # What was refused cost the other bucket nothing.
    other = "address" if who == "organization" else "organization"
    free = {other: "fresh-one", f"{other}_per_minute": 1000, f"{who}": "fresh-two", f"{who}_per_minute": 1000}
    assert (await intake.take(TOPIC, body, [], terms(**free))).allowance.remaining == 999


async def test_a_bucket_fills_again_at_its_rate(make_intake: Make, client: aioredis.Redis) -> None:
    intake = await make_intake()
    rates = {"organization_per_minute": 240, "address_per_minute": 1000}
    outcomes = await asyncio.gather(
        *(intake.take(TOPIC, b"x", [], terms(**rates)) for _ in range(300)), return_exceptions=True
    )
    taken = sum(not isinstance(each, BaseException) for each in outcomes)
    assert 240 <= taken <= 241
    await asyncio.sleep(1.0)  # four tokens
    later = [
        await asyncio.gather(intake.take(TOPIC, b"x", [], terms(**rates)), return_exceptions=True) for _ in range(8)
    ]
    assert 3 <= sum(not isinstance(each[0], BaseException) for each in later) <= 6


async def test_a_refused_request_can_be_charged(make_intake: Make, client: aioredis.Redis) -> None:
    intake = await make_intake()
    for _ in range(3):
        await intake.charge(terms(organization_per_minute=3))
    with pytest.raises(RateLimited):
        await intake.charge(terms(organization_per_minute=3))
    assert await count(client) == 0


@pytest.mark.parametrize("mode", ["before", "after", "late"])
async def test_a_connection_that_breaks_loses_nothing_and_doubles_nothing(
    make_intake: Make, client: aioredis.Redis, redis_lossy_proxy: Any, body: bytes, mode: str
) -> None:
    intake = await make_intake(f"redis://127.0.0.1:{redis_lossy_proxy.port}/0")
    await intake.take(TOPIC, body, [], terms())
    # A body that holds the trigger, as a small request is one call without an EXEC.
    marked = body[:50] + b"EXEC\r\n" + body[50:]
    redis_lossy_proxy.mode = mode
    asked = terms()
    taken = await intake.take(TOPIC, marked, [], asked)
    assert (taken.answer, taken.repeated) == (asked.answer, False)
    assert redis_lossy_proxy.lost == 1
    if mode == "late":
        redis_lossy_proxy.late.set()
        await redis_lossy_proxy.late_done.wait()
    assert await count(client) == 2


async def test_a_redis_that_is_away_is_unavailable_and_comes_back(
    make_intake: Make, client: aioredis.Redis, redis_server: Any, body: bytes
) -> None:
    intake = await make_intake()
    first = terms()
    await intake.take(TOPIC, body, [], first)
    redis_server.kill()
    with pytest.raises(Unavailable):
        await intake.take(TOPIC, body, [], terms())
    redis_server.start()
    for _ in range(200):
        try:
            await intake.take(TOPIC, body, [], terms())
            break
        except Unavailable:
            await asyncio.sleep(0.05)
    repeat = await intake.take(TOPIC, body, [], first._replace(answer=b"another"))
    assert (repeat.answer, repeat.repeated) == (first.answer, True)
    await client.connection_pool.disconnect()
    assert await count(client) == 2


async def test_a_full_redis_takes_nothing_and_remembers_nothing(
    make_intake: Make, client: aioredis.Redis, body: bytes
) -> None:
    intake = await make_intake()
    used = (await client.info("memory"))["used_memory"]
    await client.config_set("maxmemory", used // 2)
    asked = terms()
    with pytest.raises(Unavailable, match=r"OOM|full"):
        await intake.take(TOPIC, body, [], asked)
    assert await count(client) == 0
    await client.config_set("maxmemory", 0)
    await asyncio.sleep(0.6)  # the producer's next look at the bound
    assert not (await intake.take(TOPIC, body, [], asked)).repeated
    assert await count(client) == 1


async def test_what_is_remembered_expires(make_intake: Make, client: aioredis.Redis, body: bytes) -> None:
    intake = await make_intake()
    await intake.take(TOPIC, body, [], terms(idempotency=b"k" * 16, body=b"12345678"))
    expiries = {
        key.split(b":")[1]: await client.ttl(key)
        for key in await client.keys("aegis:*")
        if key.split(b":")[1] in (b"limits", b"replays", b"keys")
    }
    assert 100 < expiries[b"limits"] <= 180
    assert 1_200 < expiries[b"replays"] <= 1_260
    assert 172_000 < expiries[b"keys"] <= 172_860
