"""Metric points in; stored once with the offset that they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from storage.scope import OrgScope
from topics.errors import AegisError
from topics.metric_columns import MetricBatch


@dataclass(frozen=True, slots=True)
class SourceRange:
    """Which messages a block of points comes from: offsets `first` to `last` of a topic partition, both included."""

    incarnation: str
    topic: str
    partition: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class MetricsStored:
    """What an insert did."""

    points: int
    refused_points: int
    new_series: int


class AlreadyStored(AegisError):
    """The range begins below what is stored already; `next_offset` is the first that is not."""

    def __init__(self, next_offset: int) -> None:
        super().__init__(f"stored already up to offset {next_offset - 1}")
        self.next_offset = next_offset


__all__ = ["AlreadyStored", "MetricBatch", "MetricsStored", "OrgScope", "Sequence", "SourceRange"]
