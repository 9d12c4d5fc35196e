"""A pid in, something that no other process will ever have out: its start time in ticks and the machine's boot.

A pid alone is reused, after a reboot soon; proc(5) gives the rest. Where there is no /proc nothing is known, and None says so.
"""

from __future__ import annotations

from pathlib import Path


def identity(pid: int) -> str | None:
    """`boot:starttime` of a live process, or None when it is gone (or a zombie) or cannot be told."""
    try:
        # The name of the program is in brackets and may hold anything; what follows the last bracket is regular.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    state, start_ticks = fields[0], fields[19]
    return None if state in "ZX" else f"{boot}:{start_ticks}"
