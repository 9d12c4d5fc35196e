"""A data folder in, the sole right to run its processes out; and the turn of one that starts among others on the machine."""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
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


@asynccontextmanager
async def turn_to_start(folder: Path | None = None, *, timeout_s: float = 60.0) -> AsyncIterator[None]:
    """Wait until no other instance of this user is starting: two that look for free ports at once find the same ones.

    The file lies in `folder`, by default the system's of temporary files. Where it cannot be had in time, or at all, the start
    goes on, as a port that is taken is found out later and said.
    """
    path = (folder or Path(tempfile.gettempdir())) / f"aegis-{os.getuid()}.starting"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        yield
        return
    try:
        deadline = time.monotonic() + timeout_s
        while not _locked(descriptor) and time.monotonic() < deadline:  # noqa: ASYNC110  Another process lets go of it.
            await asyncio.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
