"""API keys in memory: control plane -> a directory that a request can ask without any I/O.

The directory is a snapshot (storage/snapshots.py): a new key works with its first request, and a revoked one stops within
milliseconds, or within a refresh. While the control plane is away the last snapshot serves on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from storage.control_plane import ControlPlane
from storage.snapshots import Snapshot
from topics.errors import Refused

log = logging.getLogger(__name__)


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
        async def load_by_prefix() -> Mapping[str, IngestKey]:
            return {key.prefix: key for key in await load()}

        self._now = now
        self._keys: Snapshot[Mapping[str, IngestKey]] = Snapshot(
            load_by_prefix, {}, what="API keys", refresh_s=refresh_s
        )
        self.start = self._keys.start
        self.close = self._keys.close
        self.refresh = self._keys.refresh

    def known(self, prefix: str) -> IngestKey | None:
        """The key, when the snapshot has it and it has not expired. Raises `Refused` for an expired one."""
        key = self._keys.value.get(prefix)
        if key is not None and key.expires_at_s is not None and key.expires_at_s <= self._now():
            raise Refused("cannot accept: the API key has expired", code="expired_key")
        return key

    async def find(self, prefix: str) -> IngestKey:
        """The key, after a reread if need be. Raises `Refused` when there is none, `Unavailable` when nobody can say.

        "Unknown" is only said after a reread that began after the question, so a key works as soon as it is made.
        """
        asked = time.monotonic()
        while (key := self.known(prefix)) is None:
            if self._keys.began >= asked:
                raise Refused("cannot accept: unknown API key (revoked, or never made)", code="unknown_key")
            await self._keys.reread()
        return key
