"""The ledger of one partition (topics/ledger.py): intents beside the ownership, commits of the consumer that owns it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from topics.errors import Unavailable
from topics.ledger import OpenIntent, PartitionLost
from topics.redis_streams.intents import Intent

if TYPE_CHECKING:
    from topics.redis_streams.consumer import Consumer


class PartitionLedger:
    """The `Ledger` of one topic partition that a consumer owns."""

    def __init__(self, consumer: Consumer, tp: Any) -> None:
        self._consumer = consumer
        self._tp = tp

    async def read(self) -> OpenIntent | None:
        """See `Ledger.read`."""
        intent = await self._consumer.read_intent(self._tp)
        if intent is None:
            return None
        track = self._consumer.track(self._tp)
        if track is not None:
            track.read_through = intent.last_offset
        return OpenIntent(intent.first_offset, intent.last_offset, intent.token)

    async def write(self, intent: OpenIntent) -> None:
        """See `Ledger.write`."""
        await self._consumer.write_intent(self._tp, Intent(intent.first, intent.last, intent.token))

    async def commit(self, last: int) -> None:
        """See `Ledger.commit`."""
        await self._consumer.commit_now()
        track = self._consumer.track(self._tp)
        if track is None:
            raise PartitionLost(
                f"cannot commit {self._tp.topic} {self._tp.partition}: the partition is not ours any more"
            )
        if track.committed <= last:
            raise Unavailable("cannot commit yet")

    def token(self, first: int, last: int) -> str:
        """See `Ledger.token`."""
        return f"{self._consumer.transport.incarnation}/{self._tp.topic}/{self._tp.partition}/{first}-{last}"
