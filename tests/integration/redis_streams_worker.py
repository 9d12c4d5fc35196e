"""A worker process for tests to kill: topic `in` -> agent -> topic `mid` -> agent in a second app -> topic `out`, table.

Run as a script: URL of Redis, folder, lease in seconds. Prints "ready" once both apps have their partitions.
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

from topics.faust_app import EmbeddedApp, TransportConfig, create_app


def build(config: TransportConfig) -> tuple[EmbeddedApp, EmbeddedApp]:
    """Two apps as a worker has them: one that derives messages, one that holds several and acknowledges them late."""
    first, second = create_app("first", config), create_app("second", config)
    mid, out = first.topic("mid"), second.topic("out")
    counts = second.Table("counts", key_type=str, value_type=int, default=int, partitions=config.partitions)

    @first.agent(first.topic("in"))
    async def derive(stream: Any) -> None:
        async for event in stream.events():
            await mid.send(value=event.value, key=event.key, headers={"from": b"derive"})

    @second.agent(second.topic("mid"))
    async def collect(stream: Any) -> None:
        held = []
        async for event in stream.noack().events():
            counts[f"{event.message.partition}/{event.value[-1:].decode()}"] += 1
            await out.send(value=event.value)
            held.append(event)
            if len(held) >= 5:
                for late in reversed(held):
                    late.ack()
                held.clear()
                await asyncio.sleep(0)

    @second.timer(0.05)
    async def nothing() -> None:
        return

    return first, second


async def main(url: str, folder: Path, lease_s: float) -> None:
    config = TransportConfig(url=url, data_dir=folder, lease_s=lease_s, drain_s=1.0)
    first, second = build(config)
    await asyncio.gather(first.start(), second.start())
    print("ready", flush=True)
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    ends = [asyncio.create_task(app.wait_until_failed()) for app in (first, second)]
    ends.append(asyncio.create_task(terminated.wait()))
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if not terminated.is_set():
        # Faust's tasks do not end by being cancelled, and what is not committed comes again anyway.
        logging.getLogger().critical("an app failed")
        os._exit(1)
    await first.stop()
    await second.stop()
    for end in ends:
        end.cancel()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    uvloop.run(main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])))
