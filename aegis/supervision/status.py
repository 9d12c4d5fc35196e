"""The state of all processes in, `<data_dir>/status.json` out, and back again for `aegis status` in another process."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from aegis.supervision.identity import identity

STATUS_FILE = "status.json"
POOL_FOLDERS = {"gateway": "gateways-", "worker": "workers-"}
"""What a pool runs -> how its folder begins, within the data folder; each has a supervisor and a status of its own."""

State = Literal["waiting", "starting", "ready", "backoff", "stopped"]


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process. `pid`, `started_at` (unix seconds) and `uptime_s` are None when it does not run; `last_exit` is the exit
    code of the run before (negative: a signal), None when there was none; `port` is where it serves, None if not known."""

    name: str
    state: State
    pid: int | None
    uptime_s: float | None
    started_at: float | None
    restarts: int
    last_exit: int | None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """All processes of a data folder, and the pid of their supervisor."""

    supervisor_pid: int
    processes: list[ProcessStatus]


def write_status(data_dir: Path, processes: list[ProcessStatus]) -> None:
    """Replace the file at one stroke, so that a reader sees the old state or the new one."""
    me = os.getpid()
    document = {"pid": me, "identity": identity(me), "processes": [asdict(process) for process in processes]}
    partial = data_dir / f"{STATUS_FILE}.partial"
    partial.write_text(json.dumps(document))
    partial.replace(data_dir / STATUS_FILE)


def remove_status(data_dir: Path) -> None:
    """Say that nothing runs any more."""
    (data_dir / STATUS_FILE).unlink(missing_ok=True)


def read_status(data_dir: Path) -> Status | None:
    """What runs now; None when no supervisor lives for this folder, whatever the file of a killed one says."""
    try:
        document = json.loads((data_dir / STATUS_FILE).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    pid = int(document["pid"])
    if not _is_alive(pid, document["identity"]):
        return None
    return Status(pid, [_process(entry) for entry in document["processes"]])


def read_pool_statuses(data_dir: Path) -> list[Status]:
    """What runs now in the pools of this data folder: gateways, then workers, each in the order of their ports."""
    found: list[Status] = []
    for prefix in POOL_FOLDERS.values():
        folders = sorted(data_dir.glob(f"{prefix}*"), key=lambda folder: (len(folder.name), folder.name))
        found += [status for folder in folders if (status := read_status(folder)) is not None]
    return found


def _process(entry: dict[str, Any]) -> ProcessStatus:
    # Uptime goes on after the file was written.
    started_at = entry["started_at"]
    entry["uptime_s"] = None if started_at is None else max(0.0, round(time.time() - started_at, 3))
    return ProcessStatus(**entry)


def _is_alive(pid: int, recorded: str | None) -> bool:
    if recorded is not None:
        return identity(pid) == recorded
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
