"""The embedded Redis: found, started, killed and started again with its data, full, stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
import redis.asyncio

from aegis.embedded.ports import free_port
from aegis.embedded.redis import RedisService, find_redis
from aegis.supervision.spec import Timing
from aegis.supervision.supervisor import Supervisor
from topics.errors import Refused

PATH = "/usr/local/bin:/usr/bin:/bin"


def service(data_dir: Path, port: int = 0, appendfsync: Literal["always", "everysec"] = "everysec") -> RedisService:
    return RedisService(
        binary=find_redis(PATH),
        data_dir=data_dir,
        port=port or free_port(0),
        maxmemory_bytes=64 << 20,
        appendfsync=appendfsync,
        password="a-password",
        env={"PATH": PATH},
    )


@asynccontextmanager
async def running(redis_service: RedisService) -> AsyncIterator[tuple[Supervisor, redis.asyncio.Redis]]:
    supervisor = Supervisor(redis_service.data_dir, lambda _: None, Timing(probe_interval_s=0.01))
    client = redis.asyncio.from_url(redis_service.url)
    try:
        await supervisor.start([redis_service.spec()])
        yield supervisor, client
    finally:
        await client.aclose()
        await supervisor.stop()


async def test_it_keeps_an_append_only_file_and_never_evicts(tmp_path: Path) -> None:
    async with running(service(tmp_path, appendfsync="always")) as (_, client):
        config = await client.config_get("appendonly", "appendfsync", "maxmemory", "maxmemory-policy", "save", "bind")
        assert config == {
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory": str(64 << 20),
            "maxmemory-policy": "noeviction",
            "save": "",
            "bind": "127.0.0.1",
        }
        # Vector sets are part of Redis 8 itself; what is loaded from a file would have a path.
        assert [module for module in await client.module_list() if module[b"path"]] == []


async def test_data_survive_sigkill_and_a_clean_stop(tmp_path: Path) -> None:
    redis_service = service(tmp_path)
    async with running(redis_service) as (supervisor, client):
        for n in range(100):
            await client.xadd("stream", {"n": n})
        pid = supervisor.pids()["redis"]
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while supervisor.pids().get("redis", pid) == pid or supervisor.statuses()[0].state != "ready":
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        again = redis.asyncio.from_url(redis_service.url)
        assert await again.xlen("stream") == 100
        await again.xadd("stream", {"n": 100})
        await again.aclose()
    async with running(redis_service) as (_, client):
        assert await client.xlen("stream") == 101


async def test_half_a_command_at_the_end_of_the_file_is_cut_off(tmp_path: Path) -> None:
    redis_service = service(tmp_path)
    async with running(redis_service) as (_, client):
        await client.set("a", "1")
        await client.set("b", "x" * 1000)
    (file,) = (redis_service.folder / "appendonlydir").glob("*.incr.aof")
    os.truncate(file, file.stat().st_size - 500)
    async with running(redis_service) as (_, client):
        assert await client.get("a") == b"1"
        assert await client.get("b") is None


async def test_a_full_one_refuses_writes_and_still_answers(tmp_path: Path) -> None:
    async with running(service(tmp_path)) as (_, client):

        async def fill() -> None:
            for n in range(200):
                await client.set(f"key{n}", bytes(1 << 20))

        with pytest.raises(redis.ResponseError, match="maxmemory"):
            await fill()
        assert await client.exists("key0") == 1


async def test_another_redis_on_the_port_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = service(tmp_path / "a")
    async with running(first):
        second = service(tmp_path / "b", first.port)
        assert await first.is_ready()
        assert not await second.is_ready()
        with pytest.raises(Refused, match="cannot start redis: ended with code 1"):
            async with running(second):
                pass


async def test_a_server_that_is_still_loading_is_not_ready(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"-LOADING Redis is loading the dataset in memory\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert not await service(tmp_path, port).is_ready()


def test_a_server_on_the_path_comes_first_if_it_is_new_enough(tmp_path: Path) -> None:
    def put(name: str, says: str) -> Path:
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho '{says}'\n")
        program.chmod(0o755)
        return program

    packaged = find_redis("")
    assert packaged.version >= (7, 0)
    valkey = put("valkey-server", "Valkey server v=8.0.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1")
    assert find_redis(f"{tmp_path}:{PATH}").path == valkey
    redis_server = put("redis-server", "Redis server v=7.2.4 sha=00000000:0 malloc=libc bits=64 build=1")
    assert find_redis(f"{tmp_path}:{PATH}").path == redis_server
    put("redis-server", "Redis server v=6.2.14 sha=00000000:0 malloc=libc bits=64 build=1")
    assert find_redis(f"{tmp_path}:{PATH}").path == valkey
    put("valkey-server", "I am something else")
    assert find_redis(str(tmp_path)) == packaged


def test_a_taken_port_is_replaced_by_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = free_port(port)
        assert other != port
        # The same again, so that a service finds its port after a restart; and one that lies below the outgoing ones.
        assert free_port(port) == other == 20_000 + port % 10_000
    assert free_port(port) == port
    with socket.create_server(("", 0)) as taken_everywhere:
        assert free_port(taken_everywhere.getsockname()[1]) != taken_everywhere.getsockname()[1]


async def test_it_answers_nobody_without_the_password(tmp_path: Path) -> None:
    redis_service = service(tmp_path)
    async with running(redis_service):
        stranger = redis.asyncio.Redis(port=redis_service.port)
        with pytest.raises(redis.exceptions.AuthenticationError):
            await stranger.ping()
        await stranger.aclose()
    assert "a-password" not in " ".join(redis_service.argv())
    assert (redis_service.folder / "redis.conf").stat().st_mode & 0o777 == 0o600
