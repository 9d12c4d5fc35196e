"""What can never succeed <-> a message on `dead_letters`: the input unchanged, and why, where and when as headers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from topics.errors import Refused
from topics.raw import Headers

_PREFIX = "dead."


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

    @classmethod
    def from_message(cls, value: bytes, headers: Iterable[tuple[str, bytes]]) -> DeadLetter:
        """The other way round. Raises `Refused` when it is no dead letter."""
        pairs = list(headers)
        own = {name[len(_PREFIX) :]: text.decode() for name, text in pairs if name.startswith(_PREFIX)}
        try:
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
