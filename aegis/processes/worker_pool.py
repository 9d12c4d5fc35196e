"""`aegis worker --processes N`: settings -> N worker processes, each restarted when it dies, all stopped on SIGTERM.

Each serves /health, /ready and /metrics on a port of its own: AEGIS_WORKER_PORT, the next one, and so on. What they say goes to
`workers-<port>/logs/` in the data folder, since several processes on one standard error cannot be told apart.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from aegis.embedded.ports import free_port
from aegis.settings import Settings, environment
from aegis.supervision.lock import lock_data_dir
from aegis.supervision.spec import Event, ProcessSpec
from aegis.supervision.status import POOL_FOLDER
from aegis.supervision.supervisor import Supervisor
from topics.errors import Refused
from web.serving import reachable, stop_on_signals

log = logging.getLogger(__name__)

_START_S = 24 * 3600.0
"""A worker waits for Redis by itself, as long as it takes; one that cannot start at all ends at once and is seen that way."""


async def run_worker_pool(settings: Settings, *, processes: int, duties: Sequence[str]) -> None:
    """Keep `processes` workers running until SIGTERM or SIGINT.

    Raises `Refused` with the end of its log when one ends before it was ever up.
    """
    stop = stop_on_signals()
    ports = _ports(settings, processes)
    folder = settings.data_dir.absolute() / f"{POOL_FOLDER}{ports[0]}"
    folder.mkdir(parents=True, exist_ok=True)
    with lock_data_dir(folder):
        supervisor = Supervisor(folder, _log_event)
        specs = [_spec(settings, number, port, duties) for number, port in enumerate(ports, start=1)]
        starting = asyncio.create_task(supervisor.start(specs))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                log.info("%d workers are up; /health and /metrics on ports %d to %d", processes, ports[0], ports[-1])
                await stopping
        finally:
            starting.cancel()
            stopping.cancel()
            await asyncio.gather(starting, stopping, return_exceptions=True)
            await supervisor.stop()


def _ports(settings: Settings, processes: int) -> list[int]:
    if settings.worker_port == 0:
        ports: list[int] = []
        while len(ports) < processes:
            port = free_port(0, settings.host)
            if port not in ports:
                ports.append(port)
        return ports
    if settings.worker_port + processes - 1 > 65535:
        raise Refused(
            f"cannot start {processes} workers: there are not as many ports from AEGIS_WORKER_PORT on",
            code="bad_setting",
        )
    return [settings.worker_port + number for number in range(processes)]


def _spec(settings: Settings, number: int, port: int, duties: Sequence[str]) -> ProcessSpec:
    arguments = ["worker", "--processes", "1", "--port", str(port), "--host", settings.host]
    arguments += ["--data-dir", str(settings.data_dir.absolute())]
    for duty in duties:
        arguments += ["--duty", duty]
    return ProcessSpec(
        name=f"worker-{number}",
        argv=(sys.executable, "-m", "aegis.cli", *arguments),
        env=environment(),
        ready=_answers(f"http://{reachable(settings.host)}:{port}/health"),
        stop_timeout_s=30.0,
        ready_timeout_s=_START_S,
        port=port,
    )


def _answers(url: str) -> Callable[[], Any]:
    async def probe() -> bool:
        async with httpx.AsyncClient(timeout=3) as client:
            answer = await client.get(url)
            return answer.status_code == 200 and answer.json()["process"] == "worker"

    return probe


def _log_event(event: Event) -> None:
    level = logging.WARNING if event.what in ("ended", "failed") else logging.INFO
    log.log(level, "%s", event.text)
