"""What does one XADD cost the gateway's side, by client and by how many callers share it? (docs/decisions/0002)

Starts a Redis of its own and adds entries of 400 bytes through redis-py one call each, through redis-py pipelined once a loop
turn, through our own connection, and as the gateway does, with
`StreamProducer.add`, which also chooses a partition and makes the entry.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable

import redis.asyncio as aioredis
import uvloop
from rich.console import Console
from rich.table import Table

from aegis.embedded.ports import free_port
from aegis.embedded.redis import find_redis
from benchmarks.measured_instance import hardware
from topics.redis_streams.catalogue import declare_topics
from topics.redis_streams.entries import encode_entry
from topics.redis_streams.keys import Keys
from topics.redis_streams.pipelined_connection import PipelinedConnection
from topics.redis_streams.stream_producer import StreamProducer

CALLERS = (1, 8, 64)
TOPIC = "t"
Add = Callable[[], Awaitable[object]]


def main() -> None:
    """Run it and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adds", type=int, default=20_000)
    options = parser.parse_args()
    port = free_port(0)
    with tempfile.TemporaryDirectory() as folder:
        argv = [str(find_redis(None).path), "--port", str(port), "--dir", folder, "--save", "", "--loglevel", "warning"]
        server = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        try:
            rows = uvloop.run(_run(f"redis://127.0.0.1:{port}/0", options.adds))
        finally:
            server.terminate()
            server.wait()
    table = Table(title=f"client CPU us an XADD; {hardware()}", title_justify="left")
    for column in ("callers at once", "redis-py, one call each", "redis-py, pipelined", "ours", "producer's add"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    Console(width=100).print(table)


async def _run(url: str, adds: int) -> list[tuple[str, ...]]:
    value, headers = os.urandom(400), [("org", os.urandom(36))]
    entry = encode_entry(value, headers=headers, timestamp_ms=1)
    client = aioredis.Redis.from_url(url)
    for _ in range(200):
        try:
            await client.ping()
            break
        except (aioredis.ConnectionError, OSError):
            await asyncio.sleep(0.02)
    ours = PipelinedConnection(url)
    await ours.start()
    await declare_topics(client, {TOPIC: 1}, readers={})
    producer = StreamProducer(url, topics=[TOPIC], stream_messages_max=10 * adds)
    await producer.start()
    pipelined = _Pipelined(client)
    ways: list[Add] = [
        lambda: client.execute_command("XADD", "s", "0-*", *entry),
        lambda: pipelined.call("XADD", "s", "0-*", *entry),
        lambda: ours.call("XADD", "s", "0-*", *entry),
        lambda: producer.add(TOPIC, value, headers),
    ]
    rows = []
    for callers in CALLERS:
        figures = []
        for add in ways:
            await client.delete("s", Keys().stream(TOPIC, 0))
            figures.append(f"{await _cost_us(add, adds, callers):.1f}")
        rows.append((str(callers), *figures))
    await producer.close()
    await ours.close()
    await client.aclose()
    return rows


async def _cost_us(add: Add, adds: int, callers: int) -> float:
    async def caller() -> None:
        for _ in range(adds // callers):
            await add()

    begin = time.process_time()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return (time.process_time() - begin) / adds * 1e6


class _Pipelined:
    """redis-py's pipeline, run once for all calls of an event-loop turn."""

    def __init__(self, client: aioredis.Redis) -> None:
        self._client = client
        self._waiting: list[tuple[tuple[object, ...], asyncio.Future[object]]] = []
        self._flushing: asyncio.Task[None] | None = None

    def call(self, *args: object) -> asyncio.Future[object]:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((args, future))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        return future

    async def _flush(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            pipeline = self._client.pipeline(transaction=False)
            for args, _ in waiting:
                pipeline.execute_command(*args)
            for (_, future), reply in zip(waiting, await pipeline.execute(), strict=True):
                future.set_result(reply)


if __name__ == "__main__":
    main()
