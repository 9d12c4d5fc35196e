"""Questions in; each one's turn out: how many of an organization this process answers at once, and who is told to come again."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from prometheus_client import Counter, Gauge

from query.limits import Limits, RoleLimits
from query.tokens import Role
from storage.scope import OrgScope
from topics.errors import RateLimited

WAIT_S: Final = 2.0
"""How long a question waits for its turn; a page of an interface that asks ten at once gets them one after the other."""
WAITING_MAX: Final = 64
"""Questions of one organization that wait; the next one is refused at once."""

_UNDER_WAY = Gauge("aegis_query_questions", "Questions that have their turn now")
_REFUSED = Counter("aegis_query_turns_refused_total", "Questions that got no turn in time")


class _Organization:
    """`waiting`: each with the number under way that it waits to see the organization below, oldest first."""

    __slots__ = ("under_way", "waiting")

    def __init__(self) -> None:
        self.under_way = 0
        self.waiting: deque[tuple[int, asyncio.Future[None]]] = deque()


class Admission:
    """The turns of one process, by organization. Each role has its own bound on what is under way (`RoleLimits`)."""

    def __init__(self, limits: Limits, *, wait_s: float = WAIT_S, waiting_max: int = WAITING_MAX) -> None:
        self.limits = limits
        self._wait_s = wait_s
        self._waiting_max = waiting_max
        self._organizations: dict[str, _Organization] = {}

    def under_way(self, scope: OrgScope) -> int:
        """Questions of the organization that have their turn now."""
        organization = self._organizations.get(scope.org_id)
        return 0 if organization is None else organization.under_way

    async def take(self, scope: OrgScope, role: Role) -> RoleLimits:
        """Wait for a turn, for who calls `let_go` afterwards; returns the limits that hold. Raises `RateLimited`."""
        limits = self.limits.of(scope, role)
        organization = self._organizations.setdefault(scope.org_id, _Organization())
        if organization.under_way >= limits.concurrent_max:
            # Who waits gets a turn from `let_go`, counted already.
            await self._wait(scope, organization, limits.concurrent_max, role)
        else:
            organization.under_way += 1
            _UNDER_WAY.inc()
        return limits

    def let_go(self, scope: OrgScope) -> None:
        """End a turn; the first in line who may gets it."""
        organization = self._organizations[scope.org_id]
        organization.under_way -= 1
        _UNDER_WAY.dec()
        for place, (bound, turn) in enumerate(organization.waiting):
            if not turn.done() and organization.under_way < bound:
                organization.under_way += 1
                _UNDER_WAY.inc()
                turn.set_result(None)
                del organization.waiting[place]
                break
        if not organization.under_way and not organization.waiting:
            del self._organizations[scope.org_id]

    async def _wait(self, scope: OrgScope, organization: _Organization, bound: int, role: Role) -> None:
        if len(organization.waiting) < self._waiting_max:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            place = (bound, turn)
            organization.waiting.append(place)
            try:
                async with asyncio.timeout(self._wait_s):
                    await turn
                return
            except TimeoutError:
                self._give_up(scope, organization, place)
            except BaseException:
                self._give_up(scope, organization, place)
                raise
        _REFUSED.inc()
        raise RateLimited(
            f"cannot answer: {bound} questions of this organization are under way, as many as may be when a {role} asks"
            f" (concurrent = {bound})",
            retry_after_s=1.0,
            limit=bound,
            reset_s=1,
        )

    def _give_up(self, scope: OrgScope, organization: _Organization, place: tuple[int, asyncio.Future[None]]) -> None:
        """Leave the line; a turn that was given in the same moment goes to the next."""
        if place in organization.waiting:
            organization.waiting.remove(place)
        else:
            self.let_go(scope)


class Turn:
    """One request's turn: taken when it is known who asks, ended with the request."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._scope: OrgScope | None = None

    async def take(self, scope: OrgScope, role: Role) -> RoleLimits:
        """The turn, once a request, and the limits that hold. Raises `RateLimited`."""
        if self._scope is not None:
            return self._admission.limits.of(scope, role)
        limits = await self._admission.take(scope, role)
        self._scope = scope
        return limits

    def end(self) -> None:
        """End it if it was taken."""
        if self._scope is not None:
            self._admission.let_go(self._scope)
            self._scope = None
