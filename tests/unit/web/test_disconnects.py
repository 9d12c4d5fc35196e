"""Work that lasts as long as somebody waits for it, over plain ASGI messages."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from web.disconnects import while_connected

REQUEST = {"type": "http.request", "body": b"question", "more_body": False}
GONE = {"type": "http.disconnect"}
START = {"type": "http.response.start", "status": 200, "headers": []}


class Client:
    """Sends a request, and leaves when told to or, as a server says it, when the answer is out."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        self.messages.put_nowait(REQUEST)
        self.got: list[Any] = []

    def leave(self) -> None:
        self.messages.put_nowait(GONE)

    async def send(self, message: Any) -> None:
        self.got.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.leave()
            await asyncio.sleep(0)


async def test_an_answer_ends_in_peace() -> None:
    client = Client()
    ended = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert await receive() == REQUEST
        await send(START)
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        await send({"type": "http.response.body", "body": b"2"})
        for _ in range(5):  # What runs behind an answer is not for the client.
            await asyncio.sleep(0)
        assert await receive() == GONE
        ended.append(True)

    assert await while_connected(app, {}, client.messages.get, client.send)
    assert ended == [True]
    assert [message.get("body") for message in client.got] == [None, b"1", b"2"]


@pytest.mark.parametrize("streaming", [False, True])
async def test_who_leaves_ends_the_work_and_nothing_else(streaming: bool) -> None:
    client = Client()
    ended = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if streaming:
            await send(START)
            await send({"type": "http.response.body", "body": b"1", "more_body": True})
        client.leave()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async with asyncio.timeout(5):
        assert not await while_connected(app, {}, client.messages.get, client.send)
    assert ended == [True]
    await asyncio.sleep(0)  # The task itself goes on uncancelled.
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_who_left_before_is_not_served() -> None:
    client = Client()
    client.messages.get_nowait()
    client.leave()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nobody waits")

    assert not await while_connected(app, {}, client.messages.get, client.send)


async def test_a_server_that_stops_cancels_as_ever() -> None:
    client = Client()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    serving = asyncio.create_task(while_connected(app, {}, client.messages.get, client.send))
    await asyncio.sleep(0.01)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_a_failure_goes_on_to_the_server() -> None:
    client = Client()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        await while_connected(app, {}, client.messages.get, client.send)
