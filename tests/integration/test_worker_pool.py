"""`aegis worker --processes 2` on real Redis: the processes share the work, and one that is killed is replaced."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from storage.migrations import migrate
from topics.names import LOGS, LOGS_RAW, NORMALIZE_GROUP
from topics.raw import RawBatch
from topics.redis_streams.entries import encode_entry
from topics.redis_streams.keys import Keys
from topics.redis_streams.overview import PartitionOverview, read_overview
from topics.redis_streams.wire import Wire

KEYS = Keys()
LEASE_S = 1.0
BODY = b'{"logs":[{"timestamp":1761904800000,"service":"a","level":"info","message":"m"}]}'


def free_ports() -> int:
    """The first of two ports in a row that are free now, below those of outgoing connections."""
    for port in range(21000 + os.getpid() % 1000 * 2, 24000, 2):
        with socket.socket() as one, socket.socket() as two:
            try:
                one.bind(("127.0.0.1", port))
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise RuntimeError("no free ports")


@pytest.fixture
async def pool(
    redis_server: Any, store_dsn: str, tmp_path: Path
) -> AsyncIterator[tuple[subprocess.Popen[bytes], int, Path]]:
    port = free_ports()
    env = {
        **os.environ,
        "AEGIS_TRANSPORT": redis_server.url,
        "AEGIS_LEASE_S": str(LEASE_S),
        "AEGIS_MASTER_KEY": "0" * 64,
        "DATABASE_URL": store_dsn,
    }
    await migrate(control_plane_dsn=store_dsn)
    argv = [sys.executable, "-m", "aegis.cli", "worker", "--processes", "2", "--duty", "normalize"]
    folder = tmp_path / "data"
    argv += ["--port", str(port), "--data-dir", str(folder)]
    with (tmp_path / "pool.log").open("wb") as log:
        process = subprocess.Popen(argv, env=env, stdout=log, stderr=log, cwd=Path(__file__).parents[2])
    yield process, port, folder
    if process.poll() is None:
        process.terminate()
        process.wait(30)


@pytest.fixture
async def wire(redis_server: Any) -> AsyncIterator[Wire]:
    wire = Wire(redis_server.url, name="test")
    yield wire
    await wire.close()


async def partitions(wire: Wire, topic: str) -> list[PartitionOverview]:
    return [each for each in await read_overview(wire, KEYS) if each.topic == topic]


async def owners(wire: Wire) -> list[str]:
    raw = await partitions(wire, LOGS_RAW)
    return [position.owner for each in raw for position in each.groups if position.group == NORMALIZE_GROUP]


async def until(true: Callable[[], Any], timeout_s: float = 30.0) -> float:
    began = time.monotonic()
    while not await true():
        assert time.monotonic() - began < timeout_s, "it did not happen in time"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def add(wire: Wire, number: int) -> None:
    batch = RawBatch("org", "request", 1761904800000, 30, BODY)
    fields = encode_entry(batch.body, timestamp_ms=1, headers=batch.headers())
    await wire.call(*(("XADD", KEYS.stream(LOGS_RAW, n % 4), "0-*", *fields) for n in range(number)))


async def normalized(wire: Wire) -> int:
    return sum(each.entries for each in await partitions(wire, LOGS))


async def test_two_processes_share_and_one_that_is_killed_is_replaced(
    wire: Wire, pool: tuple[subprocess.Popen[bytes], int, Path]
) -> None:
    process, port, folder = pool

    async def shared() -> bool:
        held = await owners(wire)
        return len(held) == 4 and "" not in held and len(set(held)) == 2

    await until(shared)
    await add(wire, 400)
    pids = {}
    async with httpx.AsyncClient() as http:
        for number in (0, 1):
            health = (await http.get(f"http://127.0.0.1:{port + number}/health")).json()
            assert len(health["agents"]["normalize"]["partitions"]) == 2
            record = folder / f"workers-{port}" / "run" / f"worker-{number + 1}.json"
            pids[number] = int(json.loads(record.read_text())["pid"])

        async def lag_is_shown() -> bool:
            return 'aegis_group_lag_messages{group="aegis-normalize",partition="' in await metrics()

        async def metrics() -> str:
            return (await http.get(f"http://127.0.0.1:{port}/metrics")).text

        await until(lag_is_shown)  # It is read now and then.
        shown = await metrics()
    labels = f'group="{NORMALIZE_GROUP}"'
    assert f"aegis_group_partitions{{{labels}}} 2.0" in shown
    assert f"aegis_group_connected{{{labels}}} 1.0" in shown
    for name in ("rebalances", "commits", "messages_committed", "fenced_partitions"):
        assert f"aegis_group_{name}_total{{{labels}}}" in shown

    argv = [sys.executable, "-m", "aegis.cli", "status", "--json", "--data-dir", str(folder)]
    env = {**os.environ, "AEGIS_TRANSPORT": f"redis://{wire.address}/0"}
    asked = await asyncio.to_thread(subprocess.run, argv, env=env, capture_output=True, timeout=30, check=True)
    instance = json.loads(asked.stdout)
    assert instance["url"] is None
    listed = [(each["name"], each["pid"], each["port"], each["health"]) for each in instance["processes"]]
    assert listed == [(f"worker-{n + 1}", pids[n], port + n, "ok") for n in (0, 1)]

    before = set(await owners(wire))
    os.kill(pids[0], signal.SIGKILL)
    await add(wire, 400)

    async def taken_over() -> bool:
        held = await owners(wire)
        return "" not in held and len(set(held) & before) == 1

    assert await until(taken_over) < LEASE_S + 1.0
    await add(wire, 400)
    assert await until(shared) < 15  # The parent has started another.

    async def done() -> bool:
        return await normalized(wire) >= 1200

    await until(done)
    await asyncio.sleep(0.2)
    assert await normalized(wire) == 1200

    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 20) == 0
    assert set(await owners(wire)) == {""}
    for pid in pids.values():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_pool_whose_worker_cannot_start_says_why(redis_server: Any, tmp_path: Path) -> None:
    env = {**os.environ, "AEGIS_TRANSPORT": redis_server.url, "AEGIS_PARTITIONS": "7", "AEGIS_MASTER_KEY": "0" * 64}
    argv = [sys.executable, "-m", "aegis.cli", "worker", "--processes", "2", "--port", "0", "--data-dir", str(tmp_path)]
    with redis.Redis(port=redis_server.port) as client:
        client.hset(KEYS.topics, LOGS_RAW, 4)
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "set AEGIS_PARTITIONS to what it has" in done.stderr
