"""One ProcessSpec in, a process kept running out: start, wait until ready, restart with backoff when it ends, stop."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from aegis.supervision.child import Child, describe_exit
from aegis.supervision.leftovers import forget_child, record_child, stop_leftover
from aegis.supervision.logs import open_log, tail
from aegis.supervision.spec import Event, Happening, OnEvent, ProcessSpec, Timing
from aegis.supervision.status import ProcessStatus, State
from topics.errors import AegisError, Refused

log = logging.getLogger(__name__)


class Process:
    """Keeps one process running.

    `until_ready` waits for its first start. That one must succeed; later ones are tried again and again.
    """

    def __init__(
        self, spec: ProcessSpec, data_dir: Path, timing: Timing, on_event: OnEvent, on_change: Callable[[], None]
    ) -> None:
        self.spec = spec
        self.log_path = data_dir / "logs" / f"{spec.name}.log"
        self._pid_path = data_dir / "run" / f"{spec.name}.json"
        self._timing = timing
        self._on_event = on_event
        self._on_change = on_change
        self._state: State = "waiting"
        self._child: Child | None = None
        self._log_offset = 0
        self._probe_trouble = ""
        self._refusal: AegisError | None = None
        self._restarts = 0
        self._last_exit: int | None = None
        self._stopping = asyncio.Event()
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id now, None when it does not run."""
        return self._child.pid if self._child is not None else None

    def status(self) -> ProcessStatus:
        """Its state now."""
        child = self._child
        return ProcessStatus(
            name=self.spec.name,
            state=self._state,
            pid=self.pid,
            uptime_s=round(time.monotonic() - child.started, 3) if child else None,
            started_at=child.started_at if child else None,
            restarts=self._restarts,
            last_exit=self._last_exit,
            port=self.spec.port,
        )

    def start(self) -> None:
        """Begin to keep it running."""
        self._task = asyncio.create_task(self._keep_running(), name=f"process-{self.spec.name}")
        self._task.add_done_callback(self._notice_end)

    async def until_ready(self) -> None:
        """Wait for the first start. Raises `Refused` with the end of the process's log when it fails."""
        await asyncio.shield(self._first)

    async def stop(self) -> None:
        """Stop it for good; returns when it has ended."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait({self._task})
        if not self._first.done():
            self._first.cancel()
        elif not self._first.cancelled():
            # Looked at, so that asyncio does not report a failure that nobody waited for.
            self._first.exception()
        self._change("stopped")

    def _notice_end(self, task: asyncio.Task[None]) -> None:
        """A defect in here must not look like a process that takes long to start."""
        defect = None if task.cancelled() else task.exception()
        if defect is not None:
            self._tell("failed", f"{self.spec.name} is no longer supervised: {defect!r}")
            if not self._first.done():
                self._first.set_exception(defect)

    async def _keep_running(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            trouble = await self._run_once()
            if self._stopping.is_set():
                break
            if not self._first.done():
                words = f"cannot start {self.spec.name}: {trouble}{self._last_words()}"
                self._first.set_exception(self._refusal or Refused(words, code="not_ready"))
                break
            failures = 0 if time.monotonic() - began >= self._timing.reset_s else failures + 1
            delay = self._timing.delay_s(max(failures - 1, 0))
            self._change("backoff")
            self._tell("ended", f"{self.spec.name} {trouble}; starting it again in {delay:.1f} s")
            self._restarts += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()
        self._change("stopped")

    async def _run_once(self) -> str:
        """One run from start to end; what to say of its end."""
        self._change("starting")
        try:
            await self._prepare()
            if self._stopping.is_set():
                return "stopped"
            child = self._launch()
        except (OSError, AegisError) as exc:
            self._refusal = exc if isinstance(exc, AegisError) else None
            return f"could not be started: {exc}"
        ended = asyncio.create_task(child.ended())
        try:
            try:
                record_child(self._pid_path, child.pid)
            except OSError as exc:
                # Only a supervisor that is killed now would miss the record; not running at all is worse.
                log.warning("cannot record the pid of %s: %s", self.spec.name, exc)
            self._on_change()
            return await self._watch(child, ended)
        finally:
            if child.exit_code is None:
                await child.kill()
            await asyncio.gather(ended)
            self._child = None
            self._last_exit = child.exit_code
            forget_child(self._pid_path)

    async def _prepare(self) -> None:
        spec = self.spec
        pid = await asyncio.to_thread(stop_leftover, self._pid_path, spec.stop_signal, spec.stop_timeout_s)
        if pid is not None:
            self._tell("leftover", f"stopped {spec.name} (pid {pid}), left over from an earlier run", pid)
        if spec.prepare is not None:
            await asyncio.to_thread(spec.prepare)

    def _launch(self) -> Child:
        log = open_log(self.log_path)
        try:
            self._log_offset = os.fstat(log).st_size
            # In this thread, not in a pool's: the child is told when the thread that forked it ends.
            self._child = Child(self.spec, log)
        finally:
            os.close(log)
        return self._child

    async def _watch(self, child: Child, ended: asyncio.Task[int]) -> str:
        """Wait until the child is ready, then until it ends or is to stop; leaves no child behind."""
        stopping = asyncio.create_task(self._stopping.wait())
        ready = asyncio.create_task(self._until_ready(child))
        try:
            await asyncio.wait({ended, stopping, ready}, return_when=asyncio.FIRST_COMPLETED)
            if ready.done() and not ready.result() and not ended.done() and not stopping.done():
                await child.kill()
                return f"was not ready within {self.spec.ready_timeout_s:g} s and was killed{self._probe_trouble}"
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done() and not ended.done():
                code = await child.stop(self.spec.stop_signal, self.spec.stop_timeout_s)
                self._tell("stopped", f"{self.spec.name} stopped with {describe_exit(code)}", child.pid)
                return "stopped"
            before = "" if self._state == "ready" else ", before it was ready"
            return f"ended with {describe_exit(await ended)} after {time.monotonic() - child.started:.1f} s{before}"
        finally:
            ready.cancel()
            stopping.cancel()
            await asyncio.gather(ready, stopping, return_exceptions=True)

    async def _until_ready(self, child: Child) -> bool:
        """Ask until the answer is yes; False when the time is up. Being ready is announced from here."""
        deadline = child.started + self.spec.ready_timeout_s
        self._probe_trouble = ""
        while (left := deadline - time.monotonic()) > 0:
            # A probe speaks the service's own protocol, and may fail in any way while the service starts.
            try:
                async with asyncio.timeout(left):
                    is_ready = await self.spec.ready()
            except Exception as exc:
                self._probe_trouble = f" (the last answer was {type(exc).__name__}: {exc})"
            else:
                if is_ready and child.exit_code is None:
                    self._announce_ready(child)
                    return True
            await asyncio.sleep(self._timing.probe_interval_s)
        return False

    def _announce_ready(self, child: Child) -> None:
        self._change("ready")
        self._tell("ready", f"{self.spec.name} is ready after {time.monotonic() - child.started:.2f} s", child.pid)
        if not self._first.done():
            self._first.set_result(None)

    def _last_words(self) -> str:
        words = tail(self.log_path, self._log_offset)
        return f"; last lines of {self.log_path}:\n{words}" if words else ""

    def _change(self, state: State) -> None:
        if state != self._state:
            self._state = state
            self._on_change()

    def _tell(self, what: Happening, text: str, pid: int | None = None) -> None:
        self._on_event(Event(self.spec.name, what, text, pid if pid is not None else self.pid))
