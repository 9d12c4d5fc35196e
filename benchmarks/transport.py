"""What does a message cost on our Redis Streams transport, and how soon is a table back? (`make bench`)

Fills topics on a fresh Redis, then runs one Faust app in this process: CPU microseconds of this process for each message, from
the first one taken to the last one committed. Redis is another process and is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis.asyncio
import uvloop
from rich.console import Console
from rich.table import Table

from aegis.embedded.ports import free_port
from aegis.embedded.redis import RedisService, find_redis
from aegis.settings import environment
from benchmarks.measured_instance import hardware
from topics.faust_app import EmbeddedApp, TransportConfig, create_app
from topics.redis_streams.catalogue import declare_topics
from topics.redis_streams.entries import encode_entry, entry_id
from topics.redis_streams.keys import Keys

PARTITIONS = 8
KEYS = Keys()
SMALL, LARGE = 1024, 300 * 1024
BUDGET_SMALL_US, BUDGET_LARGE_US, BUDGET_RECOVERY_S = 30.0, 400.0, 2.0


@dataclass(frozen=True)
class Row:
    """One line of the table. `cpu_us` and `per_s` are for one message."""

    case: str
    messages: int
    cpu_us: float
    per_s: float
    budget_us: float | None = None


class Bench:
    """One Redis, and the cases."""

    def __init__(self, url: str, folder: Path, scale: float) -> None:
        self.config = TransportConfig(url=url, data_dir=folder / "faust", partitions=PARTITIONS)
        self.client = redis.asyncio.from_url(url, protocol=2)
        self.scale = scale

    def count(self, size: int) -> int:
        return int((60_000 if size == SMALL else 1_200) * self.scale)

    async def fill(self, topic: str, group: str, size: int, messages: int) -> None:
        await declare_topics(self.client, {topic: PARTITIONS, f"{topic}.out": PARTITIONS}, readers={topic: (group,)})
        value, at_once = b"x" * size, max(1, (4 << 20) // size)
        for first in range(0, messages, at_once):
            pipeline = self.client.pipeline(transaction=False)
            for n in range(first, min(first + at_once, messages)):
                entry = encode_entry(b"%08d" % n + value, timestamp_ms=1, headers=[("org", b"o")])
                pipeline.execute_command("XADD", KEYS.stream(topic, n % PARTITIONS), "0-*", *entry)
            await pipeline.execute()

    async def agent(self, case: str, size: int, work: Callable[[EmbeddedApp, str], Callable[[Any], Any]]) -> Row:
        """Messages through an agent that does `work` on each event and acknowledges it."""
        name = case.replace(" ", "-").replace(",", "")
        messages = self.count(size)
        await self.fill(name, f"g-{name}", size, messages)
        app = create_app(f"g-{name}", self.config)
        do = work(app, f"{name}.out")
        began: list[tuple[float, float]] = []

        @app.agent(app.topic(name))
        async def handle(stream: Any) -> None:
            async for event in stream.noack().events():
                if not began:
                    began.append((time.process_time(), time.perf_counter()))
                do(event)
                event.ack()

        await app.streams.learn_topics([f"{name}.out"])
        await app.start()
        await _committed(app, messages)
        cpu_s, wall_s = time.process_time() - began[0][0], time.perf_counter() - began[0][1]
        await app.stop()
        for partition in range(PARTITIONS):
            await self.client.delete(KEYS.stream(f"{name}.out", partition))
        budget = BUDGET_SMALL_US if size == SMALL else BUDGET_LARGE_US
        return Row(case, messages, cpu_s / messages * 1e6, messages / wall_s, budget)

    async def send(self, case: str, size: int) -> Row:
        """Messages out of an app, outside any event, until Redis has confirmed them all."""
        messages = self.count(size) // 2
        topic = f"send-{size}"
        await declare_topics(self.client, {topic: PARTITIONS}, readers={topic: ()})
        app = create_app(f"g-{topic}", self.config)

        @app.agent(app.topic("nothing"))
        async def nothing(stream: Any) -> None:
            async for _ in stream:
                pass

        await app.start()
        await app.streams.learn_topics([topic])
        value = b"x" * size
        cpu, wall = time.process_time(), time.perf_counter()
        sent = []
        for n in range(messages):
            sent.append(app.sender.take(None, topic, value, headers=[("org", b"o")]))
            if n % max(1, (4 << 20) // size) == 0:
                await sent[-1]
        await asyncio.gather(*sent)
        cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - wall
        await app.stop()
        for partition in range(PARTITIONS):
            await self.client.delete(KEYS.stream(topic, partition))
        return Row(case, messages, cpu_s / messages * 1e6, messages / wall_s)

    async def recovery(self, rows: int) -> float:
        """Seconds from the start of an app until its table of so many keys can be used."""
        changelog = "g-recovery-counts-changelog"
        await declare_topics(self.client, {"recovery": PARTITIONS, changelog: PARTITIONS}, readers={"recovery": ()})
        for partition in range(PARTITIONS):
            pipeline = self.client.pipeline(transaction=False)
            for n in range(rows // PARTITIONS):
                key, value = b'"%d/%06d"' % (partition, n), b"%d" % n
                entry = encode_entry(value, timestamp_ms=1, key=key)
                pipeline.execute_command("XADD", KEYS.stream(changelog, partition), entry_id(n + 1), *entry)
            await pipeline.execute()
        app = create_app("g-recovery", self.config)
        table = app.Table("counts", key_type=str, value_type=int, default=int, partitions=PARTITIONS)

        @app.agent(app.topic("recovery"))
        async def nothing(stream: Any) -> None:
            async for _ in stream:
                pass

        wall = time.perf_counter()
        await app.start()
        taken_s = time.perf_counter() - wall
        loaded = len(table.data)
        await app.stop()
        if loaded != rows:
            raise SystemExit(f"only {loaded} of {rows} rows were recovered")
        return taken_s


def only_read(app: EmbeddedApp, out: str) -> Callable[[Any], Any]:
    """Nothing beside the acknowledgement."""
    return lambda event: None


def derive(app: EmbeddedApp, out: str) -> Callable[[Any], Any]:
    """One message of the same size out for each in."""

    def work(event: Any) -> None:
        app.sender.take(event, out, event.value, partition=event.message.partition, headers=[("org", b"o")])

    return work


def count_in_table(app: EmbeddedApp, out: str) -> Callable[[Any], Any]:
    """One table write for each message; 1000 keys a partition."""
    table = app.Table("counts", key_type=str, value_type=int, default=int, partitions=PARTITIONS)

    def work(event: Any) -> None:
        table[f"{event.message.partition}/{int(event.value[:8]) % 1000}"] += 1

    return work


async def _committed(app: EmbeddedApp, messages: int) -> None:
    while True:
        if app.streams.status().counts.messages_committed >= messages:
            return
        await asyncio.sleep(0.01)


async def _measure(url: str, folder: Path, scale: float) -> tuple[list[Row], float, int]:
    bench = Bench(url, folder, scale)
    await bench.agent("warm up", SMALL, derive)
    rows = [
        await bench.agent("1 KB, read", SMALL, only_read),
        await bench.agent("1 KB, read and produce", SMALL, derive),
        await bench.agent("1 KB, read and write a table", SMALL, count_in_table),
        await bench.send("1 KB, send", SMALL),
        await bench.agent("300 KB, read", LARGE, only_read),
        await bench.agent("300 KB, read and produce", LARGE, derive),
        await bench.send("300 KB, send", LARGE),
    ]
    keys = int(100_000 * min(scale, 1.0))
    recovery_s = await bench.recovery(keys)
    await bench.client.aclose()
    return rows, recovery_s, keys


async def _run(folder: Path, scale: float) -> tuple[list[Row], float, int]:
    service = RedisService(
        binary=find_redis(environment().get("PATH")),
        data_dir=folder,
        port=free_port(0),
        maxmemory_bytes=4 << 30,
        appendfsync="everysec",
        password=secrets.token_hex(16),
        env=environment(),
    )
    service.prepare()
    process = await asyncio.create_subprocess_exec(*service.argv(), stdout=asyncio.subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                if await service.is_ready():
                    break
            except OSError:
                await asyncio.sleep(0.05)
        return await _measure(service.url, folder, scale)
    finally:
        process.kill()
        await process.wait()


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the messages to send")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="aegis-bench-"))
    try:
        rows, recovery_s, keys = uvloop.run(_run(folder, options.scale))
    finally:
        shutil.rmtree(folder)
    table = Table(title=f"transport, CPU us a message; {hardware()}", title_justify="left")
    for column in ("case", "messages", "CPU us", "messages/s", "budget"):
        table.add_column(column, justify="left" if column == "case" else "right")
    for row in rows:
        budget = "-" if row.budget_us is None else f"{row.budget_us:.0f}"
        table.add_row(row.case, str(row.messages), f"{row.cpu_us:.1f}", f"{row.per_s:,.0f}", budget)
    table.add_row(f"recovery of {keys} keys", "-", "-", f"{recovery_s:.2f} s", f"{BUDGET_RECOVERY_S:g} s")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
