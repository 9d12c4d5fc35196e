"""The real TimescaleDB, compiled to WebAssembly, on a port of 127.0.0.1 (tests/timescale/server.mjs); its data is in memory.

Without Node or its packages the tests that need it are skipped, and under CI they fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from storage.timescale import TimescaleAddress

_FOLDER = Path(__file__).resolve().parents[1] / "timescale"


class TimescaleServer:
    """One database for all its connections. Make it where a test may be skipped: it asks for Node first."""

    def __init__(self, log: Path) -> None:
        node = shutil.which("node")
        missing = "Node 20 is not installed" if node is None else "run `make test` or `npm ci` in tests/timescale"
        if node is None or not (_FOLDER / "node_modules").exists():
            self._give_up(f"the real TimescaleDB cannot run here: {missing}")
        assert node is not None
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [node, str(_FOLDER / "server.mjs"), "0"], stdout=subprocess.PIPE, stderr=errors, cwd=_FOLDER
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode()
        if not line.startswith("listening "):
            self.stop()
            raise RuntimeError(f"the TimescaleDB for tests did not start:\n{log.read_text()[-3000:]}")
        self.address = TimescaleAddress("127.0.0.1", int(line.split()[1]), database="postgres", user="postgres")

    @staticmethod
    def _give_up(why: str) -> None:
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        if self._process.stdout is not None:
            self._process.stdout.close()
