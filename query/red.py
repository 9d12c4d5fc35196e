"""Statistics of spans -> RED: rate, errors, and durations as quantiles; by service or operation, in all and by the step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from storage.histograms import quantile

REQUEST_KINDS: Final = frozenset({"server", "consumer"})
"""Spans of these kinds are requests that a service was asked for; others are its own work, or what it asks of others."""

_SECOND_NS: Final = 10**9
_NS_A_MS: Final = 1_000_000

RED_EXAMPLE: Final[Mapping[str, Any]] = {
    "count": 7200,
    "errors": 36,
    "rate_per_s": 2.0,
    "error_share": 0.005,
    "mean_ms": 18.3,
    "p50_ms": 11.8,
    "p95_ms": 64.2,
    "p99_ms": 141.0,
}


class Counted(Protocol):
    """Spans added up: of an hour, of a step, of calls."""

    @property
    def count(self) -> int: ...

    @property
    def errors(self) -> int: ...

    @property
    def duration_ns_sum(self) -> int: ...

    @property
    def histogram(self) -> Mapping[int, int]: ...


class CountedStep(Counted, Protocol):
    """The same of one step, service, operation and kind."""

    @property
    def begin_s(self) -> int: ...

    @property
    def service(self) -> str: ...

    @property
    def operation(self) -> str: ...

    @property
    def kind(self) -> str: ...


@dataclass(slots=True)
class Red:
    """Requests added up."""

    count: int = 0
    errors: int = 0
    duration_ns_sum: int = 0
    histogram: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, row: Counted) -> None:
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
    steps: dict[int, Red] = field(default_factory=lambda: defaultdict(Red))


@dataclass(slots=True)
class OperationRed:
    """One operation of a service, by the kind of its spans."""

    operation: str
    kind: str
    total: Red = field(default_factory=Red)
    steps: dict[int, Red] = field(default_factory=lambda: defaultdict(Red))


def red_by_service(rows: Iterable[CountedStep]) -> list[ServiceRed]:
    """Services by name; `steps` by their begin in seconds since 1970, oldest first as `rows` are."""
    by_service: dict[str, list[CountedStep]] = defaultdict(list)
    for row in rows:
        by_service[row.service].append(row)
    return [_of_service(service, by_service[service]) for service in sorted(by_service)]


def red_by_operation(rows: Iterable[CountedStep]) -> list[OperationRed]:
    """Operations of one service, those first on which most time was spent; `steps` as above."""
    found: dict[tuple[str, str], OperationRed] = {}
    for row in rows:
        key = row.operation, row.kind
        red = found.get(key) or found.setdefault(key, OperationRed(*key))
        red.total.add(row)
        red.steps[row.begin_s].add(row)
    return sorted(found.values(), key=lambda each: (-each.total.duration_ns_sum, each.operation, each.kind))


def shown_red(red: Red, start_ns: int, end_ns: int, now_ns: int) -> dict[str, Any]:
    """RED as the API shows it. The rate is of the part of the range that has passed."""
    # What is dated after now counts as spread over the whole range, as there is no better time for it.
    passed_ns = min(end_ns, now_ns) - start_ns if now_ns > start_ns else end_ns - start_ns
    return {
        "count": red.count,
        "errors": red.errors,
        "rate_per_s": red.count * _SECOND_NS / passed_ns,
        "error_share": red.errors / red.count if red.count else 0.0,
        "mean_ms": red.mean_ms,
        "p50_ms": red.quantile_ms(0.5),
        "p95_ms": red.quantile_ms(0.95),
        "p99_ms": red.quantile_ms(0.99),
    }


def _of_service(service: str, rows: list[CountedStep]) -> ServiceRed:
    counted = [row for row in rows if row.kind in REQUEST_KINDS] or rows
    red = ServiceRed(service, sorted({row.kind for row in counted}))
    for row in counted:
        red.total.add(row)
        red.steps[row.begin_s].add(row)
    return red
