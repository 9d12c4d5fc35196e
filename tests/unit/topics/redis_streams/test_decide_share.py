"""Who should hold what: everybody the same, moving as little as possible."""

from __future__ import annotations

from math import ceil

import pytest

from topics.redis_streams.leases import View, decide_share


def settle(members: list[str], owners: list[str]) -> tuple[list[str], int]:
    """Let every member do what it should until nothing changes; return the owners and how many partitions moved."""
    moved: set[int] = set()
    for _ in range(20):
        before = list(owners)
        for member in members:
            wanted = decide_share(View(members, owners, {}), member)
            for partition in wanted.surplus:
                owners[partition] = ""
                moved.add(partition)
            wanted = decide_share(View(members, owners, {}), member)
            for partition in wanted.free[: wanted.take_at_most]:
                owners[partition] = member
        if owners == before:
            return owners, len(moved)
    raise AssertionError(f"does not settle: {owners}")


@pytest.mark.parametrize("partitions", [1, 4, 7, 16])
@pytest.mark.parametrize("members", [1, 2, 3, 5])
def test_everything_is_owned_and_shared_evenly(partitions: int, members: int) -> None:
    names = [f"m{n}" for n in range(members)]
    owners, _ = settle(names, [""] * partitions)
    counts = [owners.count(name) for name in names]
    assert sum(counts) == partitions
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("partitions", [4, 7, 16])
def test_a_join_moves_at_most_its_share(partitions: int) -> None:
    names = ["b", "c", "d"]
    owners, _ = settle(names, [""] * partitions)
    names = ["a", *names]
    owners, moved = settle(names, owners)
    assert moved <= ceil(partitions / len(names))
    assert "" not in owners


def test_a_leave_moves_only_what_was_left() -> None:
    owners, _ = settle(["a", "b", "c"], [""] * 16)
    kept = {p: owner for p, owner in enumerate(owners) if owner != "b"}
    owners, moved = settle(["a", "c"], ["" if owner == "b" else owner for owner in owners])
    assert moved == 0
    assert all(owners[p] == owner for p, owner in kept.items())
