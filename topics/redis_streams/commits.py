"""The commits of one worker: lanes in, transactions out, one at a time; what is unresolved comes before anything new."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from topics.redis_streams import transaction
from topics.redis_streams.config import TransportConfig
from topics.redis_streams.errors import OutcomeUnknown
from topics.redis_streams.keys import Keys
from topics.redis_streams.lane import Lane, Share
from topics.redis_streams.wire import Wire
from topics.streaming import Counts


class Commits:
    """Commits what the lanes have ready.

    `on_committed` hears topic, partition and next offset of everything committed; `on_lost` hears of lanes that may not
    commit any more, with the reason, and drops them from `lanes`.
    """

    def __init__(
        self,
        wire: Wire,
        keys: Keys,
        group: str,
        config: TransportConfig,
        *,
        on_committed: Callable[[str, int, int], None],
        on_lost: Callable[[Lane, str], None],
    ) -> None:
        self.lanes: dict[int, Lane] = {}
        self.counts = Counts()
        self._wire = wire
        self._keys = keys
        self._group = group
        self._bytes_max = config.commit_bytes
        self._on_committed = on_committed
        self._on_lost = on_lost
        self._lock = asyncio.Lock()
        self._unresolved: list[Share] = []

    @property
    def pending(self) -> bool:
        """Whether there is something to commit or to find out."""
        return bool(self._unresolved) or any(lane.ready for lane in self.lanes.values())

    def begin(self, lanes: dict[int, Lane]) -> None:
        """Go on with these lanes, which were read after everything before them; the ones before are forgotten."""
        self.lanes = lanes
        self._unresolved = []

    async def commit(self) -> bool:
        """Commit whatever is ready; return whether anything was. Raises Unavailable; nothing is forgotten then."""
        if not self.pending:
            return False
        before = self.counts.commits
        async with self._lock:
            # What becomes ready meanwhile waits for the next interval, else every message would be its own transaction.
            while await self._commit_some():
                pass
        return self.counts.commits > before

    async def _commit_some(self) -> bool:
        """Commit one transaction; True when there is more that was ready all along."""
        if self._unresolved:
            shares = [share for share in self._unresolved if self.lanes.get(share.lane.partition) is share.lane]
            result = await transaction.resolve(self._wire, self._keys, self._group, shares)
            self._unresolved = []
            transaction.settle(result.committed)
            more = True
        else:
            shares = self._shares()
            if not shares:
                return False
            more = sum(share.size for share in shares) >= self._bytes_max // 2
            try:
                result = await transaction.commit(self._wire, self._keys, self._group, shares)
            except (OutcomeUnknown, asyncio.CancelledError):
                self._unresolved = shares
                raise
        for lane, reason in result.lost:
            self._on_lost(lane, reason)
        self._count(result.committed)
        return more or bool(result.again)

    def _shares(self) -> list[Share]:
        shares: list[Share] = []
        room = self._bytes_max
        for lane in self.lanes.values():
            share = lane.share(room)
            if share is not None:
                shares.append(share)
                room -= share.size
            if room <= 0:
                break
        return shares

    def _count(self, shares: list[Share]) -> None:
        for share in shares:
            for topic, target in share.targets.items():
                self._on_committed(topic, share.lane.partition, target.target)
                self.counts.messages_committed += target.count
        if shares:
            self.counts.commits += 1
            self.counts.last_commit_s = time.time()

    async def close(self) -> None:
        """Close the wire."""
        await self._wire.close()
