"""A channel -> a test notification sent to it, and how that went. Nothing of what the receiver says but its status is shown."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Final

from channels.definitions import with_secrets
from channels.notification import TEST, Notification
from channels.sending import Senders
from storage.channels import StoredChannel
from storage.control_plane import ControlPlane
from storage.scope import OrgScope
from topics.errors import RateLimited, Refused
from topics.timestamps import format_timestamp

A_MINUTE_MAX: Final = 30
"""Tests of an organization that one process sends a minute: they go where somebody has chosen."""


class Trying:
    """Sends tests, at once and past the outbox."""

    def __init__(self, control_plane: ControlPlane, senders: Senders, now: Callable[[], float]) -> None:
        self._control_plane = control_plane
        self._senders = senders
        self._now = now
        self._sent: dict[tuple[str, int], int] = {}

    async def send(
        self, scope: OrgScope, channel: StoredChannel, *, monitor_id: str = "", monitor_name: str = ""
    ) -> Any:
        """Send one, and say `{channel_id, name, kind, ok, status, latency_ms, error}`. A channel that works is unblocked."""
        self._count(scope)
        notification = Notification(
            kind=TEST,
            state="ALERT",
            previous_state="OK",
            monitor_id=monitor_id,
            monitor_name=monitor_name or "test",
            group="*",
            value=1.0,
            threshold=0.5,
            at=format_timestamp(int(self._now() * 1000) * 1_000_000),
            dedup_key=uuid.uuid4().hex,
            evidence={"why": "somebody tests this channel"},
            message="This is a test of a channel. Nothing is wrong.",
        )
        secrets = await self._control_plane.channels.open_secrets(scope, channel.id)
        usable = with_secrets(channel.id, channel.name, channel.kind, channel.config, secrets)
        outcome = await self._senders.send(usable, [notification], notification.dedup_key)
        if outcome.ok and channel.failures:
            await self._control_plane.outbox.unblock(scope, channel.id)
        return {
            "channel_id": channel.id,
            "name": channel.name,
            "kind": channel.kind,
            "ok": outcome.ok,
            "status": outcome.status,
            "latency_ms": round(outcome.latency_ms, 1),
            "error": outcome.error,
        }

    def _count(self, scope: OrgScope) -> None:
        minute = int(self._now() // 60)
        self._sent = {key: count for key, count in self._sent.items() if key[1] == minute}
        count = self._sent[scope.org_id, minute] = self._sent.get((scope.org_id, minute), 0) + 1
        if count > A_MINUTE_MAX:
            left_s = 60 - self._now() % 60
            reason = f"cannot send: {A_MINUTE_MAX} tests a minute are enough"
            raise RateLimited(reason, retry_after_s=left_s, limit=A_MINUTE_MAX, reset_s=int(left_s) + 1)


async def found_channels(control_plane: ControlPlane, scope: OrgScope, ids: list[str]) -> list[StoredChannel]:
    """The channels of a monitor that are still there."""
    channels = []
    for id_ in ids:
        try:
            channels.append(await control_plane.channels.get(scope, id_))
        except Refused:
            continue
    return channels
