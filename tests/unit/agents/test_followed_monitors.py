"""Monitors as they are followed: what is read again, what stays the same object, what cannot be read."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from agents.followed_monitors import FollowedMonitors
from storage.changes import ANYTHING, Change
from storage.monitors import StoredMonitor
from storage.scope import OrgScope
from topics.errors import Unavailable
from topics.names import LOGS, METRICS

ONE = "11111111-0000-4000-8000-000000000000"
TWO = "22222222-0000-4000-8000-000000000000"
CPU = {"metric": "cpu", "critical": 1}


def stored(id_: str, org_id: str = ONE, *, version: int = 1, enabled: bool = True, **definition: Any) -> StoredMonitor:
    at = datetime(2025, 1, 1, tzinfo=UTC)
    return StoredMonitor(id_, org_id, f"monitor {id_}", "metric", definition or CPU, enabled, version, at, at)


class Kept:
    """A control plane in memory, which counts what is asked of it."""

    def __init__(self, *monitors: StoredMonitor) -> None:
        self.monitors = list(monitors)
        self.away = False
        self.asked: list[str] = []

    async def load_all(self) -> list[StoredMonitor]:
        self.asked.append("all")
        if self.away:
            raise Unavailable("away")
        return [each for each in self.monitors if each.enabled]

    async def load_of(self, scope: OrgScope) -> list[StoredMonitor]:
        self.asked.append(scope.org_id)
        if self.away:
            raise Unavailable("away")
        return [each for each in self.monitors if each.organization_id == scope.org_id]

    def followed(self) -> FollowedMonitors:
        return FollowedMonitors(self.load_all, self.load_of)


async def following(monitors: FollowedMonitors, until: Any) -> None:
    task = asyncio.create_task(monitors.keep_rereading())
    try:
        async with asyncio.timeout(5):
            while not until():
                await asyncio.sleep(0.001)
    finally:
        task.cancel()


async def test_only_the_organization_that_changed_is_read_again_and_the_unchanged_stays() -> None:
    kept = Kept(stored("a"), stored("b"), stored("c", TWO))
    monitors = kept.followed()
    await monitors.reread()
    before = dict(monitors.by_id)
    kept.monitors[0] = stored("a", version=2, metric="cpu", critical=2)
    monitors.changed(Change("monitors", ONE))
    await following(monitors, lambda: monitors.by_id["a"].version == 2)
    assert kept.asked == ["all", ONE]
    assert monitors.by_id["a"].definition.critical == 2
    assert (monitors.by_id["b"], monitors.by_id["c"]) == (before["b"], before["c"])
    assert monitors.of(ONE).watches(METRICS)
    assert not monitors.of(ONE).watches(LOGS)
    assert not monitors.of("nobody").watches(METRICS)


async def test_what_is_deleted_disabled_or_of_an_organization_that_is_gone_is_watched_no_more() -> None:
    kept = Kept(stored("a"), stored("b"), stored("c", TWO))
    monitors = kept.followed()
    await monitors.reread()
    kept.monitors = [stored("a", enabled=False), stored("b")]
    monitors.changed(ANYTHING)
    generation = monitors.generation
    await following(monitors, lambda: monitors.generation > generation and "c" not in monitors.by_id)
    assert list(monitors.by_id) == ["b"]
    assert monitors.of(TWO).monitors == ()


async def test_a_definition_that_cannot_be_read_leaves_the_others() -> None:
    monitors = Kept(stored("a", metric="cpu", critical="high"), stored("b")).followed()
    await monitors.reread()
    assert list(monitors.by_id) == ["b"]


async def test_other_changes_are_not_looked_at() -> None:
    kept = Kept(stored("a"))
    monitors = kept.followed()
    await monitors.reread()
    monitors.changed(Change("api_keys", ONE))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await following(monitors, lambda: False)
    assert kept.asked == ["all"]


async def test_while_nothing_could_be_read_at_all_nothing_may_be_decided() -> None:
    kept = Kept(stored("a"))
    kept.away = True
    monitors = kept.followed()
    with pytest.raises(Unavailable):
        await monitors.require()
    kept.away = False
    await monitors.require()
    kept.away = True
    await monitors.require()
    await monitors.reread_for(ONE)
    assert "a" in monitors.by_id


async def test_something_unknown_is_asked_for_and_not_too_often() -> None:
    kept = Kept()
    monitors = kept.followed()
    await monitors.reread()
    kept.monitors.append(stored("a"))
    await monitors.reread_for(ONE)
    assert monitors.by_id == {}
    await asyncio.sleep(0.55)
    await monitors.reread_for(ONE)
    assert "a" in monitors.by_id


async def test_a_control_plane_that_is_slow_to_be_away_is_not_waited_for_with_each_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agents.followed_monitors.AGAIN_S", 0.0)
    kept = Kept(stored("1"))

    async def load_of(scope: OrgScope) -> list[StoredMonitor]:
        await asyncio.sleep(0.1)
        return await kept.load_of(scope)

    monitors = FollowedMonitors(kept.load_all, load_of)
    await monitors.reread()
    kept.away = True
    kept.asked.clear()
    for _ in range(20):
        await monitors.reread_for(ONE)
    assert len(kept.asked) == 1
