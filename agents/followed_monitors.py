"""The monitors of every organization, from the control plane -> what is watched now, without I/O in most cases.

Read again, one organization at a time, when the control plane announces a change, and as a whole every `refresh_s` in case an
announcement was lost. While the control plane is away the last known monitors are watched on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final

from prometheus_client import Gauge

from monitors.definitions import parse_stored
from monitors.monitor_set import MonitorSet
from monitors.watched import WatchedMonitor
from storage.changes import Change
from storage.monitors import StoredMonitor
from storage.scope import OrgScope
from topics.errors import Refused, Unavailable

log = logging.getLogger(__name__)

WATCHED = Gauge("aegis_monitors_watched", "Monitors that this worker knows and watches")
UNREADABLE = Gauge("aegis_monitors_unreadable", "Enabled monitors whose definition this version cannot read")

AGAIN_S: Final = 0.5
"""Least time between two readings that something unknown causes, and between two of everything."""

REST: Final = 4.0
"""So many times as long as a reading kept this worker busy, or who asks for it waiting, nothing is read again."""

CATCH_UP_S: Final = 1.0
"""Most time that a batch waits for a change that was announced and is being read."""

BEHIND_S: Final = 5.0
"""So long after that was not enough nothing of the organization waits: its changes come faster than they can be read."""

LoadAll = Callable[[], Awaitable[list[StoredMonitor]]]
LoadOf = Callable[[OrgScope], Awaitable[list[StoredMonitor]]]

_NONE = MonitorSet(())


class FollowedMonitors:
    """What is watched. `generation` grows with every change; a monitor that is not changed stays the same object."""

    def __init__(self, load_all: LoadAll, load_of: LoadOf, *, refresh_s: float = 60.0) -> None:
        self._load_all = load_all
        self._load_of = load_of
        self._refresh_s = refresh_s
        self._by_id: dict[str, WatchedMonitor] = {}
        self._sets: dict[str, MonitorSet] = {}
        self._unreadable: dict[str, int] = {}
        self._known = False
        self._read_at_s = -1e9
        self._asked_again_s = -1e9
        self._changed = asyncio.Event()
        self._changed_organizations: set[str] = set()
        self._all_changed = False
        self._unread: set[str] = set()
        self._read = asyncio.Event()
        self._hasty_until_s: dict[str, float] = {}
        self._reading = asyncio.Lock()
        self.generation = 0

    @property
    def known(self) -> bool:
        """Whether they could be read at all by now."""
        return self._known

    @property
    def by_id(self) -> Mapping[str, WatchedMonitor]:
        """Every monitor that is watched."""
        return self._by_id

    async def require(self) -> None:
        """Raise `Unavailable` while nothing could be read at all: what is not known would pass for deleted."""
        if not self._known:
            await self.reread()

    async def catch_up(self, org_id: str) -> None:
        """Wait until what was announced of an organization's monitors is read: who creates one may send data to it at once."""
        if org_id not in self._unread or time.monotonic() < self._hasty_until_s.get(org_id, 0.0):
            return
        try:
            async with asyncio.timeout(CATCH_UP_S):
                while org_id in self._unread:
                    await self._read.wait()
        except TimeoutError:
            now = time.monotonic()
            self._hasty_until_s = {key: until for key, until in self._hasty_until_s.items() if until > now}
            self._hasty_until_s[org_id] = now + BEHIND_S

    def of(self, org_id: str) -> MonitorSet:
        """The monitors of one organization."""
        return self._sets.get(org_id, _NONE)

    def changed(self, change: Change) -> None:
        """The control plane has changed: read again soon what may be concerned."""
        if not change.concerns("monitors", "organizations"):
            return
        if change.table == "monitors" and change.organization_id:
            self._changed_organizations.add(change.organization_id)
            self._unread.add(change.organization_id)
        else:
            self._all_changed = True
        self._changed.set()

    async def reread_for(self, org_id: str) -> None:
        """Read an organization's monitors because somebody knows one that is not known here; not too often. Never raises."""
        began = time.monotonic()
        if began - self._read_at_s < AGAIN_S or began < self._asked_again_s:
            return
        with suppress(Unavailable):
            await self._reread_one(org_id)
        # Whoever asks waits for it: where PostgreSQL takes seconds to be away, watching must not spend all its time on that.
        ended = time.monotonic()
        self._asked_again_s = ended + REST * (ended - began)

    async def keep_rereading(self) -> None:
        """Follow the control plane for ever."""
        away = False
        self._changed.set()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S if away or not self._known else self._refresh_s):
                    await self._changed.wait()
            timed_out = not self._changed.is_set()
            self._changed.clear()
            began, busy = time.monotonic(), time.thread_time()
            try:
                if timed_out or self._all_changed or not self._known:
                    await self.reread()
                else:
                    for org_id in list(self._changed_organizations):
                        await self._reread_one(org_id)
            except Unavailable as exc:
                if not away:
                    log.warning("cannot reread monitors, the last known ones are watched on: %s", exc)
                away = self._all_changed = True
                self._note_read(set())
            else:
                away = False
            # An import of ten thousand monitors announces each; reading all of them again for each would leave no time to watch.
            # One that only waited for PostgreSQL took none of it, and who waits for what it brings does not wait as long again.
            await asyncio.sleep(REST * min(time.monotonic() - began, time.thread_time() - busy))

    async def reread(self) -> None:
        """Read everything. Raises `Unavailable`."""
        async with self._reading:
            self._all_changed = False
            self._changed_organizations.clear()
            self._read_at_s = time.monotonic()
            by_org: dict[str, list[StoredMonitor]] = {org_id: [] for org_id in self._sets}
            for stored in await self._load_all():
                by_org.setdefault(stored.organization_id, []).append(stored)
            for org_id, monitors in by_org.items():
                self._take(org_id, monitors)
            self._known = True
            self._note_read(self._changed_organizations)

    async def _reread_one(self, org_id: str) -> None:
        async with self._reading:
            self._changed_organizations.discard(org_id)
            self._read_at_s = time.monotonic()
            try:
                stored = await self._load_of(OrgScope(org_id))
            except Unavailable:
                self._changed_organizations.add(org_id)  # Whoever reads next must not take it for read.
                raise
            self._take(org_id, [each for each in stored if each.enabled])
            self._note_read(self._unread - {org_id} | self._changed_organizations)

    def _note_read(self, unread: Iterable[str]) -> None:
        """What is unread now; what was announced while it was read is to be read again."""
        self._unread = set(unread)
        self._read.set()
        self._read = asyncio.Event()

    def _take(self, org_id: str, stored: Iterable[StoredMonitor]) -> None:
        """Take over what an organization watches now."""
        before = {monitor.id: monitor for monitor in self.of(org_id).monitors}
        monitors: list[WatchedMonitor] = []
        unreadable = 0
        for each in stored:
            known = before.get(each.id)
            if known is not None and known.version == each.version:
                monitors.append(known)
                continue
            try:
                definition = parse_stored(each.name, each.kind, each.definition)
            except Refused as exc:
                log.error("cannot watch monitor %s of organization %s: %s: %s", each.id, org_id, exc.path, exc.reason)
                unreadable += 1
                continue
            monitors.append(WatchedMonitor(each.id, org_id, each.version, definition))
        self._unreadable[org_id] = unreadable
        if {monitor.id: monitor for monitor in monitors} == before:
            return
        for monitor_id in before:
            del self._by_id[monitor_id]
        self._by_id.update({monitor.id: monitor for monitor in monitors})
        # Who changes a monitor again and again gets no more time by it.
        self._sets[org_id] = MonitorSet(monitors, self._sets[org_id].allowance if org_id in self._sets else None)
        if not monitors:
            del self._sets[org_id]
        self.generation += 1
        WATCHED.set(len(self._by_id))
        UNREADABLE.set(sum(self._unreadable.values()))
