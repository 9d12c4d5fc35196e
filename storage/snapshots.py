"""Something of the control plane in memory: how to load it in; a copy that is reread when it changes, out.

It is reread at once when the control plane announces a change or somebody misses something in it, and every `refresh_s` in case
an announcement was lost: what is new is there with the first question for it, and what was taken away is gone within
milliseconds, or within a refresh. While the control plane is away the last copy serves on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

from topics.errors import Unavailable

log = logging.getLogger(__name__)

MISSED_REFRESH_S = 0.25
"""Least time between two rereads that missing things cause, so that guesses cannot load the control plane."""

CHANGES_PAUSE_S = 0.05
CHANGES_PAUSE_MAX_S = 0.3
"""After a reread the next one waits as long as it took, within these bounds: a thousand changes at once are a few rereads."""

T = TypeVar("T")


class Snapshot(Generic[T]):
    """The last copy that was read: `value`, which is `empty` before there is one."""

    def __init__(self, load: Callable[[], Awaitable[T]], empty: T, *, what: str, refresh_s: float) -> None:
        """`what` names it in the log ("API keys"). `load` may raise `Unavailable`."""
        self.value = empty
        self.began = -1e9  # Of the last reread that succeeded, monotonic seconds.
        self._load = load
        self._what = what
        self._refresh_s = refresh_s
        self._reload: asyncio.Task[None] | None = None
        self._loop: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """Load once and keep rereading. A control plane that is away does not stop the start: the copy comes when it does."""
        with suppress(Unavailable):
            await self._reread()
        self._loop = asyncio.create_task(self._keep_rereading())

    async def close(self) -> None:
        """Stop rereading."""
        for task in (self._loop, self._reload):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError, Unavailable):
                    await task

    def refresh(self) -> None:
        """Reread soon, because it may have changed. Every change that is announced is seen by a reread that begins after it."""
        self._changed.set()

    async def reread(self) -> None:
        """Read it again, a few times a second at most; all who wait share one reading. Raises `Unavailable`.

        Who missed something at a time t knows that there is none once `began` is t or later.
        """
        if self._reload is None or self._reload.done():
            self._reload = asyncio.create_task(self._reread_soon())
        await asyncio.shield(self._reload)

    async def _reread_soon(self) -> None:
        await asyncio.sleep(self.began + MISSED_REFRESH_S - time.monotonic())
        await self._reread()

    async def _reread(self) -> None:
        began = time.monotonic()
        value = await self._load()
        # Two rereads may be under way. The one that began first must not bring back what the other has seen taken away.
        if began >= self.began:
            self.value = value
            self.began = began

    async def _keep_rereading(self) -> None:
        away = False
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._refresh_s):
                    await self._changed.wait()
            self._changed.clear()
            began = time.monotonic()
            try:
                await self._reread()
            except Unavailable as exc:
                if not away:
                    log.warning("cannot reread %s, the last known ones serve on: %s", self._what, exc)
                away = True
            except Exception:
                # A bug here must not end the rereading in silence: what is taken away would stay for ever.
                log.exception("cannot reread %s", self._what)
            else:
                if away:
                    log.info("%s are read again", self._what)
                away = False
            spent_s = time.monotonic() - began
            await asyncio.sleep(min(max(spent_s, CHANGES_PAUSE_S), CHANGES_PAUSE_MAX_S))
