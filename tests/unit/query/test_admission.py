"""How many questions of an organization are answered at once."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Mapping
from typing import Any

import pytest

from query.admission import Admission, Turn
from query.limits import Limits
from query.tokens import Role
from storage.query_settings import LimitSettings, QuerySettings
from storage.scope import OrgScope
from topics.errors import RateLimited

OURS, THEIRS = (OrgScope(str(uuid.uuid4())) for _ in range(2))
BOUNDS: dict[Role, int] = {"viewer": 2, "member": 3, "admin": 5}
SETTINGS = QuerySettings(**{role: LimitSettings(concurrent=bound) for role, bound in BOUNDS.items()})


def admission(**options: Any) -> Admission:
    return Admission(Limits(SETTINGS), **options)


async def test_each_role_has_its_bound_on_what_the_organization_asks() -> None:
    turns = admission(wait_s=0.01)
    for role, taken in (("viewer", 2), ("member", 1), ("admin", 2)):
        for _ in range(taken):
            await turns.take(OURS, role)  # type: ignore[arg-type]  # a role of the table above
        with pytest.raises(RateLimited) as caught:
            await turns.take(OURS, role)  # type: ignore[arg-type]  # as above
        assert f"concurrent = {caught.value.limit}" in caught.value.reason
    assert turns.under_way(OURS) == 5
    assert (await turns.take(THEIRS, "viewer")).concurrent_max == 2


async def test_who_waits_is_next_in_order_and_only_when_their_role_may() -> None:
    turns = admission(wait_s=5)
    for _ in range(5):
        await turns.take(OURS, "admin")
    order: list[str] = []

    async def ask(name: str, role: Role) -> None:
        await turns.take(OURS, role)
        order.append(name)

    asking = []
    for name, role in (("v1", "viewer"), ("a1", "admin"), ("m1", "member"), ("a2", "admin")):
        asking.append(asyncio.create_task(ask(name, role)))
        await asyncio.sleep(0)
    for expected in (["a1"], ["a1", "a2"], ["a1", "a2"], ["a1", "a2"]):
        turns.let_go(OURS)
        await asyncio.sleep(0.001)
        assert order == expected
    turns.let_go(OURS)
    await asyncio.sleep(0.001)
    assert order == ["a1", "a2", "m1"]
    turns.let_go(OURS)
    turns.let_go(OURS)
    await asyncio.gather(*asking)
    assert order[-1] == "v1"


async def test_a_full_line_refuses_at_once() -> None:
    turns = admission(wait_s=60, waiting_max=1)
    for _ in range(2):
        await turns.take(OURS, "viewer")
    waiting = asyncio.create_task(turns.take(OURS, "viewer"))
    await asyncio.sleep(0)
    async with asyncio.timeout(1):
        with pytest.raises(RateLimited):
            await turns.take(OURS, "viewer")
    turns.let_go(OURS)
    await waiting


async def test_no_turn_is_lost_whoever_gives_up_when() -> None:
    """Tasks that wait, time out, are cancelled in the moment in which they get their turn, or hold it for a while."""
    turns = admission(wait_s=0.004)
    dice = random.Random(7)
    most = 0

    async def ask(role: Role) -> None:
        nonlocal most
        turn = Turn(turns)
        try:
            bound = (await turn.take(OURS, role)).concurrent_max
            most = max(most, turns.under_way(OURS))
            assert turns.under_way(OURS) <= max(bound, BOUNDS["admin"])
            await asyncio.sleep(dice.random() * 0.004)
        except RateLimited:
            pass
        finally:
            turn.end()

    roles: list[Role] = ["viewer", "member", "admin"]
    asking: list[asyncio.Task[None]] = []
    for _ in range(600):
        asking.append(asyncio.create_task(ask(dice.choice(roles))))
        if dice.random() < 0.5:
            await asyncio.sleep(dice.random() * 0.001)
        if dice.random() < 0.4:
            dice.choice(asking).cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    assert not [each for each in asking if not each.cancelled() and each.exception() is not None]
    assert most == BOUNDS["admin"]
    assert turns.under_way(OURS) == 0


async def test_a_request_takes_one_turn() -> None:
    async def load() -> Mapping[str, QuerySettings]:
        return {}

    turns = Admission(Limits(SETTINGS, load))
    turn = Turn(turns)
    for _ in range(3):
        await turn.take(OURS, "viewer")
    assert turns.under_way(OURS) == 1
    turn.end()
    turn.end()
    assert turns.under_way(OURS) == 0
