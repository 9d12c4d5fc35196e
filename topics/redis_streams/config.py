"""How one process uses the transport: plain values in, nothing read from the environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class TransportConfig:
    """Settings of the Redis Streams transport. Every bound is in bytes or messages, every time in seconds.

    `data_dir` is a folder that Faust may create empty sub-folders in.
    """

    url: str
    data_dir: Path
    namespace: str = "aegis"
    partitions: int = 4
    """Of topics that nobody declared with a number of their own."""
    lease_s: float = 4.0
    """A worker that says nothing for so long loses its partitions."""
    stall_max_s: float = 20.0
    """How long a worker whose event loop is busy keeps its partitions all the same; one that hangs longer loses them."""
    commit_interval_s: float = 0.03
    commit_bytes: int = 16 * MIB
    """Most that one transaction carries, except that one message's products always go together."""
    fetch_bytes: int = 16 * MIB
    fetch_messages: int = 256
    buffer_bytes: int = 32 * MIB
    """Read and not yet committed, a topic partition; past it the partition is not read further."""
    buffer_messages: int = 4096
    producer_bytes: int = 64 * MIB
    """Sends outside an event that wait for Redis; past it they wait or are refused as Unavailable."""
    drain_s: float = 3.0
    """How long a stop or a rebalance waits for agents to finish what they have begun."""

    @property
    def heartbeat_s(self) -> float:
        """Seconds between two renewals: several fit into a lease, so that one lost renewal costs nothing."""
        return min(0.5, self.lease_s / 5)

    @property
    def lease_ms(self) -> int:
        """The lease in milliseconds."""
        return int(self.lease_s * 1000)
