"""A worker to be attacked: topic `in` -> agent -> topic `mid` -> agent of a second app -> topic `out` and a table.

Run as a script: URL of Redis, folder, lease in seconds, partitions. Appends a byte to `delivered.1` or `delivered.2` in the
folder for every message that an agent gets, so that repetitions can be counted whatever happens to this process.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import uvloop

from topics.errors import Unavailable
from topics.faust_app import EmbeddedApp, TransportConfig, create_app


def build(config: TransportConfig, folder: Path) -> tuple[EmbeddedApp, EmbeddedApp, list[Any]]:
    """The two apps, and the events that the second one holds."""
    first, second = create_app("first", config), create_app("second", config)
    counts = second.Table("counts", key_type=str, value_type=int, default=int, partitions=config.partitions)
    delivered = [os.open(folder / f"delivered.{stage}", os.O_CREAT | os.O_APPEND | os.O_WRONLY) for stage in (1, 2)]
    held: list[Any] = []

    @first.agent(first.topic("in"))
    async def derive(stream: Any) -> None:
        async for event in stream.events():
            os.write(delivered[0], b".")
            # To another partition, so that the stages of one message are on different owners.
            where = (event.message.partition + 1) % config.partitions
            first.sender.take(event, "mid", event.value, partition=where)

    @second.agent(second.topic("mid"))
    async def count(stream: Any) -> None:
        async for event in stream.noack().events():
            os.write(delivered[1], b".")
            counts[f"{event.message.partition}/{event.value[-1:].decode()}"] += 1
            second.sender.take(event, "out", event.value, partition=event.message.partition)
            held.append(event)

    return first, second, held


async def acknowledge_late(held: list[Any]) -> None:
    """Acknowledge what the second agent holds now and then, the latest first."""
    while True:
        await asyncio.sleep(0.03)
        while held:
            held.pop().ack()


async def start(app: EmbeddedApp) -> None:
    while True:
        try:
            await app.streams.learn_topics(["in", "mid", "out"])
            break
        except Unavailable:
            await asyncio.sleep(0.1)
    await app.start()


async def main(url: str, folder: Path, lease_s: float, partitions: int) -> None:
    config = TransportConfig(
        url=url, data_dir=folder / "faust", lease_s=lease_s, drain_s=lease_s / 2, partitions=partitions
    )
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    first, second, held = build(config, folder)
    late = asyncio.create_task(acknowledge_late(held))
    starting = asyncio.gather(start(first), start(second))
    ends = [asyncio.create_task(app.wait_until_failed()) for app in (first, second)]
    ends.append(asyncio.create_task(terminated.wait()))
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if not terminated.is_set():
        logging.critical("an app failed: %s", [end.result() for end in ends if end.done()])
        os._exit(1)
    if not starting.done():
        os._exit(0)
    await first.stop()
    await second.stop()
    late.cancel()
    for end in ends:
        end.cancel()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(process)d %(name)s %(levelname)s %(message)s")
    uvloop.run(main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
