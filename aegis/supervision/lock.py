"""A data folder in, the sole right to run its processes out."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from topics.errors import Refused


@contextmanager
def lock_data_dir(data_dir: Path) -> Iterator[None]:
    """Hold `<data_dir>/lock` until the block ends; the operating system lets go of it when the process dies.

    Raises `Refused`, naming the holder's pid, when another process holds it.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise Refused(
                f"cannot start: another aegis up (pid {holder}) uses {data_dir}; stop it, or choose another folder",
                code="data_dir_in_use",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        # The file stays when the lock goes: whoever removed it could remove the next holder's.
        yield
    finally:
        os.close(descriptor)
