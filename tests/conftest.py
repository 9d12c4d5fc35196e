"""What acceptance, chaos and tests of questions share stands in tests/shared: plugins, so that no test file imports another."""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = (
    "running_instance",
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

_STARTING_INSTANCES = ("tests/acceptance/", "tests/chaos/")


class _Together(LoadScopeScheduling):
    """Which tests one process runs, where several do: those of a file, and all that start `aegis up`, as two that start at once
    would find the same usual ports free."""

    def _split_scope(self, nodeid: str) -> str:
        return "instances" if nodeid.startswith(_STARTING_INSTANCES) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _Together(config, log)
