"""What acceptance, chaos and tests of questions share stands in tests/shared: plugins, so that no test file imports another."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = (
    "running_instance",
    "running_gateway",
    "view_checks",
    "numbered_records",
    "asked_queries",
    "asked_metrics",
    "webhook_receiver",
    "control_api",
    "recorded_alerts",
    "watch_simulation",
    "alerting_api",
)

_MEMORY = Path("/dev/shm")
_MEMORY_BYTES_MIN = 8 << 30

# Stores that are made for a test and thrown away live in memory where there is enough: a database is made 20 times as fast, and
# what is killed loses as little as on a disk. TMPDIR chooses another place.
if "TMPDIR" not in os.environ and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _MEMORY_BYTES_MIN:
    os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)


_WHOLE_INSTANCES = ("tests/acceptance/", "tests/chaos/")


class _ByFile(LoadScopeScheduling):
    """Which tests one process runs, where several do: those of a file, also where they stand in classes.

    As long as there are others, one process alone runs those that start whole instances: six processes each, which mostly wait,
    and would wait for one another.
    """

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0]

    def _assign_work_unit(self, node: Any) -> None:
        busy = any(
            scope.startswith(_WHOLE_INSTANCES) and not all(unit.values())
            for other, work in self.assigned_work.items()
            for scope, unit in work.items()
            if other is not node
        )
        chosen = (scope for scope in self.workqueue if scope.startswith(_WHOLE_INSTANCES) != busy)
        if (scope := next(chosen, None)) is not None:
            self.workqueue.move_to_end(scope, last=False)
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _ByFile(config, log)
