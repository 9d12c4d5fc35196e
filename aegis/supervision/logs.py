"""A process's output in, at most two files of bounded size out: NAME.log and, before it, NAME.log.1.

The child writes to the file itself, so what it says last is there even when the supervisor was killed. A full file is copied
aside and cut to nothing in place, because the child holds it open; a line written in between may be lost.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

LOG_BYTES_MAX = 8 << 20
_TAIL_BYTES = 4096


def open_log(path: Path) -> int:
    """A descriptor that appends to the log; a full one is put aside first. The caller closes it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    bound_log(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def bound_log(path: Path, bytes_max: int = LOG_BYTES_MAX) -> None:
    """Put the log aside when it has grown past `bytes_max`."""
    try:
        if path.stat().st_size <= bytes_max:
            return
        shutil.copyfile(path, path.with_name(path.name + ".1"))
        os.truncate(path, 0)
    except FileNotFoundError:
        return


def tail(path: Path, since: int = 0, lines: int = 15) -> str:
    """The last lines of what was written after offset `since`; empty when there is nothing."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(since if since <= size else 0, size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
