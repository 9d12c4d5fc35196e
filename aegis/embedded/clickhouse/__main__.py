"""`python -m aegis.embedded.clickhouse --path DIR --port P`: opens the data path and serves it until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
import uvloop

from aegis.embedded.clickhouse.admission import Limits
from aegis.embedded.clickhouse.app import ClickHouseApp
from aegis.embedded.clickhouse.engine import Engine
from topics.errors import Refused

log = logging.getLogger("aegis.clickhouse")


class _Server(uvicorn.Server):
    """uvicorn without its signal handling, which ends the process with the signal instead of an exit code of 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ask_to_stop)
        yield

    def _ask_to_stop(self) -> None:
        self.should_exit = True


def main(arguments: list[str] | None = None) -> int:
    """Run the process; the return value is its exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    _raise_file_limit()
    try:
        password = options.password_file.read_text().strip() if options.password_file else ""
        engine = Engine(options.path, memory_bytes_max=options.memory_bytes or default_memory_bytes())
    except (Refused, OSError) as exc:
        log.error("%s", exc)
        return 1
    limits = Limits(options.reads, options.inserts, options.waiting, options.body_bytes)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(engine, limits, password, options))


async def _serve(engine: Engine, limits: Limits, password: str, options: argparse.Namespace) -> int:
    app = ClickHouseApp(engine, limits, password)
    config = uvicorn.Config(
        app,
        host=options.host,
        port=options.port,
        http="httptools",
        lifespan="off",
        ws="none",
        interface="asgi3",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=options.stop_timeout,
    )
    log.info("serving %s (engine %s) on http://%s:%d", options.path, engine.version, options.host, options.port)
    try:
        await _Server(config).serve()
    finally:
        idle = await app.stop(timeout_s=5.0)
        if idle:
            engine.close()
            log.info("stopped")
        else:
            # A query that cannot be killed would keep the interpreter from ending; the data are as safe as after a crash.
            log.warning("stopped with a query still running")
            logging.shutdown()
            os._exit(0)
    return 0


def default_memory_bytes(limit_file: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """40 % of what this machine, or this container, has; 1 GiB at least. Redis, PostgreSQL and Aegis live beside the engine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = limit_file.read_text().strip()
    except OSError:
        limit = ""
    if limit.isdigit():
        memory = min(memory, int(limit))
    return max(1 << 30, memory * 2 // 5)


def _raise_file_limit() -> None:
    """As many open files as this machine allows: a table with many parts holds many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _parser() -> argparse.ArgumentParser:
    limits = Limits()
    parser = argparse.ArgumentParser(prog="python -m aegis.embedded.clickhouse", description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="data folder; one process at a time")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument(
        "--password-file", type=Path, help="file with the password that clients must send; none is asked without it"
    )
    parser.add_argument(
        "--memory-bytes", type=int, default=0, help="bound of the engine's memory; 40%% of the machine's by default"
    )
    parser.add_argument("--reads", type=int, default=limits.reads_max, help="reads that run at once")
    parser.add_argument("--inserts", type=int, default=limits.inserts_max, help="inserts that run at once")
    parser.add_argument(
        "--waiting", type=int, default=limits.waiting_max, help="queries that may wait, of each of the two kinds"
    )
    parser.add_argument("--body-bytes", type=int, default=limits.body_bytes_max, help="largest request body")
    parser.add_argument(
        "--stop-timeout", type=int, default=10, help="seconds that running queries get to finish after SIGTERM"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
