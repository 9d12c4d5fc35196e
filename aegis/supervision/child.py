"""A ProcessSpec in, one run of it as an operating-system process out."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from aegis.supervision.spec import ProcessSpec

_LAUNCH = Path(__file__).with_name("launch.py")


class Child:
    """A running process. It writes to `log`, leads a session of its own, and dies with this process (on Linux)."""

    def __init__(self, spec: ProcessSpec, log: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.started = time.monotonic()
        self.started_at = time.time()
        account = spec.account
        ids = (str(account.uid), str(account.gid)) if account else ("-", "-")
        self._popen = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_LAUNCH), str(os.getpid()), *ids, *spec.argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=spec.cwd,
            env=dict(spec.env),
            pass_fds=spec.inherited,
            # Ctrl-C in a terminal goes to the supervisor alone, which stops its children in order.
            start_new_session=True,
        )
        self._ended: asyncio.Future[int] = self._loop.create_future()
        threading.Thread(target=self._wait, name=f"wait-{spec.name}", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative numbers are signals."""
        return self._ended.result() if self._ended.done() else None

    async def ended(self) -> int:
        """Wait for its end; the exit code, or the negated number of the signal."""
        return await asyncio.shield(self._ended)

    async def stop(self, stop_signal: signal.Signals, timeout_s: float) -> int:
        """Ask it to end, kill it when it has not after `timeout_s`; its exit code."""
        self._signal(stop_signal)
        try:
            async with asyncio.timeout(timeout_s):
                return await self.ended()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> int:
        """End it, and whatever it started in its session's first group, at once."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._signal(signal.SIGKILL)
        return await self.ended()

    def _signal(self, number: signal.Signals) -> None:
        # The process stays a zombie until _wait has reaped it, and Popen knows of that, so the pid cannot be somebody else's.
        self._popen.send_signal(number)

    def _wait(self) -> None:
        code = self._popen.wait()
        with suppress(RuntimeError):  # The event loop may be closed already.
            self._loop.call_soon_threadsafe(self._ended.set_result, code)


def describe_exit(code: int) -> str:
    """`code 3` or `signal SIGKILL`."""
    if code >= 0:
        return f"code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
