"""The alert engine without its transport: requests and time in, transitions out, at any speed.

All of it is the real thing, from a request's body to the rows of the table: only the topic between normalizing and watching is a
function call, and the table a dictionary. `restart` drops all memory, as a worker that is killed after its last commit.
"""

from __future__ import annotations

import json
from collections.abc import Coroutine
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from agents.followed_monitors import FollowedMonitors
from agents.normalize_logs import normalize_logs
from agents.normalize_metrics import normalize_metrics
from agents.normalize_rum import normalize_rum
from agents.normalize_traces import normalize_traces
from agents.watch_panes import WatchPanes
from agents.watch_parts import KeptColumns, WatchParts
from agents.watched_groups import WatchedGroups
from storage.changes import ANYTHING
from storage.monitors import StoredMonitor
from storage.scope import OrgScope
from tables.windows import WindowRows
from topics.names import LOGS, METRICS, RUM, TRACES
from topics.panes import Resolve, Tick, encode
from topics.raw import RawBatch
from topics.transitions import AlertMessage

BEGIN_MS = 1_800_000_000_000
ORG = "7f1b5a0e-3c1f-4f7e-9a39-6f9a2f6f2c11"
WATCHED = "00000000-0000-4000-8000-000000000001"

_WAYS = {
    "metrics": (METRICS, normalize_metrics),
    "logs": (LOGS, normalize_logs),
    "spans": (TRACES, normalize_traces),
    "events": (RUM, normalize_rum),
}


def finished(work: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns that has nothing to wait for."""
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits for something")


class WatchSimulation:
    """One partition of `panes` with its worker. Times are milliseconds since `BEGIN_MS`."""

    def __init__(self, *definitions: dict[str, Any]) -> None:
        self.now_ms = 0
        self.rows: dict[bytes, bytes] = {}
        self.sent: list[AlertMessage] = []
        self.stored: dict[str, StoredMonitor] = {}
        self.monitors = FollowedMonitors(self._load_all, self._load_of)
        for i, definition in enumerate(definitions, 1):
            self.define(definition, f"00000000-0000-4000-8000-{i:012}")
        self.restart()

    async def _load_all(self) -> list[StoredMonitor]:
        return list(self.stored.values())

    async def _load_of(self, scope: OrgScope) -> list[StoredMonitor]:
        return [stored for stored in self.stored.values() if stored.organization_id == scope.org_id]

    def define(self, definition: dict[str, Any], monitor_id: str = WATCHED) -> None:
        """Create a monitor, or replace its definition."""
        known = self.stored.get(monitor_id)
        kept = {name: value for name, value in definition.items() if name not in ("name", "kind")}
        moment = datetime(2027, 1, 15, tzinfo=UTC)
        version = known.version + 1 if known else 1
        name = definition.get("name", "it")
        self.stored[monitor_id] = StoredMonitor(
            monitor_id, ORG, name, definition["kind"], kept, True, version, moment, moment
        )
        finished(self.monitors.reread())

    def edit(self, change: dict[str, Any], monitor_id: str = WATCHED) -> None:
        """Change fields of a definition."""
        known = self.stored[monitor_id]
        self.define({"name": known.name, "kind": known.kind, **known.definition, **change}, monitor_id)

    def delete(self, monitor_id: str = WATCHED) -> None:
        """Delete a monitor."""
        del self.stored[monitor_id]
        self.monitors.changed(ANYTHING)
        finished(self.monitors.reread())

    def restart(self) -> None:
        """Lose all memory; rows and definitions are there again."""
        self.groups = WatchedGroups(WindowRows(self.rows), lambda _: 0)
        self.watcher = WatchPanes(
            self.groups,
            self.monitors,
            send=lambda _, message: self.sent.append(message),
            send_time=lambda _, tick: self.handle(tick),
            now=lambda: (BEGIN_MS + self.now_ms) / 1000,
        )
        finished(self.watcher.assigned({TP("panes", 0)}))

    def handle(self, message: bytes) -> None:
        """Give one message of `panes` to the agent."""
        event = SimpleNamespace(
            message=SimpleNamespace(value=message, partition=0, generation_id=1),
            app=SimpleNamespace(consumer_generation_id=1),
        )
        finished(self.watcher.watch(event))

    def run_to(self, ms: int) -> None:
        """Let time pass; ticks come in the millisecond in which something is due."""
        self.watcher.tick_where_due()
        while (due := self.groups.next_due_ms(0)) is not None and due <= BEGIN_MS + ms:
            self.now_ms = max(self.now_ms, due - BEGIN_MS)
            self.handle(encode(Tick(BEGIN_MS + self.now_ms)))
        self.now_ms = max(self.now_ms, ms)

    def send(self, collection: str, *records: dict[str, Any], late_ms: int = 0) -> None:
        """A request of records comes now; those without a time are of `late_ms` ago."""
        topic, normalize = _WAYS[collection]
        at_ms = BEGIN_MS + self.now_ms
        time_field = "start_time" if collection == "spans" else "timestamp"
        body = json.dumps({collection: [{time_field: at_ms - late_ms} | record for record in records]}).encode()
        kept = KeptColumns()
        normalize(RawBatch(ORG, "r", at_ms, 30, body), partition=0, offset=1, keep=kept)
        watched = WatchParts(self.monitors, lambda _: 0)
        if finished(watched.watches(ORG, topic)):
            for _, message in watched.messages(ORG, topic, kept.columns, at_ms):
                self.handle(message)

    def tick(self, ms: int) -> None:
        """A tick comes, of any time."""
        self.handle(encode(Tick(BEGIN_MS + ms)))

    def resolve(self, group: str, monitor_id: str = WATCHED) -> None:
        """Somebody resolves a group."""
        self.handle(encode(Resolve(ORG, monitor_id, group, BEGIN_MS + self.now_ms)))


@pytest.fixture(scope="session")
def watch_simulation() -> type[WatchSimulation]:
    """The class, to begin a simulation with its definitions."""
    return WatchSimulation
