"""What a worker can say about its transport, for /health and /metrics."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """What has happened since the worker started."""

    commits: int = 0
    messages_committed: int = 0
    fenced: int = 0
    rebalances: int = 0
    last_commit_s: float | None = None
    """Seconds since 1970 of the last commit."""


@dataclass(frozen=True, slots=True)
class Status:
    """A snapshot of one consumer. `lag` counts what a group has not committed; -1 where Redis cannot tell."""

    group: str
    member: str
    connected: bool
    incarnation: str
    partitions: list[int]
    lag: dict[tuple[str, int], int]
    pending_messages: dict[tuple[str, int], int]
    pending_bytes: int
    counts: Counts = field(default_factory=Counts)
