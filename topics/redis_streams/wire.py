"""One connection to Redis: commands in, sent in one write; as many replies out, in order.

The transport needs what a pooled client hides: to know that a connection broke between EXEC and its reply, to know
which run of the server answered, and to hold WATCH across calls. So this is a socket, hiredis and nothing else.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any

import hiredis
from redis.asyncio.connection import parse_url

from topics.errors import Refused, Unavailable

Command = Sequence[Any]
"""One command: its name and arguments as str, bytes, int or float."""

ReplyError = hiredis.ReplyError

_TRY_LATER = ("LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "OOM", "MISCONF", "BUSY ", "TRYAGAIN", "NOREPLICAS")
_READ_BYTES = 1 << 18


def backoff_s(attempt: int) -> float:
    """Return how long to wait before attempt number `attempt` (0, 1, ...): 50 ms doubling to one second."""
    return float(min(0.05 * 2 ** min(attempt, 5), 1.0))


class Wire:
    """A connection that opens itself when it is used and says `Unavailable` when it cannot.

    `run_id` names the run of the server that answered last: it differs after a restart or a failover. `session` counts
    the connections; what WATCH promised holds within one session only.
    """

    def __init__(self, url: str, *, name: str, timeout_s: float = 10.0) -> None:
        self.run_id = ""
        self.session = 0
        self._target: dict[str, Any] = dict(parse_url(url))
        self._tls = url.startswith("rediss://")
        self._name = name
        self._timeout_s = timeout_s
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._replies = hiredis.Reader()
        self._lock = asyncio.Lock()

    @property
    def connected(self) -> bool:
        """Whether the last call left a working connection."""
        return self._writer is not None

    @property
    def address(self) -> str:
        """Where Redis is, without credentials."""
        return str(self._target.get("path") or f"{self._host}:{self._port}")

    @property
    def _host(self) -> str:
        return str(self._target.get("host") or "127.0.0.1")

    @property
    def _port(self) -> int:
        return int(self._target.get("port") or 6379)

    async def call(
        self, *commands: Command, timeout_s: float | None = None, strict: bool = True, session: int | None = None
    ) -> list[Any]:
        """Send the commands in one write and return one reply each.

        With `session` they are sent in that session or not at all (Unavailable).
        With `strict` the first error reply is raised once all have been read: `Unavailable` when Redis may accept the
        same later (loading, out of memory, read only), else `ReplyError`. Without it errors are returned in place.
        Raises Unavailable when the connection cannot be opened or breaks; whether the commands ran is unknown then.
        """
        async with self._lock:
            if session is not None and (session != self.session or self._writer is None):
                raise Unavailable(f"lost Redis at {self.address}: the connection was replaced")
            if session is None:
                await self._open()
            replies = await self._exchange(commands, timeout_s or self._timeout_s)
        if strict:
            for reply in replies:
                if isinstance(reply, ReplyError):
                    raise later_or_never(reply)
        return replies

    async def _open(self) -> None:
        if self._writer is not None and self._reader is not None and not self._reader.at_eof():
            return
        self.cut()
        try:
            async with asyncio.timeout(self._timeout_s):
                if path := self._target.get("path"):
                    self._reader, self._writer = await asyncio.open_unix_connection(str(path), limit=_READ_BYTES)
                else:
                    tls = ssl.create_default_context() if self._tls else None
                    self._reader, self._writer = await asyncio.open_connection(
                        self._host, self._port, ssl=tls, limit=_READ_BYTES
                    )
        except (OSError, TimeoutError) as error:
            self.cut()
            raise Unavailable(f"cannot reach Redis at {self.address}: {error or 'no answer'}") from error
        self.session += 1
        await self._greet()

    async def _greet(self) -> None:
        greeting: list[Command] = []
        if password := self._target.get("password"):
            user = self._target.get("username")
            greeting.append(("AUTH", user, password) if user else ("AUTH", password))
        if database := int(self._target.get("db") or 0):
            greeting.append(("SELECT", database))
        greeting += [("CLIENT", "SETNAME", self._name), ("INFO", "server")]
        replies = await self._exchange(greeting, self._timeout_s)
        for reply in replies:
            if isinstance(reply, ReplyError):
                self.cut()
                raise later_or_never(reply)
        self.run_id = read_run_id(replies[-1])

    async def _exchange(self, commands: Sequence[Command], timeout_s: float) -> list[Any]:
        reader, writer = self._reader, self._writer
        if reader is None or writer is None:
            raise Unavailable(f"cannot reach Redis at {self.address}: not connected")
        packed = [hiredis.pack_command(tuple(command)) for command in commands]
        replies: list[Any] = []
        try:
            async with asyncio.timeout(timeout_s):
                writer.writelines(packed)
                await writer.drain()
                while len(replies) < len(commands):
                    reply = self._replies.gets()
                    if reply is not False:
                        replies.append(reply)
                        continue
                    data = await reader.read(_READ_BYTES)
                    if not data:
                        raise ConnectionResetError("the server closed the connection")
                    self._replies.feed(data)
        except (OSError, TimeoutError, hiredis.ProtocolError) as error:
            self.cut()
            raise Unavailable(f"lost Redis at {self.address}: {error or 'no answer in time'}") from error
        except BaseException:
            # A cancelled reader would leave replies behind that the next call took for its own.
            self.cut()
            raise
        return replies

    def cut(self) -> None:
        """Drop the connection at once; the next call opens another."""
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = self._reader = None
        self._replies = hiredis.Reader()

    async def close(self) -> None:
        """Close the connection for good and wait until the socket is gone."""
        writer = self._writer
        self.cut()
        if writer is not None:
            try:
                async with asyncio.timeout(1.0):
                    await writer.wait_closed()
            except (OSError, TimeoutError):
                return


def later_or_never(error: Exception) -> Exception:
    """Return `Unavailable` when Redis may accept the same command later, else the error itself."""
    text = str(error)
    if text.startswith(_TRY_LATER) or "OOM command" in text:
        return Unavailable(f"cannot use Redis now: {text}")
    if text.startswith(("NOAUTH", "WRONGPASS", "NOPERM")):
        return Refused(f"cannot use Redis: it says {text}; set AEGIS_TRANSPORT=redis://user:password@host:port/0")
    return error


def read_run_id(info: bytes) -> str:
    """Return `run_id` from the answer of INFO server."""
    for line in info.splitlines():
        if line.startswith(b"run_id:"):
            return line[7:].decode()
    raise Unavailable("cannot use Redis: INFO server names no run_id")
