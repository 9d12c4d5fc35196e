"""An event is acknowledged behind its work, its burial, or never; whatever the work does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agents.delivery import Delivery
from topics.dead_letters import DeadLetter
from topics.errors import Refused, Unavailable
from topics.names import DEAD_LETTERS
from topics.raw import Headers


class Message:
    def __init__(self, offset: int) -> None:
        self.topic, self.partition, self.offset = "logs.raw", 2, offset
        self.key, self.value, self.headers = b"key", b"body %d" % offset, [("org", b"o")]


class Event:
    def __init__(self, offset: int) -> None:
        self.message = Message(offset)
        self.acks = 0

    def ack(self) -> None:
        self.acks += 1


class Stream:
    def __init__(self, *events: Event) -> None:
        self._events = events

    def noack(self) -> Stream:
        return self

    async def events(self) -> AsyncIterator[Event]:
        for event in self._events:
            yield event


class Outcome:
    def __init__(self) -> None:
        self.produced: list[tuple[Event, str, bytes | None, Headers, bytes | None]] = []
        self.crashes: list[BaseException] = []
        self.delivery = Delivery(
            "normalize_logs", produce=lambda *message: self.produced.append(message), crash=self.crashes.append
        )


@pytest.fixture
def outcome() -> Outcome:
    return Outcome()


async def test_work_comes_before_its_acknowledgement_and_in_order(outcome: Outcome) -> None:
    events = [Event(1), Event(2)]
    done: list[tuple[int, int]] = []

    async def work(event: Event) -> None:
        await asyncio.sleep(0)
        done.append((event.message.offset, event.acks))

    await outcome.delivery.each(Stream(*events), work)
    assert done == [(1, 0), (2, 0)]
    assert [event.acks for event in events] == [1, 1]


async def test_unavailable_is_tried_again(outcome: Outcome) -> None:
    event, tries = Event(1), 0

    async def work(event: Event) -> None:
        nonlocal tries
        tries += 1
        assert event.acks == 0
        if tries < 3:
            raise Unavailable("away")

    await outcome.delivery.each(Stream(event), work)
    assert (tries, event.acks, outcome.produced) == (3, 1, [])


async def test_refused_is_buried_with_its_reason_and_the_next_goes_on(outcome: Outcome) -> None:
    events = [Event(1), Event(2)]

    async def work(event: Event) -> None:
        if event.message.offset == 1:
            raise Refused("cannot read it", code="bad_message")

    await outcome.delivery.each(Stream(*events), work)
    ((event, topic, value, headers, key),) = outcome.produced
    letter = DeadLetter.from_headers(headers)
    assert (event, topic, value, key) == (events[0], DEAD_LETTERS, b"body 1", b"key")
    assert (letter.topic, letter.partition, letter.offset, letter.agent) == ("logs.raw", 2, 1, "normalize_logs")
    assert (letter.code, letter.reason, letter.headers) == ("bad_message", "cannot read it", (("org", b"o"),))
    assert [each.acks for each in events] == [1, 1]


async def test_a_bug_ends_the_worker_and_acknowledges_nothing(outcome: Outcome) -> None:
    events = [Event(1), Event(2)]

    async def work(event: Event) -> None:
        raise ZeroDivisionError

    running: asyncio.Task[Any] = asyncio.create_task(outcome.delivery.each(Stream(*events), work))
    await asyncio.sleep(0.01)
    assert [type(exc) for exc in outcome.crashes] == [ZeroDivisionError]
    assert [event.acks for event in events] == [0, 0]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
