"""What can never succeed <-> a message on `dead_letters`: key and value unchanged, and why, where and when as headers.

`DeadLetters` is what an operator does with them, on whichever transport.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from topics.errors import Refused
from topics.names import DEAD_LETTERS
from topics.raw import Headers
from topics.stream_store import PeekedMessage, Removed, StreamStore, parse_place

_PREFIX = "dead."
REPLAYS = "replays"
"""Header of a message that was a dead letter before: how often it was put back on its topic."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Why, where and when an agent refused a message. `headers` are the original's; its key and its value, None for a
    tombstone, are those of the letter's own message, so that it can be replayed as it was."""

    topic: str
    partition: int
    offset: int
    agent: str
    code: str
    reason: str
    refused_at_ms: int
    headers: tuple[tuple[str, bytes], ...]

    @property
    def replays(self) -> int:
        """How often the message was put back on its topic before it ended here again."""
        text = dict(self.headers).get(REPLAYS, b"0")
        return int(text) if text.isdigit() else 0

    def message_headers(self) -> Headers:
        """Headers of the dead-letter message: ours, then the original's behind them."""
        own = {
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "agent": self.agent,
            "code": self.code,
            "reason": self.reason,
            "refused_at_ms": self.refused_at_ms,
        }
        return [(_PREFIX + name, str(value).encode()) for name, value in own.items()] + list(self.headers)

    def replay_headers(self) -> Headers:
        """Headers with which the original goes back to its topic: as they were, and the number of this replay."""
        kept = [(name, text) for name, text in self.headers if name != REPLAYS]
        return [*kept, (REPLAYS, b"%d" % (self.replays + 1))]

    @classmethod
    def from_headers(cls, headers: Iterable[tuple[str, bytes]]) -> DeadLetter:
        """The other way round. Raises `Refused` when it is no dead letter."""
        pairs = list(headers)
        try:
            own = {name[len(_PREFIX) :]: text.decode() for name, text in pairs if name.startswith(_PREFIX)}
            return cls(
                topic=own["topic"],
                partition=int(own["partition"]),
                offset=int(own["offset"]),
                agent=own["agent"],
                code=own["code"],
                reason=own["reason"],
                refused_at_ms=int(own["refused_at_ms"]),
                headers=tuple((name, text) for name, text in pairs if not name.startswith(_PREFIX)),
            )
        except (KeyError, ValueError) as exc:
            raise Refused(f"cannot read a dead letter: header {exc}", code="bad_message") from exc


class StoredLetter(NamedTuple):
    """A dead letter where it lies. `id` is `<partition>-<offset>` on the topic of dead letters, and names it for ever.

    `value_bytes` is the size of its value, which may be megabytes and is read by itself; None for a tombstone.
    """

    id: str
    letter: DeadLetter
    key: bytes | None
    value_bytes: int | None


class LetterPage(NamedTuple):
    """Some letters, and the cursor behind the last one looked at, None when there are no more."""

    letters: list[StoredLetter]
    next_cursor: str | None


class Replayed(NamedTuple):
    """Where a replayed message is now, and how often it has been replayed, this time included."""

    id: str
    topic: str
    partition: int
    offset: int
    replays: int


class DeadLetters:
    """The letters of one installation, for an operator and for the bound. Every call may raise `Unavailable`."""

    def __init__(self, store: StreamStore) -> None:
        self._store = store

    async def page(
        self, *, cursor: str | None = None, limit: int = 50, agent: str | None = None, code: str | None = None
    ) -> LetterPage:
        """Up to `limit` letters, in the order of partitions and offsets, of one agent or with one code if asked so."""
        found: list[StoredLetter] = []
        async for stored in self._behind(parse_place(cursor) if cursor else (0, 0)):
            if len(found) == limit:
                return LetterPage(found, found[-1].id if found else cursor)
            letter = stored.letter
            if (agent is None or letter.agent == agent) and (code is None or letter.code == code):
                found.append(stored)
        return LetterPage(found, None)

    async def get(self, letter_id: str) -> StoredLetter:
        """One letter. Raises `Refused` (not_found) when there is none of this id, perhaps because it was replayed."""
        partition, offset = parse_place(letter_id)
        found = []
        if partition < await self._store.partitions(DEAD_LETTERS):
            found = await self._store.peek(DEAD_LETTERS, partition, after=offset - 1, limit=1)
        if not found or found[0].offset != offset:
            raise _gone("find", letter_id)
        return _stored(found[0])

    async def read_value(self, letter_id: str) -> bytes | None:
        """The original's value, None for a tombstone. Raises `Refused` as `get`."""
        return await self._store.read_value(DEAD_LETTERS, *parse_place(letter_id))

    async def replay(self, letter_id: str) -> Replayed:
        """Put the original back on its topic and take the letter away, both or neither (`StreamStore.move`).

        Raises `Refused` (not_found) for a letter that is not there, so that a repetition adds nothing, and `Unavailable` when it
        is not known whether it was done: asking again tells.
        """
        letter = (await self.get(letter_id)).letter
        to = (letter.topic, letter.partition)
        try:
            offset = await self._store.move(
                DEAD_LETTERS, *parse_place(letter_id), to=to, headers=letter.replay_headers()
            )
        except Refused as exc:
            raise Refused(f"cannot replay {letter_id}: {exc.reason}", code=exc.code) from exc
        return Replayed(letter_id, *to, offset, letter.replays + 1)

    async def discard(self, letter_id: str) -> None:
        """Remove a letter for good. Raises `Refused` (not_found) when it is not there."""
        partition, offset = parse_place(letter_id)
        if not await self._store.remove(DEAD_LETTERS, partition, [offset]):
            raise _gone("discard", letter_id)

    async def bound(self, bytes_max: int) -> Removed:
        """Remove the oldest letters until all take `bytes_max` or less. What goes is counted for ever: see `removed`."""
        return await self._store.remove_oldest(DEAD_LETTERS, bytes_max=bytes_max)

    async def removed(self) -> Removed:
        """What `bound` has removed since the installation was made."""
        return await self._store.removed_oldest(DEAD_LETTERS)

    async def _behind(self, place: tuple[int, int]) -> AsyncIterator[StoredLetter]:
        first, offset = place
        for partition in range(first, await self._store.partitions(DEAD_LETTERS)):
            while found := await self._store.peek(DEAD_LETTERS, partition, after=offset):
                for each in found:
                    yield _stored(each)
                offset = found[-1].offset
            offset = 0


def _gone(what: str, letter_id: str) -> Refused:
    return Refused(
        f"cannot {what} dead letter {letter_id}: there is none, or it was replayed already", code="not_found"
    )


def _stored(peeked: PeekedMessage) -> StoredLetter:
    """A message as a letter; one that is none is shown all the same, or it would lie there for ever unseen."""
    try:
        letter = DeadLetter.from_headers(peeked.headers)
    except Refused as exc:
        letter = DeadLetter("", -1, -1, "", "unreadable_letter", exc.reason, peeked.timestamp_ms, peeked.headers)
    return StoredLetter(f"{peeked.partition}-{peeked.offset}", letter, peeked.key, peeked.value_bytes)
