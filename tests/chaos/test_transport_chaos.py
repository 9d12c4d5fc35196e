"""Everything that can die dies under load, and every message is processed exactly once all the same (`make chaos`)."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from rich.console import Console
from rich.table import Table

from topics.redis_streams.catalogue import declare_topics
from topics.redis_streams.keys import Keys

KEYS = Keys()
PARTITIONS = 16
WORKERS = 4
LEASE_S = 1.0
STAGES = (("in", "first"), ("mid", "second"))
CHANGELOG = "second-counts-changelog"
AWAY = (redis.exceptions.ConnectionError, redis.exceptions.BusyLoadingError, OSError)


class Crew:
    """The worker processes; knows which of them were ended on purpose."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.running: list[subprocess.Popen[bytes]] = []
        self.stopping: list[subprocess.Popen[bytes]] = []
        self.started = 0

    def join(self) -> None:
        argv = [sys.executable, str(Path(__file__).with_name("chaos_worker.py")), self.url, str(self.folder)]
        with (self.folder / "workers.log").open("ab") as log:
            self.running.append(
                subprocess.Popen(
                    [*argv, str(LEASE_S), str(PARTITIONS)],
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                )
            )
        self.started += 1

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()
        self.running.remove(process)

    def leave(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        self.running.remove(process)
        self.stopping.append(process)

    def failed(self) -> list[int]:
        """Exit codes of those that ended by themselves, or not cleanly when asked to."""
        codes = [process.returncode for process in self.running if process.poll() is not None]
        # A worker that is asked to stop before it has begun to listen for that just ends.
        clean = (None, 0, -signal.SIGTERM)
        return codes + [process.returncode for process in self.stopping if process.poll() not in clean]

    def close(self) -> None:
        for process in [*self.running, *self.stopping]:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    def log(self) -> str:
        return (self.folder / "workers.log").read_text()[-4000:]

    def delivered(self, stage: int) -> int:
        return (self.folder / f"delivered.{stage}").stat().st_size


@pytest.fixture
def crew(redis_server: Any, tmp_path: Path) -> Iterator[Crew]:
    crew = Crew(redis_server.url, tmp_path)
    yield crew
    crew.close()


class Load:
    """Adds numbered messages to `in`, each exactly once, until told to stop."""

    def __init__(self, port: int) -> None:
        # The client's own retries would add a message twice without saying so.
        self.client = redis.asyncio.Redis(port=port, protocol=2, retry=Retry(NoBackoff(), 0))
        self.sent = 0
        self.refused = 0
        self.stopped = False

    async def declare(self) -> None:
        topics = dict.fromkeys(("in", "mid", "out"), PARTITIONS)
        await declare_topics(self.client, topics, readers={topic: (group,) for topic, group in STAGES})

    async def run(self, pause_s: float) -> None:
        while not self.stopped:
            await self.send()
            await asyncio.sleep(pause_s)

    async def send(self) -> None:
        value, partition, asked_before = b"%08d" % self.sent, self.sent % PARTITIONS, False
        while True:
            try:
                if not (asked_before and await self.is_there(value, partition)):
                    await self.client.execute_command("XADD", KEYS.stream("in", partition), "0-*", "v", value, "t", 0)
                self.sent += 1
                return
            except AWAY:
                self.refused += 1
                asked_before = True
                await asyncio.sleep(0.05)

    async def is_there(self, value: bytes, partition: int) -> bool:
        """Whether the message is anywhere on its way; looked for in the direction in which it moves, so as not to miss it."""
        places = (("in", partition), ("mid", (partition + 1) % PARTITIONS), ("out", (partition + 1) % PARTITIONS))
        for topic, where in places:
            for _, fields in await self.client.xrevrange(KEYS.stream(topic, where), count=20_000):
                if fields[b"v"] == value:
                    return True
        return False

    async def values(self, topic: str) -> list[bytes]:
        return [
            fields[b"v"]
            for partition in range(PARTITIONS)
            for _, fields in await self.client.xrange(KEYS.stream(topic, partition))
        ]

    async def out_length(self) -> int:
        return sum([await self.client.xlen(KEYS.stream("out", partition)) for partition in range(PARTITIONS)])

    async def table_sum(self) -> int:
        total = 0
        for partition in range(PARTITIONS):
            rows: dict[bytes, int] = {}
            for _, fields in await self.client.xrange(KEYS.stream(CHANGELOG, partition)):
                assert fields[b"k"] not in rows, "the changelog is not compacted"
                rows[fields[b"k"]] = json.loads(fields[b"v"])
            total += sum(rows.values())
        return total


@dataclass
class Watch:
    """Looks on: how often partitions change hands, and the longest that one with waiting messages stood still."""

    client: Any
    takeovers: int = 0
    longest_gap_s: float = 0.0
    _moved: dict[tuple[str, int], tuple[bytes | None, float]] = field(default_factory=dict)
    _owners: dict[tuple[str, int], bytes] = field(default_factory=dict)

    async def run(self) -> None:
        while True:
            with suppress(*AWAY):
                await self._look()
            await asyncio.sleep(0.1)

    async def _look(self) -> None:
        places = [(topic, group, partition) for topic, group in STAGES for partition in range(PARTITIONS)]
        pipeline = self.client.pipeline(transaction=False)
        for topic, group, partition in places:
            pipeline.hget(KEYS.committed(topic, partition), group)
            pipeline.xlen(KEYS.stream(topic, partition))
            pipeline.get(KEYS.epoch(group, partition))
        replies = await pipeline.execute()
        now = time.monotonic()
        for at, (topic, group, partition) in enumerate(places):
            offset, waiting, epoch = replies[3 * at : 3 * at + 3]
            before, since = self._moved.get((topic, partition), (None, now))
            if offset == before and waiting:
                self.longest_gap_s = max(self.longest_gap_s, now - since)
            else:
                self._moved[topic, partition] = (offset, now)
            owner = (epoch or b"").partition(b":")[2]
            known = self._owners.get((group, partition))
            self.takeovers += known is not None and owner != known
            self._owners[group, partition] = owner


async def attack(crew: Crew, redis_server: Any, rng: random.Random, seconds: float) -> dict[str, int]:
    """Do every kind of harm in turn, in a new order each round; return how often each was done."""
    done = dict.fromkeys(("kill", "stall", "join", "leave", "redis"), 0)
    until = time.monotonic() + seconds
    while True:
        round_ = list(done)
        rng.shuffle(round_)
        for kind in round_:
            if time.monotonic() > until and min(done.values()) > 0:
                return done
            victim = rng.choice(crew.running)
            if kind == "kill":
                crew.kill(victim)
                crew.join()
            elif kind == "stall":
                victim.send_signal(signal.SIGSTOP)
                await asyncio.sleep(LEASE_S * 1.5)
                victim.send_signal(signal.SIGCONT)
            elif kind == "join":
                crew.join()
            elif kind == "leave":
                if len(crew.running) < WORKERS:
                    crew.join()
                crew.leave(victim)
            else:
                redis_server.kill()
                await asyncio.sleep(rng.uniform(0.1, 0.5))
                await asyncio.to_thread(redis_server.start)
            done[kind] += 1
            while len(crew.running) > WORKERS + 1:
                crew.leave(crew.running[0])
            await asyncio.sleep(rng.uniform(0.2, 1.5))
            assert crew.failed() == [], crew.log()


async def until_out(load: Load, number: int, crew: Crew, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while await load.out_length() < number:
        assert time.monotonic() < deadline, f"{await load.out_length()} of {number} arrived\n{crew.log()}"
        await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_every_message_is_processed_exactly_once_whatever_dies(
    redis_server: Any, crew: Crew, chaos_seconds: float, chaos_seed: int
) -> None:
    print(f"\n--chaos-seed {chaos_seed} --chaos-seconds {chaos_seconds:g}", flush=True)
    load = Load(redis_server.port)
    await load.declare()
    for _ in range(WORKERS):
        crew.join()
    watch = Watch(redis.asyncio.Redis(port=redis_server.port, protocol=2, retry=Retry(NoBackoff(), 0)))
    sending = asyncio.create_task(load.run(0.004))
    await until_out(load, 100, crew)
    watching = asyncio.create_task(watch.run())
    done = await attack(crew, redis_server, random.Random(chaos_seed), chaos_seconds)
    load.stopped = True
    await sending
    await until_out(load, load.sent, crew)
    await asyncio.sleep(0.5)  # What would be there twice has come by now.
    watching.cancel()
    out, table_sum = await load.values("out"), await load.table_sum()
    delivered = [crew.delivered(stage) for stage in (1, 2)]
    await load.client.aclose()
    await watch.client.aclose()

    shown = Table(title=f"transport chaos, seed {chaos_seed}, {chaos_seconds:g} s", title_justify="left")
    shown.add_column("")
    shown.add_column("", justify="right")
    rows = {
        "produced": load.sent,
        "processed (at the end of the chain)": len(set(out)),
        "processed twice": len(out) - len(set(out)),
        "duplicates delivered, stage 1": delivered[0] - load.sent,
        "duplicates delivered, stage 2": delivered[1] - load.sent,
        "table sum": table_sum,
        "takeovers": watch.takeovers,
        "longest gap of a partition, s": f"{watch.longest_gap_s:.1f}",
        "workers started": crew.started,
        **{f"done: {kind}": times for kind, times in done.items()},
    }
    for name, value in rows.items():
        shown.add_row(name, str(value))
    Console(width=70).print(shown)
    assert sorted(out) == [b"%08d" % number for number in range(load.sent)], crew.log()
    assert table_sum == load.sent
    assert crew.failed() == [], crew.log()
    assert min(delivered) >= load.sent
    assert load.refused > 0
    assert watch.takeovers > 0


async def test_a_lost_end_of_the_append_only_file_drops_nothing_new(redis_server: Any, crew: Crew) -> None:
    """A power cut: what was written last is gone, offsets are given a second time, and must count as new."""
    load = Load(redis_server.port)
    await load.declare()
    crew.join()
    (worker,) = crew.running
    for _ in range(400):
        await load.send()
    await until_out(load, 300, crew)
    sending = asyncio.create_task(load.run(0.001))
    await asyncio.sleep(0.7)
    load.stopped = True
    await sending
    worker.send_signal(signal.SIGSTOP)
    out_before = await load.out_length()
    redis_server.kill()
    await load.client.aclose()
    (log,) = (redis_server.folder / "appendonlydir").glob("*.incr.aof")
    size = log.stat().st_size
    os.truncate(log, size - 30_000)
    redis_server.start()

    load = Load(redis_server.port)
    survivors = [value for topic in ("in", "mid", "out") for value in await load.values(topic)]
    assert len(survivors) > 0
    assert await load.out_length() < out_before, "nothing was lost"
    assert len(survivors) == len(set(survivors)), "a truncated file shows half a transaction"
    before_out = await load.out_length()
    load.sent = 50_000_000
    for _ in range(300):
        await load.send()
    worker.send_signal(signal.SIGCONT)
    for _ in range(300):
        await load.send()
    fresh = [b"%08d" % number for number in range(50_000_000, load.sent)]
    await until_out(load, len(survivors) + len(fresh), crew)
    await asyncio.sleep(0.5)
    assert sorted(await load.values("out")) == sorted([*survivors, *fresh]), crew.log()
    assert before_out < len(survivors)
    assert await load.table_sum() == len(survivors) + len(fresh)
    assert crew.failed() == [], crew.log()
    assert worker.poll() is None
    await load.client.aclose()
