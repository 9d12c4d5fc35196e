"""The directory of keys: when it rereads, and that an older reread never undoes a newer one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.keys import IngestKey, KeyDirectory
from topics.errors import Refused

ORG = "0c6f1a3e-6b0e-4a52-9f0a-6a3f6f1f2b11"
KEY = IngestKey(prefix="obs_abc123", secret=b"s", org_id=ORG, signals=frozenset({"logs"}), retention_days=30)


class SlowKeys:
    """A control plane whose answers take `takes_s`, and hold what was so when they were asked for."""

    def __init__(self) -> None:
        self.keys = [KEY]
        self.takes_s = 0.0
        self.loads = 0

    async def load(self) -> list[IngestKey]:
        self.loads += 1
        seen, takes_s = list(self.keys), self.takes_s
        await asyncio.sleep(takes_s)
        return seen


@pytest.fixture
def control_plane() -> SlowKeys:
    return SlowKeys()


@pytest.fixture
async def directory(control_plane: SlowKeys) -> AsyncIterator[KeyDirectory]:
    directory = KeyDirectory(control_plane.load, refresh_s=60)
    await directory.start()
    yield directory
    await directory.close()


async def _gone(directory: KeyDirectory, within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while directory.known(KEY.prefix) is not None:
            await asyncio.sleep(0.002)


async def test_an_announced_change_is_seen_at_once(directory: KeyDirectory, control_plane: SlowKeys) -> None:
    control_plane.keys.clear()
    await asyncio.sleep(0.1)
    assert directory.known(KEY.prefix) is not None, "nothing was announced yet"
    directory.refresh()
    await _gone(directory, 1.0)


async def test_a_change_during_a_reread_causes_another(directory: KeyDirectory, control_plane: SlowKeys) -> None:
    control_plane.takes_s = 0.1
    directory.refresh()
    await asyncio.sleep(0.05)
    assert control_plane.loads == 2
    control_plane.keys.clear()
    directory.refresh()
    await _gone(directory, 2.0)


async def test_a_thousand_changes_are_a_few_rereads(directory: KeyDirectory, control_plane: SlowKeys) -> None:
    for _ in range(100):
        for _ in range(10):
            directory.refresh()
        await asyncio.sleep(0.002)
    await asyncio.sleep(0.1)
    assert 2 <= control_plane.loads <= 12


async def test_a_slow_reread_does_not_bring_back_a_revoked_key(
    directory: KeyDirectory, control_plane: SlowKeys
) -> None:
    control_plane.takes_s = 0.4
    asking = asyncio.create_task(directory.find("obs_unknown"))
    while control_plane.loads < 2:
        await asyncio.sleep(0.002)
    control_plane.takes_s = 0.0
    control_plane.keys.clear()
    directory.refresh()
    await _gone(directory, 0.2)
    with pytest.raises(Refused):
        await asking
    await asyncio.sleep(0.5)
    assert directory.known(KEY.prefix) is None
