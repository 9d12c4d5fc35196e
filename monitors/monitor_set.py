"""The monitors of one organization -> what a batch of one of its topics adds to their windows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from monitors.allowance import Allowance
from monitors.log_parts import LogMatcher
from monitors.metric_parts import MetricMatcher
from monitors.pane_building import PartsOfBatch, TooManyParts
from monitors.rum_parts import RumMatcher
from monitors.span_parts import SpanMatcher
from monitors.watched import WatchedMonitor
from topics.names import LOGS, METRICS, RUM, TRACES


class Matcher(Protocol):
    """The monitors of one organization on one signal."""

    def add_parts(self, batch: Any, received_at_ms: int, parts: PartsOfBatch) -> None:
        """Add what a batch, as the topic's columns, holds for them."""


class MonitorSet:
    """Matchers by topic, only where there are monitors. `allowance` is how long those of logs may compute."""

    def __init__(self, monitors: Iterable[WatchedMonitor], allowance: Allowance | None = None) -> None:
        self.allowance = allowance or Allowance()
        self.monitors = tuple(monitors)
        self._matchers: dict[str, Matcher] = {}
        by_kind: dict[str, list[WatchedMonitor]] = {}
        for monitor in self.monitors:
            by_kind.setdefault(monitor.definition.kind, []).append(monitor)
        if of_metrics := by_kind.get("metric"):
            self._matchers[METRICS] = MetricMatcher(of_metrics)
        if of_logs := by_kind.get("log"):
            self._matchers[LOGS] = LogMatcher(of_logs, self.allowance)
        if of_spans := by_kind.get("trace"):
            self._matchers[TRACES] = SpanMatcher(of_spans)
        if of_events := by_kind.get("rum"):
            self._matchers[RUM] = RumMatcher(of_events)

    def watches(self, topic: str) -> bool:
        """Whether any monitor reads this topic."""
        return topic in self._matchers

    def parts_of(self, topic: str, batch: Any, received_at_ms: int) -> PartsOfBatch | None:
        """What a batch of columns adds; None where nobody watches."""
        matcher = self._matchers.get(topic)
        if matcher is None:
            return None
        parts = PartsOfBatch()
        try:
            matcher.add_parts(batch, received_at_ms, parts)
        except TooManyParts:
            parts.cut = True
        return parts
