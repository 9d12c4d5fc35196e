"""The dead letters on Redis Streams, for an operator: filters and ids in, letters out, originals back on their topics."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from topics.dead_letters import DeadLetter, LetterPage, Replayed, StoredLetter
from topics.errors import Refused
from topics.names import DEAD_LETTERS
from topics.redis_streams.entries import decode_any_entry, encode_entry, entry_id, offset_of
from topics.redis_streams.keys import Keys
from topics.redis_streams.scripts import REPLAY
from topics.redis_streams.wire import Wire

_DIGITS_MAX = 18
"""More than any offset has, and less than 64 bits hold."""
_LETTERS_A_READ = 20
"""A letter may hold a request body of several megabytes."""


class RedisDeadLetterLog:
    """The `DeadLetterLog` of topics/dead_letters.py.

    A replay is a script and not a MULTI/EXEC: Redis would take the letter away also when the message could not be added.
    """

    def __init__(self, url: str, *, namespace: str = "aegis") -> None:
        self._wire = Wire(url, name="aegis-dead-letters")
        self._keys = Keys(namespace)

    async def page(
        self, *, cursor: str | None = None, limit: int = 50, agent: str | None = None, code: str | None = None
    ) -> LetterPage:
        """See `DeadLetterLog.page`."""
        found: list[StoredLetter] = []
        async for stored in self._from(_place(cursor) if cursor else (0, 0)):
            if len(found) == limit:
                return LetterPage(found, found[-1].id if found else cursor)
            letter = stored.letter
            if (agent is None or letter.agent == agent) and (code is None or letter.code == code):
                found.append(stored)
        return LetterPage(found, None)

    async def get(self, letter_id: str) -> StoredLetter:
        """See `DeadLetterLog.get`."""
        partition, offset = _place(letter_id)
        name = entry_id(offset)
        (entries,) = await self._wire.call(("XRANGE", self._keys.stream(DEAD_LETTERS, partition), name, name))
        if not entries:
            raise Refused(
                f"cannot find dead letter {letter_id}: there is none, or it was replayed already", code="not_found"
            )
        return _stored(partition, *entries[0])

    async def replay(self, letter_id: str) -> Replayed:
        """See `DeadLetterLog.replay`."""
        partition, offset = _place(letter_id)
        letters = self._keys.stream(DEAD_LETTERS, partition)
        letter = (await self.get(letter_id)).letter
        await self._check_place(letter)
        entry = encode_entry(letter.value, timestamp_ms=int(time.time() * 1000), headers=letter.replay_headers())
        target = self._keys.stream(letter.topic, letter.partition)
        (name,) = await self._wire.call(("EVAL", REPLAY, 2, target, letters, entry_id(offset), *entry))
        if name is None:
            raise Refused(f"cannot replay {letter_id}: it was replayed a moment ago", code="not_found")
        return Replayed(letter_id, letter.topic, letter.partition, offset_of(name), letter.replays + 1)

    async def close(self) -> None:
        """See `DeadLetterLog.close`."""
        await self._wire.close()

    async def _check_place(self, letter: DeadLetter) -> None:
        (count,) = await self._wire.call(("HGET", self._keys.topics, letter.topic))
        if not 0 <= letter.partition < int(count or 0):
            raise Refused(
                f"cannot replay: there is no partition {letter.partition} of topic {letter.topic!r}", code="not_found"
            )

    async def _from(self, place: tuple[int, int]) -> AsyncIterator[StoredLetter]:
        """Every letter behind a place, partition by partition."""
        first, offset = place
        (count,) = await self._wire.call(("HGET", self._keys.topics, DEAD_LETTERS))
        for partition in range(first, int(count or 0)):
            stream = self._keys.stream(DEAD_LETTERS, partition)
            while True:
                (entries,) = await self._wire.call(
                    ("XRANGE", stream, entry_id(offset + 1), "+", "COUNT", _LETTERS_A_READ)
                )
                for name, fields in entries:
                    offset = offset_of(name)
                    yield _stored(partition, name, fields)
                if len(entries) < _LETTERS_A_READ:
                    break
            offset = 0


def _place(letter_id: str) -> tuple[int, int]:
    partition, dash, offset = letter_id.partition("-")
    numbers = (partition, offset)
    if not dash or not all(text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX for text in numbers):
        raise Refused(f"cannot read {letter_id[:60]!r}: an id, or a cursor, is <partition>-<offset>", code="not_found")
    return int(partition), int(offset)


def _stored(partition: int, name: bytes, fields: list[bytes]) -> StoredLetter:
    """An entry as a letter; one that is none is shown all the same, or it would lie there for ever unseen."""
    offset = offset_of(name)
    entry = decode_any_entry(fields)
    value = entry.value or b""
    try:
        letter = DeadLetter.from_message(value, entry.headers)
    except Refused as exc:
        letter = DeadLetter(
            "", -1, -1, "", "unreadable_letter", exc.reason, entry.timestamp_ms, value, tuple(entry.headers)
        )
    return StoredLetter(f"{partition}-{offset}", letter)
