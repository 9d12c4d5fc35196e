"""What acceptance, chaos and tests of questions share stands in tests/shared: plugins, so that no test file imports another."""

from __future__ import annotations

from pathlib import Path

import pytest

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

_STARTING_INSTANCES = ("acceptance", "chaos")


@pytest.hookimpl(tryfirst=True)  # Before pytest-xdist reads the groups.
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Which process runs a test, where several do: a file in one of them, and all that start `aegis up` in the same one, as two
    that start at once would find the same usual ports free."""
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        group = "instances" if folder in _STARTING_INSTANCES else item.path.name
        item.add_marker(pytest.mark.xdist_group(group))
