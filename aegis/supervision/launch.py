"""Executed first in every child: gives up root, ties the child's life to its parent's, then becomes the program.

Run as a file by `child.py`: launch.py PARENT_PID UID GID PROGRAM ARGUMENTS... ("-" for an id that stays as it is).

It is a program of its own because a `preexec_fn` would run Python between fork and exec of a process with threads, which may
deadlock. It costs about 10 ms. PR_SET_PDEATHSIG comes after setuid, which clears it, and survives the exec; it fires when the
parent's thread that forked ends, so the supervisor must run in a thread that lives as long as its process.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Never returns: the program replaces this process."""
    parent, uid, gid, *program = arguments
    # Before root is given up: the account may not be able to read this interpreter's own library.
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if gid != "-":
        os.setgroups([])
        os.setgid(int(gid))
    if uid != "-":
        os.setuid(int(uid))
    if libc is not None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):
            sys.exit(1)
    try:
        os.execvp(program[0], program)
    except OSError as exc:
        sys.exit(f"cannot execute {program[0]}: {exc.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
