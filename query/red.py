"""Hourly statistics of spans -> RED by service: rate, errors, and durations as quantiles; in all, and by the hour."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from storage.histograms import quantile
from storage.hourly import SpansHour

REQUEST_KINDS: Final = frozenset({"server", "consumer"})
"""Spans of these kinds are requests that a service was asked for; others are its own work, or what it asks of others."""

_NS_A_MS: Final = 1_000_000


@dataclass(slots=True)
class Red:
    """Requests added up."""

    count: int = 0
    errors: int = 0
    duration_ns_sum: int = 0
    histogram: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, row: SpansHour) -> None:
        """Add one row; histograms are exact in any order."""
        self.count += row.count
        self.errors += row.errors
        self.duration_ns_sum += row.duration_ns_sum
        for bucket, count in row.histogram.items():
            self.histogram[bucket] += count

    def quantile_ms(self, level: float) -> float | None:
        """A duration in ms, within 2.2 %; None when there was no request."""
        ns = quantile(self.histogram, level)
        return None if ns is None else ns / _NS_A_MS

    @property
    def mean_ms(self) -> float:
        """0 when there was no request."""
        return self.duration_ns_sum / self.count / _NS_A_MS if self.count else 0.0


@dataclass(slots=True)
class ServiceRed:
    """One service. `kinds` are those of the spans that were counted: of requests, or of all where it has no requests."""

    service: str
    kinds: list[str]
    total: Red = field(default_factory=Red)
    hours: dict[int, Red] = field(default_factory=lambda: defaultdict(Red))


def red_by_service(rows: Iterable[SpansHour]) -> list[ServiceRed]:
    """Services by name; `hours` by their begin in seconds since 1970, oldest first as `rows` are."""
    by_service: dict[str, list[SpansHour]] = defaultdict(list)
    for row in rows:
        by_service[row.service].append(row)
    return [_of_service(service, by_service[service]) for service in sorted(by_service)]


def _of_service(service: str, rows: list[SpansHour]) -> ServiceRed:
    counted = [row for row in rows if row.kind in REQUEST_KINDS] or rows
    red = ServiceRed(service, sorted({row.kind for row in counted}))
    for row in counted:
        red.total.add(row)
        red.hours[row.hour_s].add(row)
    return red
