"""The channel `aegis_changes` of the control plane in; "this may have changed" to whoever keeps a copy in memory, out.

Triggers announce each change (timescaledb/control_plane/0007_announce_changes.sql). PostgreSQL forgets it when nobody
listens, so every new connection counts as "anything may have changed", and a reader who must not miss one rereads now and then
anyway. LISTEN belongs to a session: the address must lead to PostgreSQL itself and not through pgbouncer in transaction mode.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import asyncpg

from storage.postgres import postgres_errors
from topics.errors import AegisError, Unavailable

log = logging.getLogger(__name__)

CHANNEL = "aegis_changes"
BACKOFF_MIN_S = 0.1
BACKOFF_MAX_S = 5.0


@dataclass(frozen=True, slots=True)
class Change:
    """A row of `table` is new, changed or gone. No organization: rows of several, or of none. No table: anything may be."""

    table: str | None = None
    organization_id: str | None = None

    def concerns(self, *tables: str) -> bool:
        """Whether a copy of these tables may be out of date."""
        return self.table is None or self.table in tables


ANYTHING = Change()


class ChangeListener:
    """Listens on a connection of its own, from `start` to `close`, and calls `on_change` in the event loop.

    `on_change` must return at once; what it raises is logged. A connection is asked something every `keepalive_s`, and given up
    when the answer takes as long again. A lost one is replaced, with a growing pause of up to 5 s.
    """

    def __init__(
        self,
        dsn: str,
        on_change: Callable[[Change], None],
        *,
        keepalive_s: float = 5.0,
        connect_timeout_s: float = 5.0,
    ) -> None:
        self._dsn = dsn
        self._on_change = on_change
        self._keepalive_s = keepalive_s
        self._connect_timeout_s = connect_timeout_s
        self._task: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self.connected = False

    async def start(self) -> None:
        """Begin to listen, in the background: PostgreSQL may be away."""
        self._task = asyncio.create_task(self._listen_for_ever())

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _listen_for_ever(self) -> None:
        pause_s, said = BACKOFF_MIN_S, False
        while True:
            began = time.monotonic()
            try:
                await self._listen()
            except AegisError as exc:
                if not said:
                    log.warning("cannot listen for changes, trying again: %s", exc)
                said = True
            except Exception:
                # A bug here must not end the listening in silence.
                log.exception("cannot listen for changes")
            if time.monotonic() - began > 2 * BACKOFF_MAX_S:
                pause_s, said = BACKOFF_MIN_S, False
            # Spread, so that the gateways of an installation do not all come back at one moment.
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(pause_s * 2, BACKOFF_MAX_S)

    async def _listen(self) -> None:
        """Listen on one connection until it is lost, which is `Unavailable`."""
        doing = "listen for changes"
        self._lost.clear()
        connection: asyncpg.Connection | None = None
        try:
            with postgres_errors(doing):
                connection = await asyncpg.connect(
                    self._dsn,
                    timeout=self._connect_timeout_s,
                    command_timeout=self._keepalive_s,
                    statement_cache_size=0,
                    server_settings={"application_name": "aegis-changes"},
                )
                connection.add_termination_listener(lambda _: self._lost.set())
                await connection.add_listener(CHANNEL, self._heard)
            self.connected = True
            self._tell(ANYTHING)
            while not await self._is_lost_within(self._keepalive_s):
                with postgres_errors(doing):
                    await connection.execute("SELECT 1")
            raise Unavailable(f"cannot {doing}: PostgreSQL closed the connection")
        finally:
            self.connected = False
            if connection is not None:
                connection.terminate()

    async def _is_lost_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._lost.wait()
        return self._lost.is_set()

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        table, _, organization_id = str(payload).partition(" ")
        self._tell(Change(table, organization_id or None))

    def _tell(self, change: Change) -> None:
        try:
            self._on_change(change)
        except Exception:
            log.exception("cannot take notice of a change")
