"""What a normalized batch holds for monitors -> messages on `panes`, one for each partition concerned."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import Counter

from agents.followed_monitors import FollowedMonitors
from agents.refused_records import DATA_FAULTS
from topics.panes import Part, Parts, encode
from topics.transitions import key_of

log = logging.getLogger(__name__)

PARTS_MAX = 5_000
"""Parts of one message; more of them go in further ones."""

FAILED = Counter(
    "aegis_monitor_batches_failed_total", "Batches that could not be read for monitors, and were stored all the same"
)


CUT = Counter("aegis_monitor_batches_cut_total", "Batches that held more for monitors than is watched of one")


class KeptColumns:
    """The columns of the last batch that was normalized; a batch that is taken apart is normalized more than once."""

    columns: Any = None

    def __call__(self, columns: Any) -> None:
        self.columns = columns


class WatchParts:
    """The way from normalizing to watching. `partition_of` gives the partition of `panes` for a key."""

    def __init__(self, monitors: FollowedMonitors, partition_of: Callable[[bytes], int]) -> None:
        self._monitors = monitors
        self._partition_of = partition_of
        self._warned: dict[tuple[str, str], float] = {}

    async def watches(self, org_id: str, topic: str) -> bool:
        """Whether any monitor of the organization reads the topic. Raises `Unavailable` while that is not known at all."""
        await self._monitors.require()
        await self._monitors.catch_up(org_id)
        return self._monitors.of(org_id).watches(topic)

    def messages(self, org_id: str, topic: str, batch: Any, received_at_ms: int) -> Iterator[tuple[int, bytes]]:
        """The messages for one batch, as columns: partition and bytes; none where nothing is watched."""
        try:
            found = self._monitors.of(org_id).parts_of(topic, batch, received_at_ms)
        except DATA_FAULTS:
            # Watching must not keep records from being stored.
            log.exception("cannot watch a batch of organization %s on %s", org_id, topic)
            FAILED.inc()
            return
        if found is None:
            return
        if found.cut:
            self._warn(org_id, topic)
            CUT.inc()
        if not found.of_monitors:
            return
        by_partition: dict[int, list[Part]] = {}
        for monitor_id, parts in found.of_monitors.items():
            by_partition.setdefault(self._partition_of(key_of(monitor_id)), []).extend(parts)
        for partition, parts in by_partition.items():
            for i in range(0, len(parts), PARTS_MAX):
                yield partition, encode(Parts(org_id, received_at_ms, parts[i : i + PARTS_MAX]))

    def _warn(self, org_id: str, topic: str) -> None:
        """Say that a batch was cut, once a minute and organization: it may be so of every batch."""
        minute = time.monotonic() // 60
        if self._warned.get((org_id, topic)) != minute:
            self._warned = {key: at for key, at in self._warned.items() if at == minute} | {(org_id, topic): minute}
            log.warning("organization %s has more for its monitors on %s than is watched of one batch", org_id, topic)
