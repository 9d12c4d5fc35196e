"""Where each owned topic partition is read: Faust's questions about offsets in, answers from the tracks of the lanes out.

Reading goes on from positions kept here, in this process; what Redis knows are the committed offsets alone (positions.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from faust.transport.consumer import Consumer as FaustConsumer
from faust.types import TP

from topics.redis_streams.lane import Lane, Track


class Positions(FaustConsumer):
    """The part of a consumer that knows offsets and does no I/O at all."""

    app: Any
    _assigned: set[TP]

    @property
    def lanes(self) -> dict[int, Lane]:
        """The partitions owned now, with what they have read and not committed."""
        raise NotImplementedError  # The consumer that this is a part of has them.

    def track(self, tp: TP) -> Track | None:
        """Return the track of a topic partition that is owned now."""
        lane = self.lanes.get(tp.partition)
        return lane.tracks.get(tp.topic) if lane is not None else None

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Start again behind the last commit, wherever agents read."""
        positions = {}
        for tp in self._assigned:
            track = self.track(tp)
            if track is not None and not self._is_changelog_tp(tp):
                positions[tp] = track.position = track.committed
        return positions

    async def perform_seek(self) -> None:
        """Move nothing: an assignment begins behind the last commit, and what it has delivered since must not come twice."""

    async def _seek(self, partition: TP, offset: int) -> None:
        track = self.track(partition)
        if track is not None:
            track.position = max(offset, 1)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Read on from these offsets."""
        for tp, offset in partitions.items():
            await self._seek(tp, offset or 0)
            self._read_offset[tp] = offset if offset and offset > 0 else None

    async def seek_to_beginning(self, *partitions: TP) -> None:
        """Read on from the oldest entry there is."""
        await self.seek_wait(dict.fromkeys(partitions, 1))

    async def position(self, tp: TP) -> int | None:
        """Return the offset that is read next."""
        track = self.track(tp)
        return track.position if track is not None else None

    def highwater(self, tp: TP) -> int:
        """Return the offset behind the last entry seen."""
        track = self.track(tp)
        return track.highest + 1 if track is not None else 0

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Say nothing of changelogs: assignment has loaded them, so Faust's own recovery must find nothing to do."""
        return cast("Mapping[TP, int]", dict.fromkeys(partitions))

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Say nothing of changelogs, as `highwaters`."""
        return cast("Mapping[TP, int]", dict.fromkeys(partitions))
