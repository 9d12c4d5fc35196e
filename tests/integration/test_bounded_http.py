"""A real server on a real socket: heads and bodies past their bounds are cut off, all else is served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from topics.errors import Refused
from web import bounded_http
from web.bounded_http import serve_bounded
from web.error_replies import install_error_replies
from web.serving import bind, serve


class BoundedApp(FastAPI):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await serve_bounded(super().__call__, scope, receive, send)


@pytest.fixture
async def address(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[str, int]]:
    monkeypatch.setattr(bounded_http, "HEAD_TIMEOUT_S", 0.5)
    monkeypatch.setattr(bounded_http, "BODY_TIMEOUT_S", 0.5)
    app = BoundedApp()
    install_error_replies(app)

    @app.post("/echo")
    async def echo(request: Request) -> dict[str, int]:
        return {"size": len(await request.body())}

    sock = bind("127.0.0.1", 0, setting="X")
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(app, sock, stop=stop))
    yield sock.getsockname()[:2]
    stop.set()
    await serving
    sock.close()


async def answer(address: tuple[str, int], *pieces: bytes, pause_s: float = 0.0) -> bytes:
    """Send pieces and return all that comes back until the server closes."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)
    except ConnectionError:
        pass  # It was cut off while we were still sending.
    received = b""
    try:
        async with asyncio.timeout(5):
            received = await reader.read(-1)
    except ConnectionError:
        pass
    finally:
        writer.close()
    return received


HEAD = b"POST /echo HTTP/1.1\r\nhost: x\r\n"


async def test_requests_within_the_bounds_are_served_one_after_another(address: tuple[str, int]) -> None:
    async with httpx.AsyncClient(base_url=f"http://{address[0]}:{address[1]}") as http:
        for _ in range(3):
            response = await http.post("/echo", content=b"x" * 65_536, headers={"x-long": "y" * 30_000})
            assert response.json() == {"size": 65_536}


async def test_too_many_bytes_of_headers_are_431(address: tuple[str, int]) -> None:
    received = await answer(address, HEAD, *[b"x-filler: " + b"y" * 10_000 + b"\r\n"] * 10)
    assert received.startswith(b"HTTP/1.1 431 ")
    assert b'"head_too_large"' in received


async def test_one_endless_header_is_431(address: tuple[str, int]) -> None:
    assert (await answer(address, HEAD + b"x-filler: ", *[b"y" * 10_000] * 10)).startswith(b"HTTP/1.1 431 ")


async def test_what_is_no_http_is_400_in_our_shape(address: tuple[str, int]) -> None:
    received = await answer(address, b"hello\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b'"malformed_request"' in received


async def test_headers_that_never_end_are_408(address: tuple[str, int]) -> None:
    received = await answer(address, HEAD, *[b"x: y\r\n"] * 20, pause_s=0.05)
    assert received.startswith(b"HTTP/1.1 408 ")
    assert (await answer(address)).startswith(b"HTTP/1.1 408 "), "a connection that says nothing"


async def test_a_second_request_on_a_connection_is_bounded_too(address: tuple[str, int]) -> None:
    whole = HEAD + b"content-length: 2\r\n\r\nab"
    received = await answer(address, whole, HEAD, *[b"x-filler: " + b"y" * 10_000 + b"\r\n"] * 10)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 431 " in received


async def test_a_body_past_the_bound_is_413_and_a_slow_one_408(address: tuple[str, int]) -> None:
    received = await answer(address, HEAD + b"content-length: 100000\r\n\r\n", *[b"x" * 10_000] * 7)
    assert received.startswith(b"HTTP/1.1 413 ")
    received = await answer(address, HEAD + b"content-length: 100\r\n\r\n", b"x")
    assert received.startswith(b"HTTP/1.1 408 ")


async def test_a_taken_address_names_the_setting(address: tuple[str, int]) -> None:
    with pytest.raises(Refused, match="AEGIS_PORT"):
        bind(*address, setting="AEGIS_PORT")
