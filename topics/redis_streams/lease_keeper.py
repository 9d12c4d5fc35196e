"""Leases renewed from a thread while the event loop is busy, and no longer when it makes no progress for too long.

An agent that computes for longer than a lease would lose its partitions: safe, since its commit is fenced, but all of its work
would be done twice. A loop that hangs must lose them, so the thread stops helping after `stall_max_s`. It can do nothing while
native code holds Python's lock; such code has to be shorter than a lease.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from topics.redis_streams.keys import Keys
from topics.redis_streams.scripts import RENEW

log = logging.getLogger(__name__)


class LeaseKeeper:
    """Watches one member's event loop, which calls `progressed` once a heartbeat. `held` is asked from the thread."""

    def __init__(
        self,
        url: str,
        keys: Keys,
        *,
        group: str,
        member: str,
        held: Callable[[], Sequence[int]],
        lease_ms: int,
        heartbeat_s: float,
        stall_max_s: float,
    ) -> None:
        self._url = url
        self._keys = keys
        self._group = group
        self._member = member
        self._held = held
        self._lease_ms = lease_ms
        self._heartbeat_s = heartbeat_s
        self._stall_max_s = stall_max_s
        self._progress_s = time.monotonic()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._progress_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"leases-{self._group}", daemon=True)
        self._thread.start()

    def progressed(self) -> None:
        """The loop runs."""
        self._progress_s = time.monotonic()

    def stop(self) -> None:
        """Renew nothing from now on; the thread ends soon."""
        self._stopping.set()

    def _run(self) -> None:
        client: redis.Redis | None = None
        gave_up = False
        while not self._stopping.wait(self._heartbeat_s):
            stalled_s = time.monotonic() - self._progress_s
            if stalled_s < 2 * self._heartbeat_s:
                gave_up = False
                continue
            if stalled_s > self._stall_max_s:
                if not gave_up:
                    log.error("the event loop of %s hangs for %.1f s: its leases run out", self._group, stalled_s)
                gave_up = True
                continue
            if client is None:
                client = redis.Redis.from_url(
                    self._url, socket_timeout=1.0, socket_connect_timeout=1.0, retry=Retry(NoBackoff(), 0)
                )
            try:
                self._renew(client)
            except (RedisError, OSError) as exc:
                log.warning("cannot renew leases of %s while its event loop is busy: %s", self._group, exc)
        if client is not None:
            client.close()

    def _renew(self, client: redis.Redis) -> None:
        leases = [self._keys.lease(self._group, partition) for partition in self._held()]
        client.eval(RENEW, 1 + len(leases), self._keys.members(self._group), *leases, self._member, str(self._lease_ms))
