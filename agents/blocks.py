"""Messages of one partition -> blocks for the store: when to cut, and the order of steps that stores each row once.

    write the intent (range, token)  ->  insert the block under the token  ->  acknowledge its messages  ->  commit

A crash after the intent repeats the insert with the same range and token, and the store drops the repeat (design.md section 3).
The next intent replaces the one before, so it is written only when the commit has closed that: were both blocks uncommitted,
a successor would know the boundaries of the second one alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from prometheus_client import Counter

from agents.delivery import Delivery
from topics.errors import Refused
from topics.ledger import Ledger, OpenIntent, PartitionLost

log = logging.getLogger(__name__)

BLOCKS = Counter("aegis_store_blocks_total", "Blocks written", ["topic"])
ROWS = Counter("aegis_store_rows_total", "Rows written", ["topic"])


@dataclass(frozen=True, slots=True)
class BlockBounds:
    """A block is cut when it reaches one of the bounds, or when its oldest message has waited `age_s` seconds.

    Bytes are those of the columns as they are in memory: what is sent may be a thousandth of it, and the store has to hold them.
    """

    rows_max: int = 50_000
    bytes_max: int = 64 << 20
    messages_max: int = 2_000
    age_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Part:
    """One message of a block. `event` is Faust's, to acknowledge; it holds `rows` rows of `size` bytes in all."""

    event: Any
    offset: int
    value: bytes
    rows: int
    size: int
    arrived_s: float


@dataclass(frozen=True, slots=True)
class Block:
    """Messages that are stored together, at least one, under the token that their intent was announced with."""

    parts: list[Part]
    token: str

    @property
    def first(self) -> int:
        """The lowest offset."""
        return self.parts[0].offset

    @property
    def last(self) -> int:
        """The highest offset."""
        return self.parts[-1].offset

    @property
    def rows(self) -> int:
        """Rows of all messages."""
        return sum(part.rows for part in self.parts)


class BlockBuffer:
    """The messages of one partition that wait for their block. Pure: the clock is passed in."""

    def __init__(self, bounds: BlockBounds) -> None:
        self._bounds = bounds
        self._parts: deque[Part] = deque()
        self._rows = 0
        self._bytes = 0

    def add(self, part: Part) -> None:
        """Take one message in; offsets ascend."""
        self._parts.append(part)
        self._rows += part.rows
        self._bytes += part.size

    def due_in_s(self, now_s: float) -> float | None:
        """Seconds until a block is due: 0 when it is, None while there is nothing to wait for."""
        if not self._parts:
            return None
        bounds = self._bounds
        if self._rows >= bounds.rows_max or self._bytes >= bounds.bytes_max or len(self._parts) >= bounds.messages_max:
            return 0.0
        return max(0.0, self._parts[0].arrived_s + self._bounds.age_s - now_s)

    def cut(self) -> list[Part]:
        """Take out the next block: as many messages as fit the bounds, at least one."""
        bounds = self._bounds
        block: list[Part] = []
        rows = size = 0
        while self._parts and len(block) < bounds.messages_max:
            part = self._parts[0]
            if block and (rows + part.rows > bounds.rows_max or size + part.size > bounds.bytes_max):
                break
            rows, size = rows + part.rows, size + part.size
            block.append(self._take())
        return block

    def cut_through(self, last: int) -> list[Part] | None:
        """Take out everything up to offset `last`, or None while that offset has not arrived."""
        if not self._parts or self._parts[-1].offset < last:
            return None
        block: list[Part] = []
        while self._parts and self._parts[0].offset <= last:
            block.append(self._take())
        return block

    def _take(self) -> Part:
        part = self._parts.popleft()
        self._rows -= part.rows
        self._bytes -= part.size
        return part


class BlockWriter:
    """Writes the blocks of one partition, one at a time, for as long as the partition is ours.

    `insert` stores a block. It must store nothing when the block's token has been stored, raise `Unavailable` when it may be
    repeated, and `Refused`, with nothing stored, when it can never succeed.
    """

    def __init__(
        self,
        *,
        topic: str,
        bounds: BlockBounds,
        ledger: Ledger,
        insert: Callable[[Block], Awaitable[None]],
        delivery: Delivery,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topic = topic
        self._buffer = BlockBuffer(bounds)
        self._ledger = ledger
        self._insert = insert
        self._delivery = delivery
        self._now = now
        self._arrived = asyncio.Event()
        self._rows = ROWS.labels(topic)
        self._blocks = BLOCKS.labels(topic)
        self._task = asyncio.create_task(self._run(), name=f"write blocks of {topic}")

    def add(self, event: Any, *, offset: int, value: bytes, rows: int, size: int) -> None:
        """Take one message in; it is acknowledged when its block is stored."""
        self._buffer.add(Part(event, offset, value, rows, size, self._now()))
        self._arrived.set()

    async def stop(self) -> None:
        """Drop what waits, unacknowledged: the partition's next owner reads it again."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            await self._finish_open_intent()
            while True:
                await self._wait_until_due()
                await self._write(self._buffer.cut(), token=None)
        except PartitionLost as exc:
            log.info("%s drops its block: %s", self._delivery.agent, exc)
        except Exception as exc:
            await self._delivery.give_up(exc)

    async def _finish_open_intent(self) -> None:
        """Repeat what a predecessor had announced, with its boundaries and its token."""
        intent = await self._delivery.until_available(self._ledger.read, what=f"the open intent of {self._topic}")
        if intent is None:
            return
        while (block := self._buffer.cut_through(intent.last)) is None:
            await self._more()
        if block:
            log.info("%s repeats offsets %d to %d of its predecessor", self._delivery.agent, intent.first, intent.last)
            whole = block[0].offset == intent.first
            # A predecessor that had stored and acknowledged a part of the range would have announced a new one, so the
            # range is whole; were it not, the old token would drop rows that were never stored.
            await self._write(block, token=intent.token if whole else None)

    async def _wait_until_due(self) -> None:
        while (due_s := self._buffer.due_in_s(self._now())) != 0.0:
            if due_s is None:
                await self._more()
            else:
                try:
                    async with asyncio.timeout(due_s):
                        await self._more()
                except TimeoutError:
                    continue

    async def _more(self) -> None:
        self._arrived.clear()
        await self._arrived.wait()

    async def _write(self, parts: list[Part], *, token: str | None) -> None:
        """Store one block; one that the store refuses is halved until the message at fault stands alone."""
        first, last = parts[0].offset, parts[-1].offset
        block = Block(parts, token or self._ledger.token(first, last))
        intent = OpenIntent(first, last, block.token)
        what = f"offsets {first} to {last} of {self._topic}"
        await self._delivery.until_available(lambda: self._ledger.write(intent), what=what)
        try:
            await self._delivery.until_available(lambda: self._insert(block), what=what)
        except Refused as exc:
            if len(parts) > 1:
                middle = len(parts) // 2
                await self._write(parts[:middle], token=None)
                await self._write(parts[middle:], token=None)
                return
            self._delivery.bury(parts[0].event, exc)
        else:
            self._rows.inc(block.rows)
            self._blocks.inc()
        for part in parts:
            part.event.ack()
        await self._delivery.until_available(lambda: self._ledger.commit(last), what=f"the commit of {what}")
