"""A fresh `aegis up` in a folder of its own -> what each of its processes spends, in CPU seconds."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from aegis.settings import load_settings

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class MeasuredInstance:
    """Where it is, and its processes."""

    url: str
    org_id: str
    org_key: str
    secret: str
    token: str
    data_dir: str
    pids: dict[str, int]

    @property
    def worker_url(self) -> str:
        """Where the worker answers /health and /metrics."""
        return f"http://127.0.0.1:{load_settings(Path(self.data_dir)).worker_port}"

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds spent so far by each process and its children, by name."""
        return {name: family_cpu_s(pid) for name, pid in self.pids.items()}


@contextmanager
def measured_instance() -> Iterator[MeasuredInstance]:
    """Start one, and stop it when the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="aegis-bench-"))
    folder.chmod(0o755)
    argv = [sys.executable, "-m", "aegis.cli", "up", "--data-dir", str(folder / "data"), "--port", "0", "--json"]
    env = {**os.environ, "AEGIS_RATE_LIMIT_ORGANIZATION": "10000000", "AEGIS_RATE_LIMIT_ADDRESS": "10000000"}
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"aegis up did not start; run {' '.join(argv)} to see why")
        said = json.loads(line)
        yield MeasuredInstance(**{each.name: said[each.name] for each in fields(MeasuredInstance)})
    finally:
        process.terminate()
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)


def hardware() -> str:
    """One line that says what the figures were measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return f"{os.cpu_count()} cores, {model}, Python {platform.python_version()}"


def family_cpu_s(pid: int) -> float:
    """CPU seconds of a process and its children, those that have ended included."""
    return sum(_cpu_s(each) for each in _family(pid))


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    # Own time, and that of children which have ended already (proc_pid_stat(5), fields 14 to 17).
    return sum(int(field) for field in fields[11:15]) / _TICKS


def _family(pid: int) -> list[int]:
    members = [pid]
    for parent in members:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            members += [int(child) for child in children.read_text().split()]
    return members
