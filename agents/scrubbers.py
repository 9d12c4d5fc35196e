"""Organizations' policies on personal data, from the control plane -> the scrubber of a batch, without I/O in most cases.

A snapshot, reread at once when the control plane announces a change and every `refresh_s` in case an announcement was lost.
Before the first one is there nothing is normalized: guessing a policy would store what somebody chose not to keep.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from prometheus_client import Counter

from privacy.policy import DEFAULT_POLICY, RULES, Policy
from privacy.scrub import Scrubber
from topics.errors import Unavailable

log = logging.getLogger(__name__)

SCRUBBED = Counter("aegis_scrubbed_values_total", "Values replaced because a policy says so", ["rule"])
UNKNOWN_REREAD_S = 0.5
"""Least time between two rereads that unknown organizations cause."""


def count_scrubbed(counts: Mapping[str, int]) -> None:
    """Count in /metrics what was replaced in one batch. An organization's own patterns are one rule here: names have a bound."""
    for rule, count in counts.items():
        SCRUBBED.labels(rule if rule in RULES else "pattern").inc(count)


LoadPolicies = Callable[[], Awaitable[Mapping[str, Policy]]]


class Scrubbers:
    """A scrubber an organization. `hash_key` gives the key of an organization's hashes, the same one for ever."""

    def __init__(self, load: LoadPolicies, hash_key: Callable[[str], bytes], *, refresh_s: float = 3.0) -> None:
        self._load = load
        self._hash_key = hash_key
        self._refresh_s = refresh_s
        self._policies: Mapping[str, Policy] | None = None
        self._scrubbers: dict[str, Scrubber] = {}
        self._reread_at_s = -1e9
        self._changed = asyncio.Event()

    async def of(self, org_id: str) -> Scrubber:
        """The organization's scrubber, by its policy as last read. Raises `Unavailable` while none could be read at all.

        An organization that is not known after a fresh look is gone or brand-new: everything is scrubbed, as by default.
        """
        scrubber = self._scrubbers.get(org_id)
        if scrubber is not None:
            return scrubber
        if self._policies is None or (
            org_id not in self._policies and time.monotonic() - self._reread_at_s > UNKNOWN_REREAD_S
        ):
            await self._reread()
        assert self._policies is not None
        policy = self._policies.get(org_id, DEFAULT_POLICY)
        scrubber = self._scrubbers[org_id] = Scrubber(policy, self._hash_key(org_id))
        return scrubber

    def refresh(self) -> None:
        """Something changed: reread soon."""
        self._changed.set()

    async def keep_rereading(self) -> None:
        """Reread for ever; while the control plane is away the last policies serve on."""
        away = False
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._refresh_s):
                    await self._changed.wait()
            self._changed.clear()
            try:
                await self._reread()
            except Unavailable as exc:
                if not away:
                    log.warning("cannot reread privacy policies, the last known ones serve on: %s", exc)
                away = True
            else:
                away = False

    async def _reread(self) -> None:
        began = time.monotonic()
        policies = await self._load()
        for org_id, scrubber in list(self._scrubbers.items()):
            if policies.get(org_id, DEFAULT_POLICY) != scrubber.policy:
                del self._scrubbers[org_id]
        self._policies = policies
        self._reread_at_s = began
