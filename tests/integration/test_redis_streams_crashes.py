"""Workers and Redis are killed under load: every message goes through two stages and a table exactly once."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from topics.redis_streams.catalogue import declare_topics
from topics.redis_streams.keys import Keys

KEYS = Keys()
PARTITIONS = 4
CHANGELOG = "second-counts-changelog"


class Workers:
    """Worker processes of `redis_streams_worker.py`."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        script = Path(__file__).with_name("redis_streams_worker.py")
        log = (self.folder / "worker.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, str(script), self.url, str(self.folder / "faust"), "1"],
            stdout=log,
            stderr=log,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        log.close()
        self.running.append(process)
        return process

    def signal(self, process: subprocess.Popen[bytes], number: int) -> None:
        os.kill(process.pid, number)
        if number == signal.SIGKILL:
            process.wait()
            self.running.remove(process)

    def log(self) -> str:
        return (self.folder / "worker.log").read_text()


@pytest.fixture
def workers(redis_server: Any, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(redis_server.url, tmp_path)
    yield workers
    for process in list(workers.running):
        workers.signal(process, signal.SIGKILL)


class Load:
    """Adds numbered messages to `in` until told to stop."""

    def __init__(self, port: int) -> None:
        # The client's own retries would add a message twice without saying so.
        self.client = redis.asyncio.Redis(port=port, protocol=2, retry=Retry(NoBackoff(), 0))
        self.sent = 0
        self.refused = 0
        self._stop = False

    async def declare(self) -> None:
        topics = {"in": PARTITIONS, "mid": PARTITIONS, "out": PARTITIONS}
        await declare_topics(self.client, topics, readers={"in": ("first",), "mid": ("second",)})

    async def run(self, pause_s: float = 0.005) -> None:
        """Number messages without gaps; one whose answer is lost is looked for before it is sent again."""
        while not self._stop:
            await self._send(f"{self.sent:07d}".encode())
            self.sent += 1
            await asyncio.sleep(pause_s)

    async def _send(self, value: bytes) -> None:
        stream = KEYS.stream("in", self.sent % PARTITIONS)
        asked_before = False
        while True:
            try:
                if asked_before and await self._is_there(value):
                    return
                await self.client.execute_command("XADD", stream, "0-*", "v", value, "t", 0)
                return
            except redis.exceptions.ConnectionError:
                self.refused += 1
                asked_before = True
                await asyncio.sleep(0.05)

    async def _is_there(self, value: bytes) -> bool:
        """Whether the message is in the way anywhere: the consumers may have been quicker than the answer."""
        for topic in ("in", "mid", "out"):
            for partition in range(PARTITIONS):
                for _, fields in await self.client.xrange(KEYS.stream(topic, partition)):
                    if fields[b"v"] == value:
                        return True
        return False

    def stop(self) -> None:
        self._stop = True

    async def out(self) -> list[bytes]:
        found = []
        for partition in range(PARTITIONS):
            found += [fields[b"v"] for _, fields in await self.client.xrange(KEYS.stream("out", partition))]
        return found

    async def table_sum(self) -> int:
        total = 0
        for partition in range(PARTITIONS):
            rows: dict[bytes, int] = {}
            for _, fields in await self.client.xrange(KEYS.stream(CHANGELOG, partition)):
                assert fields[b"k"] not in rows, "the changelog is not compacted"
                rows[fields[b"k"]] = json.loads(fields[b"v"])
            total += sum(rows.values())
        return total

    async def wait_until_done(self, workers: Workers, timeout_s: float = 25.0) -> list[bytes]:
        """Wait until the last few, which the late agent holds until it has five, are all that is missing."""
        filler = 0
        async with asyncio.timeout(timeout_s):
            while True:
                numbered = [value for value in await self.out() if not value.startswith(b"filler")]
                if len(set(numbered)) >= self.sent:
                    return numbered
                for partition in range(PARTITIONS):
                    value = f"filler {filler}".encode()
                    await self.client.execute_command("XADD", KEYS.stream("in", partition), "0-*", "v", value)
                    filler += 1
                await asyncio.sleep(0.25)

    async def check(self, workers: Workers) -> None:
        numbered = await self.wait_until_done(workers)
        assert len(numbered) == self.sent, f"{len(numbered) - self.sent} twice\n{workers.log()}"
        assert sorted(numbered) == [f"{n:07d}".encode() for n in range(self.sent)]
        await asyncio.sleep(0.1)
        assert await self.table_sum() == len(await self.out())
        await self.client.aclose()


async def test_a_killed_worker_repeats_and_loses_nothing(redis_server: Any, workers: Workers) -> None:
    load = Load(redis_server.port)
    await load.declare()
    process = workers.start()
    sending = asyncio.create_task(load.run())
    for _ in range(3):
        await asyncio.sleep(1.8 + random.random() / 3)
        workers.signal(process, signal.SIGKILL)
        process = workers.start()
    await asyncio.sleep(1)
    load.stop()
    await sending
    await load.check(workers)


async def test_a_killed_redis_comes_back_and_everything_goes_on(redis_server: Any, workers: Workers) -> None:
    load = Load(redis_server.port)
    await load.declare()
    process = workers.start()
    sending = asyncio.create_task(load.run(0.003))
    await asyncio.sleep(2)
    for _ in range(2):
        redis_server.kill()
        await asyncio.sleep(0.3)
        redis_server.start()
        await asyncio.sleep(1.2)
    load.stop()
    await sending
    assert load.refused > 0
    await load.check(workers)
    assert process.poll() is None


async def test_workers_that_join_die_and_stall_are_exact_together(redis_server: Any, workers: Workers) -> None:
    load = Load(redis_server.port)
    await load.declare()
    one = workers.start()
    sending = asyncio.create_task(load.run())
    await asyncio.sleep(1.5)
    two = workers.start()
    await asyncio.sleep(2)
    workers.signal(one, signal.SIGSTOP)
    await asyncio.sleep(2)
    workers.signal(one, signal.SIGCONT)
    await asyncio.sleep(1)
    workers.signal(two, signal.SIGKILL)
    await asyncio.sleep(1)
    load.stop()
    await sending
    await load.check(workers)
    assert one.poll() is None
