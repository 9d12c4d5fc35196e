"""`--processes N` of a gateway or a worker: settings -> N processes, each restarted when it dies, all stopped on SIGTERM.

Each serves /health, /ready and /metrics on a port of its own: the first on its setting's port, the others on those that follow.
What they say goes to `gateways-<port>/logs/` or `workers-<port>/logs/` in the data folder, since several processes on one
standard error cannot be told apart.

Gateways share one listening socket, which the parent binds and keeps. So a taken port is refused once and at once; connections
that wait when a gateway is killed are taken by another, where sockets of their own (SO_REUSEPORT) would lose them with it; and
whoever is idle takes the next one, where the kernel would deal them out by a hash, also to one that is busy.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx

from aegis.embedded.ports import free_port
from aegis.settings import Settings, environment
from aegis.supervision.lock import lock_data_dir
from aegis.supervision.spec import Event, ProcessSpec
from aegis.supervision.status import POOL_FOLDERS
from aegis.supervision.supervisor import Supervisor
from topics.errors import Refused
from web.serving import DRAIN_S, bind, reachable, stop_on_signals

log = logging.getLogger(__name__)

_START_S = 24 * 3600.0
"""A process waits for Redis by itself, as long as it takes; one that cannot start at all ends at once and is seen that way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """What the processes of a pool are.

    `process` is what /health calls one. Its own ports begin at `port` (0: any free ones), which `setting` names. `arguments`
    makes the command line of the process that serves on a port; `inherited` are file descriptors that it is handed.
    """

    process: str
    port: int
    setting: str
    arguments: Callable[[int], Sequence[str]]
    inherited: tuple[int, ...] = ()
    stop_timeout_s: float = 30.0


async def run_worker_pool(settings: Settings, *, processes: int, duties: Sequence[str]) -> None:
    """Keep `processes` workers running until SIGTERM or SIGINT. See `_run` for what it raises."""

    def arguments(port: int) -> list[str]:
        given = ["worker", "--processes", "1", "--port", str(port)]
        for duty in duties:
            given += ["--duty", duty]
        return given

    pool = Pool(process="worker", port=settings.worker_port, setting="AEGIS_WORKER_PORT", arguments=arguments)
    await _run(settings, pool, processes)


async def run_gateway_pool(settings: Settings, *, processes: int, with_query: bool) -> None:
    """Keep `processes` gateways running on one port until SIGTERM or SIGINT. See `_run` for what it raises.

    Also raises `Refused` naming AEGIS_PORT when that port cannot be had.
    """
    with ExitStack() as stack:
        sock = bind(settings.host, settings.port, setting="AEGIS_PORT")
        stack.callback(sock.close)

        def arguments(port: int) -> list[str]:
            given = ["gateway", "--processes", "1", "--listener", str(sock.fileno()), "--own-port", str(port)]
            return [*given, "--with-query"] if with_query else given

        pool = Pool(
            process="gateway",
            port=settings.gateway_own_port,
            setting="AEGIS_GATEWAY_OWN_PORT",
            arguments=arguments,
            inherited=(sock.fileno(),),
            stop_timeout_s=settings.drain_s + DRAIN_S + 10.0,
        )
        log.info("listening on http://%s:%d", *sock.getsockname()[:2])
        # Let go of first: a port that nobody serves any more is to refuse connections, not to keep them waiting.
        await _run(settings, pool, processes, before_stop=sock.close)


async def _run(
    settings: Settings, pool: Pool, processes: int, *, before_stop: Callable[[], None] | None = None
) -> None:
    """Keep them running. Raises `Refused` with the end of its log when one ends before it was ever up."""
    stop = stop_on_signals()
    ports = _ports(settings, pool, processes)
    folder = settings.data_dir.absolute() / f"{POOL_FOLDERS[pool.process]}{ports[0]}"
    folder.mkdir(parents=True, exist_ok=True)
    with lock_data_dir(folder):
        supervisor = Supervisor(folder, _log_event)
        specs = [_spec(settings, pool, number, port) for number, port in enumerate(ports, start=1)]
        starting = asyncio.create_task(supervisor.start(specs))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                text = "%d %ss are up; /health and /metrics on ports %d to %d"
                log.info(text, processes, pool.process, ports[0], ports[-1])
                await stopping
        finally:
            starting.cancel()
            stopping.cancel()
            await asyncio.gather(starting, stopping, return_exceptions=True)
            if before_stop is not None:
                before_stop()
            await supervisor.stop()


def _ports(settings: Settings, pool: Pool, processes: int) -> list[int]:
    if pool.port == 0:
        ports: list[int] = []
        while len(ports) < processes:
            port = free_port(0, settings.host)
            if port not in ports:
                ports.append(port)
        return ports
    if pool.port + processes - 1 > 65535:
        raise Refused(
            f"cannot start {processes} {pool.process}s: there are not as many ports from {pool.setting} on",
            code="bad_setting",
        )
    return [pool.port + number for number in range(processes)]


def _spec(settings: Settings, pool: Pool, number: int, port: int) -> ProcessSpec:
    arguments = [*pool.arguments(port), "--host", settings.host, "--data-dir", str(settings.data_dir.absolute())]
    return ProcessSpec(
        name=f"{pool.process}-{number}",
        argv=(sys.executable, "-m", "aegis.cli", *arguments),
        env=environment(),
        ready=_answers(f"http://{reachable(settings.host)}:{port}/health", pool.process),
        stop_timeout_s=pool.stop_timeout_s,
        ready_timeout_s=_START_S,
        port=port,
        inherited=pool.inherited,
    )


def _answers(url: str, process: str) -> Callable[[], Any]:
    async def probe() -> bool:
        async with httpx.AsyncClient(timeout=3) as client:
            answer = await client.get(url)
            return answer.status_code == 200 and answer.json()["process"] == process

    return probe


def _log_event(event: Event) -> None:
    level = logging.WARNING if event.what in ("ended", "failed") else logging.INFO
    log.log(level, "%s", event.text)
