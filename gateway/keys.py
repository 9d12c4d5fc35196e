"""API keys in memory: control plane -> a directory that a request can ask without any I/O.

The directory is a snapshot, reread at once when the control plane announces a change or an unknown prefix turns up, and every
`refresh_s` in case an announcement was lost: a new key works with its first request, and a revoked one stops within milliseconds,
or within a refresh. While the control plane is away the last snapshot serves on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from storage.control_plane import ControlPlane
from topics.errors import Refused, Unavailable

log = logging.getLogger(__name__)

UNKNOWN_REFRESH_S = 0.25
"""Least time between two rereads that unknown prefixes cause, so that guesses cannot load the control plane."""

CHANGES_PAUSE_S = 0.05
CHANGES_PAUSE_MAX_S = 0.3
"""After a reread the next one waits as long as it took, within these bounds: a thousand changes at once are a few rereads."""


@dataclass(frozen=True, slots=True)
class IngestKey:
    """What the gateway knows of a key. `signals` are those it may send; `expires_at_s` is unix seconds, None for never.

    `requests_per_minute` is its organization's own limit, None for the default; with `require_signed_time` a signature must
    cover the time.
    """

    prefix: str
    secret: bytes = field(repr=False)
    org_id: str
    signals: frozenset[str]
    retention_days: int
    expires_at_s: float | None = None
    requests_per_minute: int | None = None
    require_signed_time: bool = False


async def load_ingest_keys(control_plane: ControlPlane) -> list[IngestKey]:
    """All usable keys. Raises `Unavailable`, or `Refused` when the master key opens none of them."""
    snapshot = await control_plane.api_keys.load()
    if snapshot.unreadable:
        log.warning(
            "%d API keys were sealed under another AEGIS_MASTER_KEY and do not work: %s",
            len(snapshot.unreadable),
            ", ".join(snapshot.unreadable[:5]),
        )
    return [
        IngestKey(
            prefix=key.prefix,
            secret=key.secret.encode(),
            org_id=key.organization_id,
            signals=frozenset(scope.partition(":")[0] for scope in key.scopes),
            retention_days=key.retention_days,
            expires_at_s=key.expires_at.timestamp() if key.expires_at is not None else None,
            requests_per_minute=key.ingest.requests_per_minute,
            require_signed_time=key.ingest.require_signed_time,
        )
        for key in snapshot.keys
    ]


class KeyDirectory:
    """Usable keys by prefix."""

    def __init__(
        self,
        load: Callable[[], Awaitable[Sequence[IngestKey]]],
        *,
        refresh_s: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._load = load
        self._refresh_s = refresh_s
        self._now = now
        self._keys: dict[str, IngestKey] = {}
        self._reread_began = -1e9  # of the last reread that succeeded, monotonic seconds
        self._reload: asyncio.Task[None] | None = None
        self._loop: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """Load once and keep rereading. A control plane that is away does not stop the start: keys come when it does."""
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
        """Reread soon, because keys may have changed. Every change that is announced is seen by a reread that begins after it."""
        self._changed.set()

    def known(self, prefix: str) -> IngestKey | None:
        """The key, when the snapshot has it and it has not expired. Raises `Refused` for an expired one."""
        key = self._keys.get(prefix)
        if key is not None and key.expires_at_s is not None and key.expires_at_s <= self._now():
            raise Refused("cannot accept: the API key has expired", code="expired_key")
        return key

    async def find(self, prefix: str) -> IngestKey:
        """The key, after a reread if need be. Raises `Refused` when there is none, `Unavailable` when nobody can say.

        "Unknown" is only said after a reread that began after the question, so a key works as soon as it is made.
        """
        asked = time.monotonic()
        while (key := self.known(prefix)) is None:
            if self._reread_began >= asked:
                raise Refused("cannot accept: unknown API key (revoked, or never made)", code="unknown_key")
            if self._reload is None or self._reload.done():
                self._reload = asyncio.create_task(self._reread_soon())
            await asyncio.shield(self._reload)
        return key

    async def _reread_soon(self) -> None:
        await asyncio.sleep(self._reread_began + UNKNOWN_REFRESH_S - time.monotonic())
        await self._reread()

    async def _reread(self) -> None:
        began = time.monotonic()
        keys = await self._load()
        # Two rereads may be under way. The one that began first must not bring back what the other has seen revoked.
        if began >= self._reread_began:
            self._keys = {key.prefix: key for key in keys}
            self._reread_began = began

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
                    log.warning("cannot reread API keys, the last known ones serve on: %s", exc.reason)
                away = True
            except Exception:
                # A bug here must not end the rereading in silence: revocations would never arrive again.
                log.exception("cannot reread API keys")
            else:
                if away:
                    log.info("API keys are read again")
                away = False
            spent_s = time.monotonic() - began
            await asyncio.sleep(min(max(spent_s, CHANGES_PAUSE_S), CHANGES_PAUSE_MAX_S))
