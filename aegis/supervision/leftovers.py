"""Pid files in, no leftover processes out: what a supervisor that was killed left running is stopped before the next start.

On Linux children die with their supervisor, so this is for the rare rest, and for systems that have no such signal but do have
a /proc. A process is only ever signalled when its start time proves that it is the one that was recorded.
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from aegis.supervision.identity import identity


def record_child(path: Path, pid: int) -> None:
    """Write down who a child is, as soon as it runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"pid": pid, "identity": identity(pid)}))
    partial.replace(path)


def forget_child(path: Path) -> None:
    """Remove the record of a child that has ended."""
    path.unlink(missing_ok=True)


def stop_leftover(path: Path, stop_signal: signal.Signals, timeout_s: float) -> int | None:
    """Stop the recorded process if it still runs, with SIGKILL after `timeout_s`; its pid, or None when there was none.

    Blocks. The record is removed in any case.
    """
    pid, recorded = _read(path)
    forget_child(path)
    if pid is None or recorded is None or identity(pid) != recorded:
        return None
    deadline = time.monotonic() + timeout_s
    with suppress(ProcessLookupError):
        os.kill(pid, stop_signal)
    while identity(pid) == recorded:
        if time.monotonic() >= deadline:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    return pid


def _read(path: Path) -> tuple[int | None, str | None]:
    try:
        record = json.loads(path.read_text())
        return int(record["pid"]), record["identity"]
    except (OSError, ValueError, KeyError, TypeError):
        return None, None
