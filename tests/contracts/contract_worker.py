"""A member of group `g` to be killed: acknowledges five messages of topic `a`, holds the rest. Arguments: URL, folder."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from topics.faust_app import TransportConfig, create_app


async def main(url: str, folder: Path) -> None:
    app = create_app("g", TransportConfig(url=url, data_dir=folder, lease_s=1.0))
    await app.streams.learn_topics(["out"])
    taken = 0

    @app.agent(app.topic("a"))
    async def hold(stream: Any) -> None:
        nonlocal taken
        async for event in stream.noack().events():
            app.sender.take(event, "out", event.value, partition=0)
            taken += 1
            if taken <= 5:
                event.ack()

    await app.start()
    while app.streams.status().counts.messages_committed < 5 or taken < 12:
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    await asyncio.sleep(60)


asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
