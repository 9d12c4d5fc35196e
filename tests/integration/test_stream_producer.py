"""The gateway's way onto streams: confirmed, evenly spread, refused at the bounds, and back by itself after Redis was away."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio as aioredis

from topics.errors import Unavailable
from topics.redis_streams.catalogue import declare_topics
from topics.redis_streams.entries import decode_entry
from topics.redis_streams.keys import Keys
from topics.redis_streams.pipelined_connection import PipelinedConnection
from topics.redis_streams.stream_producer import StreamProducer

TOPIC = "logs.raw"
HEADERS = [("org", b"o"), ("x", b"\x00\xff")]


@pytest.fixture
async def client(redis_server: Any) -> AsyncIterator[aioredis.Redis]:
    connection = aioredis.Redis.from_url(redis_server.url)
    await declare_topics(connection, {TOPIC: 4}, readers={TOPIC: ("g",)})
    yield connection
    await connection.aclose()


@pytest.fixture
async def producer(redis_server: Any, client: aioredis.Redis) -> AsyncIterator[StreamProducer]:
    started = StreamProducer(redis_server.url, topics=[TOPIC], stream_messages_max=50)
    await started.start()
    yield started
    await started.close()


async def lengths(client: aioredis.Redis) -> list[int]:
    return [await client.xlen(Keys().stream(TOPIC, partition)) for partition in range(4)]


async def until(done: Callable[[], Awaitable[bool]], within_s: float = 10) -> None:
    deadline = time.monotonic() + within_s
    while not await done():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def takes(producer: StreamProducer) -> bool:
    try:
        await producer.add(TOPIC, b"again", [])
    except Unavailable:
        return False
    return True


async def add_until_refused(producer: StreamProducer) -> None:
    for _ in range(200):
        await producer.add(TOPIC, b"x", [])
        await asyncio.sleep(0.01)


async def test_messages_arrive_whole_and_evenly_spread(producer: StreamProducer, client: aioredis.Redis) -> None:
    await asyncio.gather(*(producer.add(TOPIC, b"\x00body %d" % i, HEADERS) for i in range(40)))
    assert await lengths(client) == [10] * 4
    ((stream_id, fields),) = await client.execute_command("XRANGE", Keys().stream(TOPIC, 0), "-", "+", "COUNT", 1)
    assert stream_id == b"0-1"
    flat = [part for pair in fields.items() for part in pair] if isinstance(fields, dict) else fields
    entry = decode_entry(flat)
    assert entry.value is not None
    assert entry.value.startswith(b"\x00body")
    assert entry.headers == HEADERS


async def test_a_topic_that_nobody_declared_is_unavailable(producer: StreamProducer) -> None:
    with pytest.raises(Unavailable, match="not declared"):
        await producer.add("nothing", b"", [])


async def test_a_long_stream_is_full_and_takes_again_when_it_is_read(
    producer: StreamProducer, client: aioredis.Redis
) -> None:
    await asyncio.gather(*(producer.add(TOPIC, b"x", []) for _ in range(200)))
    with pytest.raises(Unavailable, match="pipeline is full"):
        await add_until_refused(producer)
    with pytest.raises(Unavailable):
        await producer.ping()
    for partition in range(4):
        await client.xtrim(Keys().stream(TOPIC, partition), maxlen=0, approximate=False)
    await until(lambda: takes(producer))


async def test_a_topic_of_many_bytes_is_full(redis_server: Any, client: aioredis.Redis) -> None:
    producer = StreamProducer(redis_server.url, topics=[TOPIC], topic_bytes_max=2 << 20)
    await producer.start()
    await asyncio.gather(*(producer.add(TOPIC, os.urandom(300_000), []) for _ in range(10)))
    with pytest.raises(Unavailable, match="MiB wait on"):
        await add_until_refused(producer)
    await producer.close()


async def test_a_redis_near_its_memory_bound_is_full(producer: StreamProducer, client: aioredis.Redis) -> None:
    used = int((await client.info("memory"))["used_memory"])
    await client.config_set("maxmemory", int(used * 1.1))
    with pytest.raises(Unavailable, match="full"):
        await add_until_refused(producer)
    await client.config_set("maxmemory", 0)
    await until(lambda: takes(producer))


async def test_a_redis_out_of_memory_refuses_and_nothing_is_confirmed(
    producer: StreamProducer, client: aioredis.Redis
) -> None:
    await client.config_set("maxmemory-policy", "noeviction")
    await client.config_set("maxmemory", 1)
    with pytest.raises(Unavailable):
        await producer.add(TOPIC, b"x", [])
    assert await lengths(client) == [0] * 4


async def test_a_killed_redis_fails_what_was_under_way_and_then_goes_on(
    producer: StreamProducer, redis_server: Any
) -> None:
    await producer.add(TOPIC, b"x", [])
    redis_server.kill()
    with pytest.raises(Unavailable):
        await producer.add(TOPIC, b"x", [])
    with pytest.raises(Unavailable, match="cannot reach Redis"):
        await producer.ping()
    redis_server.start()
    await until(lambda: takes(producer))


async def test_a_silent_redis_is_given_up_within_the_reply_timeout(redis_server: Any) -> None:
    connection = PipelinedConnection(redis_server.url, reply_timeout_s=0.4)
    await connection.start()
    assert await connection.call("PING") == b"PONG"
    os.kill(redis_server.process.pid, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        with pytest.raises(Unavailable, match="whether Redis took it"):
            await connection.call("PING")
        assert time.monotonic() - begin < 2
    finally:
        os.kill(redis_server.process.pid, signal.SIGCONT)

    async def answers() -> bool:
        try:
            return bool(await connection.call("PING") == b"PONG")
        except Unavailable:
            return False

    await until(answers)
    await connection.close()


async def test_calls_in_the_moment_of_the_loss_fail_too(redis_server: Any) -> None:
    """The socket is gone, its watcher has not run yet: such calls once waited for ever."""
    connection = PipelinedConnection(redis_server.url)
    await connection.start()
    redis_server.kill()
    async with asyncio.timeout(5):
        for _ in range(200):
            with pytest.raises(Unavailable):
                await connection.call("PING")
            await asyncio.sleep(0)
    await connection.close()
    redis_server.start()


async def test_waiting_bytes_are_bounded(redis_server: Any) -> None:
    connection = PipelinedConnection(redis_server.url, buffer_bytes_max=1000)
    await connection.start()
    first = connection.call("ECHO", b"x" * 800)
    with pytest.raises(Unavailable, match="1000 bytes"):
        connection.call("ECHO", b"x" * 800)
    assert await first == b"x" * 800
    assert await connection.call("ECHO", b"x" * 800) == b"x" * 800
    await connection.close()


async def test_replies_go_to_their_callers_in_order_also_past_a_cancelled_one(redis_server: Any) -> None:
    connection = PipelinedConnection(redis_server.url)
    await connection.start()
    calls = [connection.call("ECHO", str(i)) for i in range(100)]
    calls[50].cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [answer for i, answer in enumerate(answers) if i != 50] == [str(i).encode() for i in range(100) if i != 50]
    await connection.close()


async def test_close_waits_for_what_is_under_way(redis_server: Any) -> None:
    connection = PipelinedConnection(redis_server.url)
    await connection.start()
    call = connection.call("ECHO", "last")
    await connection.close()
    assert call.done()
    assert await call == b"last"
