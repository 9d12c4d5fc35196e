"""Members and API tokens in memory: control plane -> whether who bears a good token may still come in, and as what.

A token that is out cannot be called back, so what it says of a person is held against this copy with every request: who was
removed or disabled, or logged out, is refused and a changed role counts within milliseconds of the change, or within a reread
(storage/snapshots.py). While the control plane is away the last copy counts.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from query.api_token_text import ApiTokenText
from storage.api_tokens import UsableToken
from storage.changes import Change
from storage.control_plane import ControlPlane
from storage.snapshots import Snapshot
from topics.errors import AegisError

log = logging.getLogger(__name__)

USES_EVERY_S: Final = 20.0
"""How often the uses of API tokens are written down."""


@dataclass(frozen=True, slots=True)
class Known:
    """What was read: (organization, user) -> (role, e-mail); sessions that ended of late; API tokens by prefix."""

    members: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    ended_sessions: frozenset[str] = frozenset()
    api_tokens: Mapping[str, UsableToken] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CurrentMember:
    """A person as it is now."""

    role: str
    email: str


class Callers:
    """Who may come in."""

    def __init__(
        self,
        control_plane: ControlPlane,
        *,
        refresh_s: float,
        access_token_s: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`access_token_s` is for how long an access token may be out after its session has ended."""
        self._control_plane = control_plane
        self._ended_within_s = access_token_s + 60
        self._now = now
        self._known: Snapshot[Known] = Snapshot(self._load, Known(), what="members and API tokens", refresh_s=refresh_s)
        self._used: dict[str, datetime] = {}
        self._noting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read, and keep rereading. A control plane that is away does not stop the start."""
        await self._known.start()
        self._noting = asyncio.create_task(self._keep_noting())

    async def close(self) -> None:
        """Stop rereading, and write down the last uses."""
        if self._noting is not None:
            self._noting.cancel()
            with suppress(asyncio.CancelledError):
                await self._noting
            await self._note_uses()
        await self._known.close()

    def follow(self, change: Change) -> None:
        """Take notice of an announced change."""
        if change.concerns("memberships", "users", "sessions", "api_tokens"):
            self._known.refresh()

    async def member(self, org_id: str, user_id: str, session_id: str) -> CurrentMember | None:
        """The person that an access token names; None when it may not come in any more.

        "No member" is only said after a reread that began after the question, so a login works as soon as it is there.
        """
        asked = time.monotonic()
        while (found := self._known.value.members.get((org_id, user_id))) is None:
            if self._known.began >= asked:
                return None
            await self._known.reread()
        return None if session_id in self._known.value.ended_sessions else CurrentMember(*found)

    async def api_token(self, text: ApiTokenText) -> UsableToken | None:
        """The API token of a bearer; None for one that is unknown, revoked or expired, or whose secret is wrong."""
        asked = time.monotonic()
        while (found := self._known.value.api_tokens.get(text.prefix)) is None:
            if self._known.began >= asked:
                return None
            await self._known.reread()
        if not hmac.compare_digest(found.secret_hash, text.secret_hash):
            return None
        if found.expires_at is not None and found.expires_at.timestamp() <= self._now():
            return None
        self._used[found.id] = datetime.fromtimestamp(self._now() // 60 * 60, UTC)
        return found

    async def _load(self) -> Known:
        plane = self._control_plane
        # Ended sessions last: one that ends meanwhile is missed by no reread that begins after it.
        return Known(
            await plane.memberships.load(),
            api_tokens=await plane.api_tokens.load(),
            ended_sessions=await plane.sessions.load_ended(self._ended_within_s),
        )

    async def _keep_noting(self) -> None:
        while True:
            await asyncio.sleep(USES_EVERY_S)
            await self._note_uses()

    async def _note_uses(self) -> None:
        """Write down what was used since the last time; a minute that is lost matters to nobody."""
        used, self._used = self._used, {}
        if used:
            try:
                await self._control_plane.api_tokens.note_uses(used)
            except AegisError as exc:
                log.warning("cannot note the use of API tokens: %s", exc)
