"""Who owns which partition: heartbeats in, a view of members and owners out; claims and releases by the server's clock."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from topics.redis_streams.keys import Keys
from topics.redis_streams.scripts import CLAIM, HEARTBEAT, RELEASE
from topics.redis_streams.wire import Command, Wire


@dataclass(frozen=True, slots=True)
class View:
    """What one heartbeat saw: living members, the owner of each partition ('' for none), epochs of our own partitions."""

    members: list[str]
    owners: list[str]
    epochs: dict[int, bytes]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a member should do next: partitions to give up, and how many of the free ones to take."""

    surplus: set[int]
    free: list[int]
    take_at_most: int


def decide_share(view: View, member: str) -> Wanted:
    """Return what `member` should hold, moving as little as possible.

    Every member gets partitions // members, and those that already own most get the remainder, so a join moves at most
    ceil(partitions / members). All members compute the same from the same view; a claim is decided by Redis anyway.
    """
    living = sorted(set(view.members) | {member})
    owned = {name: sum(1 for owner in view.owners if owner == name) for name in living}
    ranked = sorted(living, key=lambda name: (-owned[name], name))
    each, remainder = divmod(len(view.owners), len(living))
    quota = each + (1 if ranked.index(member) < remainder else 0)
    mine = [p for p, owner in enumerate(view.owners) if owner == member]
    free = [p for p, owner in enumerate(view.owners) if owner == ""]
    return Wanted(set(mine[quota:]), free, max(0, quota - len(mine)))


class Leases:
    """One member's dealings with the ownership of a group's partitions. Every call may raise Unavailable."""

    def __init__(self, wire: Wire, keys: Keys, *, group: str, member: str, lease_ms: int) -> None:
        self.member = member
        self._wire = wire
        self._keys = keys
        self._group = group
        self._lease_ms = lease_ms

    @property
    def run_id(self) -> str:
        """The run of Redis that answered last."""
        return self._wire.run_id

    @property
    def connected(self) -> bool:
        """Whether the last call was answered."""
        return self._wire.connected

    async def heartbeat(self, partitions: int) -> View:
        """Renew the membership and every lease held, and return who owns what."""
        every = range(partitions)
        args = (
            *("EVAL", HEARTBEAT, 1 + 2 * partitions, self._keys.members(self._group)),
            *(self._keys.lease(self._group, p) for p in every),
            *(self._keys.epoch(self._group, p) for p in every),
            *(self.member, self._lease_ms),
        )
        ((members, owners, epochs),) = await self._wire.call(args)
        ours = {p: epoch for p, epoch in enumerate(epochs) if epoch}
        return View([m.decode() for m in members], [o.decode() for o in owners], ours)

    async def claim(self, partitions: Collection[int], at_most: int) -> Mapping[int, bytes]:
        """Take up to `at_most` of the partitions that nobody holds; return the epoch of each one taken."""
        if not partitions or at_most <= 0:
            return {}
        args = (
            *("EVAL", CLAIM, 2 * len(partitions)),
            *(self._keys.lease(self._group, p) for p in partitions),
            *(self._keys.epoch(self._group, p) for p in partitions),
            *(self.member, self._lease_ms, at_most),
        )
        (epochs,) = await self._wire.call(args)
        return {p: epoch for p, epoch in zip(partitions, epochs, strict=True) if epoch}

    async def release(self, partitions: Collection[int]) -> None:
        """Give partitions up, so that others need not wait for the lease to end."""
        if partitions:
            leases = (self._keys.lease(self._group, p) for p in partitions)
            await self._wire.call(("EVAL", RELEASE, len(partitions), *leases, self.member))

    async def leave(self) -> None:
        """Stop being a member."""
        await self._wire.call(("ZREM", self._keys.members(self._group), self.member))

    async def ask(self, *commands: Command) -> list[Any]:
        """Ask Redis something else over the same wire; errors are returned in place."""
        return await self._wire.call(*commands, strict=False)

    async def close(self) -> None:
        """Close the wire."""
        await self._wire.close()
