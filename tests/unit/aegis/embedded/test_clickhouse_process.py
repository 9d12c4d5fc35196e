"""Options of the ClickHouse process, and folders that it refuses before the engine would fail without saying why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aegis.embedded.clickhouse.__main__ import default_memory_bytes
from aegis.embedded.clickhouse.engine import Engine
from topics.errors import Refused


def test_memory_is_a_share_of_the_machines_or_of_the_containers(tmp_path: Path) -> None:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = tmp_path / "memory.max"
    assert default_memory_bytes(limit) == max(1 << 30, machine * 2 // 5)
    limit.write_text("max\n")
    assert default_memory_bytes(limit) == max(1 << 30, machine * 2 // 5)
    limit.write_text(f"{5 << 30}\n")
    assert default_memory_bytes(limit) == max(1 << 30, min(machine, 5 << 30) * 2 // 5)
    limit.write_text(f"{1 << 20}\n")
    assert default_memory_bytes(limit) == 1 << 30


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for path, why in ((tmp_path / "a?b", "options"), (file, "File exists"), (file / "below", "Not a directory")):
        with pytest.raises(Refused, match=why):
            Engine(path, memory_bytes_max=1 << 30)
