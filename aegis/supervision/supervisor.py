"""All processes of one data folder: specs in, processes running in order; their states out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

from aegis.supervision.logs import bound_log
from aegis.supervision.process import Process
from aegis.supervision.spec import OnEvent, ProcessSpec, Timing
from aegis.supervision.status import STATUS_FILE, ProcessStatus, remove_status, write_status

log = logging.getLogger(__name__)


class Supervisor:
    """Starts, watches and stops processes. Hold `lock_data_dir` around it, and run it in the main thread.

    The main thread because on Linux children are killed when the thread that forked them ends.
    """

    def __init__(self, data_dir: Path, on_event: OnEvent, timing: Timing | None = None) -> None:
        self._data_dir = data_dir.absolute()
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._on_event = on_event
        self._timing = timing or Timing()
        self._processes: dict[str, Process] = {}
        self._log_keeper: asyncio.Task[None] | None = None

    async def start(self, specs: Iterable[ProcessSpec]) -> None:
        """Start these and wait until all are ready; each as soon as those it names in `after` are.

        May be called again for more. Raises `Refused` with the end of the log of the first that fails; the others are left as
        they are, for `stop`.
        """
        new = list(specs)
        _check(new, set(self._processes))
        for spec in new:
            self._processes[spec.name] = Process(spec, self._data_dir, self._timing, self._on_event, self._write_status)
        if self._log_keeper is None:
            self._log_keeper = asyncio.create_task(self._bound_logs(), name="bound-logs")
        self._write_status()
        starts = [asyncio.create_task(self._start_one(self._processes[spec.name])) for spec in new]
        try:
            await asyncio.gather(*starts)
        finally:
            for start in starts:
                start.cancel()
            await asyncio.gather(*starts, return_exceptions=True)

    async def stop(self) -> None:
        """Stop everything: each process when those that were started after it have ended."""
        stops: dict[str, asyncio.Task[None]] = {}

        async def stop_one(process: Process) -> None:
            name = process.spec.name
            await asyncio.gather(
                *(stops[other.spec.name] for other in self._processes.values() if name in other.spec.after)
            )
            await process.stop()

        for process in reversed(self._processes.values()):
            stops[process.spec.name] = asyncio.create_task(stop_one(process))
        await asyncio.gather(*stops.values())
        if self._log_keeper is not None:
            self._log_keeper.cancel()
            await asyncio.gather(self._log_keeper, return_exceptions=True)
        remove_status(self._data_dir)

    def statuses(self) -> list[ProcessStatus]:
        """The state of each process, in the order in which they were named."""
        return [process.status() for process in self._processes.values()]

    def pids(self) -> dict[str, int]:
        """Name -> pid of those that run now."""
        return {name: process.pid for name, process in self._processes.items() if process.pid is not None}

    async def _start_one(self, process: Process) -> None:
        for name in process.spec.after:
            await self._processes[name].until_ready()
        process.start()
        await process.until_ready()

    def _write_status(self) -> None:
        try:
            write_status(self._data_dir, self.statuses())
        except OSError as exc:
            # A full disk must not end the supervision: what is shown is old until there is room again.
            log.warning("cannot write %s: %s", self._data_dir / STATUS_FILE, exc)

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.sleep(self._timing.log_check_interval_s)
            for process in self._processes.values():
                try:
                    bound_log(process.log_path)
                except OSError as exc:
                    log.warning("cannot bound %s: %s", process.log_path, exc)


def _check(new: list[ProcessSpec], known: set[str]) -> None:
    """Refuse what could only be a mistake in the program: a name twice, or one that is waited for and never comes."""
    names = known.copy()
    for spec in new:
        if spec.name in names:
            raise ValueError(f"cannot start {spec.name}: there is one already")
        missing = [name for name in spec.after if name not in names]
        if missing:
            raise ValueError(f"cannot start {spec.name}: it comes after {missing[0]}, which must be named before it")
        names.add(spec.name)
