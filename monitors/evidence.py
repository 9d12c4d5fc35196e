"""What a transition was decided from -> a JSON object that says why to a person, within a bound."""

from __future__ import annotations

from typing import Any

from monitors.decide import Transition
from monitors.watched import WatchedMonitor
from monitors.windows import Reading, Window


def evidence_of(
    monitor: WatchedMonitor, transition: Transition, window: Window, reading: Reading | None, groups_left_out: int = 0
) -> dict[str, Any]:
    """The evidence of one transition: the window's values by pane, what they came to, the thresholds, and records to look at.

    `window.values` are [unix milliseconds, value of the pane]; `samples` are `trace:<id>`, `log:<id>` or `session:<id>`.
    """
    definition = monitor.definition
    found: dict[str, Any] = {
        "why": transition.why,
        "aggregation": monitor.aggregation,
        "comparison": definition.comparison,
        "critical": definition.critical,
        "monitor_version": monitor.version,
    }
    for name in ("warning", "critical_recovery", "warning_recovery", "change"):
        if (value := getattr(definition, name)) is not None:
            found[name] = value
    if definition.for_s:
        found["for_s"] = definition.for_s
    if reading is not None:
        found["window"] = {
            "start_ms": reading.start_ms,
            "end_ms": reading.end_ms,
            "pane_ms": monitor.pane_ms,
            "count": reading.count,
            "values": window.values(monitor, reading),
        }
        found["last_data_ms"] = reading.last_ms or None
        if samples := window.samples(reading):
            found["samples"] = samples
    if groups_left_out:
        found["groups_left_out"] = groups_left_out
    return found
