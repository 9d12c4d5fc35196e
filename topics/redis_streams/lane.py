"""What one owned partition has read, acknowledged and produced; asked, it gives the share that may be committed now.

Pure bookkeeping, no I/O. A lane is one partition number of a group with its epoch; a track is one topic in it. Offsets
are committed in the order in which they were delivered, however they are acknowledged, and no offset is ever assumed to
follow another: gaps are harmless.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from topics.redis_streams.entries import Field, entry_bytes


class Waiting(Protocol):
    """Whoever waits to hear where a product went."""

    def done(self) -> bool:
        """Whether it has been told already."""
        ...

    def place(self, topic: str, partition: int, offset: int) -> None:
        """Tell it; the offset is -1 when it is not known."""
        ...


@dataclass(slots=True)
class Output:
    """One message that an agent produced while handling an event; a row of a changelog if `row_key` is set."""

    seq: int
    topic: str
    partition: int
    fields: list[Field]
    future: Waiting | None
    row_key: bytes | None = None
    tombstone: bool = False
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = entry_bytes(self.fields)


@dataclass(slots=True)
class Changelog:
    """Where the rows of a table partition are in its stream; only the owner of the lane writes there.

    `last` is the offset of the last row. A tombstone stays until another row follows, so that the last entry exists.
    """

    last: int = 0
    rows: dict[bytes, int] = field(default_factory=dict)
    tombstone: int | None = None


@dataclass(slots=True)
class PlacedRow:
    """A changelog row with the offset it will get, and the offsets of the rows it makes superfluous."""

    output: Output
    offset: int
    supersedes: list[int]


@dataclass(slots=True)
class Target:
    """How far one topic is to be committed: from `base` to `target`, which is `count` delivered messages."""

    base: int
    target: int
    count: int


@dataclass(slots=True)
class Share:
    """One lane's part of a transaction. It is a copy: what the lane takes in meanwhile belongs to the next share."""

    lane: Lane
    targets: dict[str, Target]
    messages: list[Output]
    rows: list[PlacedRow]
    superseded: list[Output]
    size: int


class Track:
    """One topic of a lane: what was delivered and not yet committed, in order.

    `acked` is shared with Faust, which adds the offsets of acknowledged messages to it. `pending_bytes` counts messages
    and what they have produced.
    """

    __slots__ = ("acked", "committed", "delivered", "highest", "outputs", "pending_bytes", "position", "read_through")

    def __init__(self, committed: int) -> None:
        self.committed = committed
        self.position = committed
        # Read up to here whatever the bounds say: a sink must see the whole range that its predecessor announced.
        self.read_through = 0
        self.highest = committed - 1
        self.delivered: deque[tuple[int, int]] = deque()
        self.acked: set[int] = set()
        self.outputs: dict[int, list[Output]] = {}
        self.pending_bytes = 0

    def deliver(self, offset: int, size: int) -> None:
        """Note that a message of `size` bytes was handed to the agents."""
        self.delivered.append((offset, size))
        self.pending_bytes += size

    def hold(self, offset: int, output: Output) -> None:
        """Keep a product until the message it comes from is committed."""
        self.outputs.setdefault(offset, []).append(output)
        self.pending_bytes += output.size

    def measure(self, bytes_max: int) -> tuple[Target | None, int]:
        """Return how far this topic can be committed with at most `bytes_max` of products (one message always fits)."""
        count = size = 0
        target = self.committed
        for offset, _ in self.delivered:
            if offset not in self.acked:
                break
            more = sum(output.size for output in self.outputs.get(offset, ()))
            if count and size + more > bytes_max:
                break
            count, size, target = count + 1, size + more, offset + 1
        return (Target(self.committed, target, count) if count else None), size

    def settle(self, target: Target) -> None:
        """Forget what has been committed."""
        for _ in range(target.count):
            offset, size = self.delivered.popleft()
            self.pending_bytes -= size
            self.acked.discard(offset)
            for output in self.outputs.pop(offset, ()):
                self.pending_bytes -= output.size
        self.committed = target.target


class Lane:
    """One partition number that this worker owns, under one epoch and one run of Redis."""

    def __init__(self, partition: int, epoch: bytes, run_id: str) -> None:
        self.partition = partition
        self.epoch = epoch
        self.run_id = run_id
        self.tracks: dict[str, Track] = {}
        self.changelogs: dict[str, Changelog] = {}
        self._seq = 0

    @property
    def clean(self) -> bool:
        """Whether everything delivered has been committed, so that tables hold nothing that a crash would undo."""
        return not any(track.delivered for track in self.tracks.values())

    @property
    def ready(self) -> bool:
        """Whether there is something to commit."""
        return any(track.delivered and track.delivered[0][0] in track.acked for track in self.tracks.values())

    def attach(
        self,
        topic: str,
        offset: int,
        *,
        to: tuple[str, int],
        fields: list[Field],
        future: Waiting | None,
        row_key: bytes | None = None,
        tombstone: bool = False,
    ) -> None:
        """Hold a product of the message at (topic, offset) until that offset is committed."""
        self._seq += 1
        output = Output(self._seq, *to, fields, future, row_key, tombstone)
        self.tracks[topic].hold(offset, output)

    def share(self, bytes_max: int) -> Share | None:
        """Return what can be committed now, or None when there is nothing."""
        targets: dict[str, Target] = {}
        outputs: list[Output] = []
        total = 0
        for topic, track in self.tracks.items():
            if targets and total >= bytes_max:
                break
            target, size = track.measure(bytes_max - total)
            if target is None:
                continue
            targets[topic] = target
            total += size
            for at in range(target.count):
                outputs += track.outputs.get(track.delivered[at][0], ())
        if not targets:
            return None
        outputs.sort(key=lambda output: output.seq)
        rows, superseded = self._place_rows([o for o in outputs if o.row_key is not None])
        return Share(self, targets, [o for o in outputs if o.row_key is None], rows, superseded, total)

    def _place_rows(self, outputs: list[Output]) -> tuple[list[PlacedRow], list[Output]]:
        """Give the last row of every key its offset. Earlier rows of the same key need not be written at all."""
        last: dict[tuple[str, bytes], Output] = {}
        for output in outputs:
            last[output.topic, output.row_key or b""] = output
        placed: list[PlacedRow] = []
        heads: dict[str, tuple[int, int | None]] = {}
        for (topic, key), output in last.items():
            log = self.changelogs.setdefault(topic, Changelog())
            head, tombstone = heads.get(topic, (log.last, log.tombstone))
            supersedes = [offset for offset in (log.rows.get(key), tombstone) if offset is not None]
            heads[topic] = (head + 1, head + 1 if output.tombstone else None)
            placed.append(PlacedRow(output, head + 1, supersedes))
        kept = {id(row.output) for row in placed}
        return placed, [output for output in outputs if id(output) not in kept]

    def settle(self, share: Share) -> None:
        """Take over that the share has been committed."""
        for topic, target in share.targets.items():
            self.tracks[topic].settle(target)
        for row in share.rows:
            log = self.changelogs[row.output.topic]
            key = row.output.row_key or b""
            log.last = row.offset
            log.tombstone = row.offset if row.output.tombstone else None
            if row.output.tombstone:
                log.rows.pop(key, None)
            else:
                log.rows[key] = row.offset
