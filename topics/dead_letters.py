"""What can never succeed <-> a message on `dead_letters`: the input unchanged, and why, where and when as headers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from topics.errors import Refused
from topics.raw import Headers

_PREFIX = "dead."
REPLAYS = "replays"
"""Header of a message that was a dead letter before: how often it was put back on its topic."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that an agent refused. `value` and `headers` are the original's, so that it can be replayed as it was."""

    topic: str
    partition: int
    offset: int
    agent: str
    code: str
    reason: str
    refused_at_ms: int
    value: bytes
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
    def from_message(cls, value: bytes, headers: Iterable[tuple[str, bytes]]) -> DeadLetter:
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
                value=value,
                headers=tuple((name, text) for name, text in pairs if not name.startswith(_PREFIX)),
            )
        except (KeyError, ValueError) as exc:
            raise Refused(f"cannot read a dead letter: header {exc}", code="bad_message") from exc


class StoredLetter(NamedTuple):
    """A dead letter where it lies. `id` is `<partition>-<offset>` on the topic of dead letters, and names it for ever."""

    id: str
    letter: DeadLetter


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


class DeadLetterLog(Protocol):
    """The letters of one installation, for an operator. One implementation a transport. Every call may raise `Unavailable`."""

    async def page(
        self, *, cursor: str | None = None, limit: int = 50, agent: str | None = None, code: str | None = None
    ) -> LetterPage:
        """Up to `limit` letters, in the order of partitions and offsets, of one agent or with one code if asked so."""

    async def get(self, letter_id: str) -> StoredLetter:
        """One letter. Raises `Refused` (not_found) when there is none of this id, perhaps because it was replayed."""

    async def replay(self, letter_id: str) -> Replayed:
        """Put the original back on its topic and take the letter away.

        Must not lose the message, whenever the process dies; a transport that cannot do both at once adds before it removes.
        Must raise `Refused` (not_found) for a letter that is not there, so that a repetition adds nothing, and
        `Unavailable` when it is not known whether it was done: asking again tells.
        """

    async def close(self) -> None:
        """Let go of the connection."""
