"""A client that closes its connection -> the end of the work for it: an ASGI application, run for as long as somebody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


async def while_connected(app: Callable[..., Awaitable[None]], scope: Any, receive: Any, send: Any) -> bool:
    """Run an application on one request; cancel it when the client leaves before the answer is out. Whether it stayed.

    The request's body must come in one message, as `serve_bounded` gives it: whatever comes behind it is the client leaving.
    """
    request = await receive()
    if request["type"] == "http.disconnect":
        return False
    pending = [request]
    left = asyncio.Event()
    answering = asyncio.current_task()
    assert answering is not None
    answered = cancelled = False

    async def replay() -> Any:
        if pending:
            return pending.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send_on(message: Any) -> None:
        nonlocal answered
        # Before it is sent, because servers say "disconnected" as soon as an answer is out.
        answered = message["type"] == "http.response.body" and not message.get("more_body", False)
        await send(message)

    async def watch() -> None:
        nonlocal cancelled
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()
        if not answered:
            cancelled = True
            answering.cancel()

    watching = asyncio.create_task(watch())
    try:
        await app(scope, replay, send_on)
    except asyncio.CancelledError:
        # The server that stops cancels too, and is not kept from it.
        if not cancelled or answering.uncancel() > 0:
            raise
    finally:
        watching.cancel()
    return not cancelled
