"""An ASGI application + an address -> an HTTP server that starts, drains on SIGTERM, and stops.

uvicorn with uvloop and httptools. The socket is bound here, so that a taken port is a refusal that names the setting, and the
signals are handled here, so that what was accepted is finished before anything is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn

from topics.errors import Refused
from web.bounded_http import BoundedHttpProtocol

DRAIN_S = 20
"""How long requests that are under way at the end may take."""
BACKLOG = 2048


def bind(host: str, port: int, *, setting: str) -> socket.socket:
    """A listening socket. Raises `Refused` naming `setting` when the address cannot be had; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except (OSError, OverflowError) as exc:
        sock.close()
        raise Refused(
            f"cannot listen on {host}:{port}: {exc}; choose another with {setting}", code="bad_setting"
        ) from exc
    sock.setblocking(False)
    return sock


def reachable(host: str) -> str:
    """Where to ask a server that listens on `host`, from the same machine and as part of a URL."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling, which would end the process before our own closing is done."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    app: Any,
    sock: socket.socket,
    *,
    stop: asyncio.Event,
    on_drain: Callable[[], None] | None = None,
    drain_s: float = 0.0,
) -> None:
    """Serve until `stop` is set, then finish the requests under way (at most `DRAIN_S` seconds) and return.

    When `stop` is set, `on_drain` is called, which makes /ready say no. For `drain_s` seconds more new requests are taken all
    the same, because who balances load hears of it late; each answer says that its connection closes.

    Raises RuntimeError when the server ends by itself.
    """

    class Protocol(BoundedHttpProtocol):
        """This server's alone, so that its draining concerns no other one of the process."""

    config = uvicorn.Config(
        app,
        loop="none",
        http=Protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        # Whom to believe about the client's address is the gateway's own setting; uvicorn believes everybody on this machine.
        proxy_headers=False,
        timeout_graceful_shutdown=DRAIN_S,
        timeout_keep_alive=75,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not stop.is_set():
        await serving
        raise RuntimeError("the HTTP server ended by itself")
    if on_drain is not None:
        on_drain()
    Protocol.draining = True
    if drain_s > 0:
        await asyncio.wait({serving}, timeout=drain_s)
    server.should_exit = True
    await serving


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM, SIGINT and SIGHUP (the terminal was closed) set. Call it inside the running loop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    return stop
