"""Events of a topic -> the work of an agent on each, acknowledged only when it is safe.

Faust acknowledges an event also when the agent raises, so nothing may leave an agent: `Unavailable` is tried again with
backoff, `Refused` becomes a dead letter, and anything else is a bug that ends the process loudly with the event unacknowledged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NoReturn, TypeVar

from prometheus_client import Counter

from topics.dead_letters import DeadLetter
from topics.errors import Refused, Unavailable
from topics.names import DEAD_LETTERS
from topics.raw import Headers

log = logging.getLogger(__name__)

T = TypeVar("T")

RETRIES = Counter("aegis_agent_retries_total", "Tries that found a dependency away", ["agent"])
BURIED = Counter("aegis_dead_letters_total", "Messages that can never succeed", ["agent", "code"])

Produce = Callable[[Any, str, bytes | None, Headers, bytes | None], Any]
"""Attaches a message to an event: event, topic, value, headers, key."""

BACKOFF_FIRST_S = 0.05
BACKOFF_MAX_S = 2.0


class Delivery:
    """How one agent treats its events.

    `produce` attaches a message to an event, so that it goes out with the event's commit or not at all. `crash` is told of a
    bug and must bring the process down.
    """

    def __init__(
        self,
        agent: str,
        *,
        produce: Produce,
        crash: Callable[[BaseException], None],
    ) -> None:
        self.agent = agent
        self.produce = produce
        self._crash = crash

    async def each(self, stream: Any, work: Callable[[Any], Awaitable[None]]) -> None:
        """Do `work` on every event of a stream, in order, and acknowledge each behind it."""
        async for event in stream.noack().events():
            try:
                await self.until_available(partial(work, event), what=f"offset {event.message.offset}")
            except Refused as exc:
                self.bury(event, exc)
            except Exception as exc:
                await self.give_up(exc)
            event.ack()

    async def until_available(self, work: Callable[[], Awaitable[T]], *, what: str) -> T:
        """Do `work` until it no longer raises `Unavailable`; any other exception is the caller's."""
        return await until_available(work, who=self.agent, what=what)

    def bury(self, event: Any, exc: Refused, *, part: tuple[bytes, Headers] | None = None) -> None:
        """Put an event's message on the dead-letter topic with the reason; the caller acknowledges it.

        `part`, a value and headers, is buried in its place when only that much of the message is at fault.
        """
        message = event.message
        value, headers = part or (message.value, list(message_headers(message).items()))
        letter = DeadLetter(
            topic=message.topic,
            partition=message.partition,
            offset=message.offset,
            agent=self.agent,
            code=exc.code,
            reason=exc.reason,
            refused_at_ms=int(time.time() * 1000),
            headers=tuple(headers),
        )
        # Key and value as they were, a tombstone too: what is put back is what was refused.
        self.produce(event, DEAD_LETTERS, value, letter.message_headers(), message.key)
        BURIED.labels(self.agent, exc.code).inc()
        log.warning(
            "%s refuses %s[%s] offset %s: %s", self.agent, message.topic, message.partition, message.offset, exc
        )

    async def give_up(self, exc: BaseException) -> NoReturn:
        """A bug: say so, bring the process down, and never return, so that nothing is acknowledged."""
        log.critical("%s has failed, the worker stops: %r", self.agent, exc, exc_info=exc)
        self._crash(exc)
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


async def until_available(work: Callable[[], Awaitable[T]], *, who: str, what: str) -> T:
    """Do `work` again, with backoff, until it no longer raises `Unavailable`. Says when it waits and when it goes on."""
    backoff_s = BACKOFF_FIRST_S
    waiting_since = 0.0
    while True:
        try:
            done = await work()
        except Unavailable as exc:
            if not waiting_since:
                waiting_since = time.monotonic()
                log.warning("%s waits at %s: %s", who, what, exc)
            RETRIES.labels(who).inc()
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)
            continue
        if waiting_since:
            log.info("%s goes on after %.1f s", who, time.monotonic() - waiting_since)
        return done


def message_headers(message: Any) -> dict[str, bytes]:
    """A message's headers as a mapping; Faust hands them over as pairs or as a mapping."""
    headers = message.headers or ()
    return dict(headers.items() if hasattr(headers, "items") else headers)
