"""Sends notifications: the outbox -> channels, each at its own pace, until every one is taken or has had its time.

Woken at once by whoever records alerts in this process, and every second for what others left. A channel that fails is tried
again with growing pauses, one message at a time, and holds few of the places that all share, so it delays no other. Where a try's
end cannot be written down, it is tried again under the same dedup key.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter as Count
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final

from prometheus_client import Counter, Histogram

from agents.bundles import backoff_s, choose_bundles, tokens_now
from agents.delivery import until_available
from agents.record_alerts import settle
from channels.definitions import Channel, Limits, with_secrets
from channels.notification import decode
from channels.sending import Outcome, Senders
from storage.downtimes import StoredDowntime
from storage.notifications import Notifications, Suppressed
from storage.outbox import LEASE_S, Bundle, Due, Outbox, Queue
from topics.errors import Refused, Unavailable

log = logging.getLogger(__name__)

POLL_S: Final = 1.0
SWEEP_EVERY_S: Final = 30.0
UNDER_WAY_MAX: Final = 100
PER_ORGANIZATION_MAX: Final = 16

Backoff = Callable[[int, float | None], float]

TRIES = Counter("aegis_notification_tries_total", "Messages to channels, by how the try went", ["kind", "outcome"])
LATENCY = Histogram(
    "aegis_notification_try_seconds",
    "What a receiver took",
    ["kind"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)


class SendNotifications:
    """The sender of one process: `wake` it when something new waits, cancel `run` and it finishes what is under way."""

    def __init__(
        self,
        outbox: Outbox,
        notifications: Notifications,
        senders: Senders,
        *,
        poll_s: float = POLL_S,
        lease_s: float = LEASE_S,
        backoff: Backoff = backoff_s,
    ) -> None:
        self._outbox = outbox
        self._notifications = notifications
        self._senders = senders
        self._poll_s = poll_s
        self._lease_s = lease_s
        self._backoff = backoff
        self._woken = asyncio.Event()
        self._under_way: set[asyncio.Task[None]] = set()
        self._of_organization: Count[str] = Count()

    def wake(self) -> None:
        """Look now."""
        self._woken.set()

    async def run(self) -> None:
        """Send for ever; waits while the control plane is away."""
        sweep_at = settle_at = 0.0
        away = False
        try:
            while True:
                self._woken.clear()
                try:
                    if time.monotonic() >= sweep_at:
                        await self._outbox.sweep()
                        sweep_at = time.monotonic() + SWEEP_EVERY_S
                    if time.monotonic() >= settle_at:
                        await self._notifications.settle_suppressed(_settle_now)
                        settle_at = time.monotonic() + self._poll_s
                    found = await self._claim()
                    away = False
                except Unavailable as exc:
                    if not away:
                        log.warning("notifications wait: %s", exc)
                    away, found = True, False
                if not found:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._poll_s):
                            await self._woken.wait()
        finally:
            await self._finish()

    async def _claim(self) -> bool:
        """Begin to send what is due and has a place. Returns whether there was anything."""
        free = UNDER_WAY_MAX - len(self._under_way)
        if free <= 0:
            return False
        busy = [each for each, count in self._of_organization.items() if count >= PER_ORGANIZATION_MAX]
        planned = Count(self._of_organization)

        def plan(queue: Queue, again: Sequence[Sequence[Due]], fresh: Sequence[Due]) -> tuple[list[list[Due]], float]:
            room = min(PER_ORGANIZATION_MAX - planned[queue.organization_id], free - planned["all"])
            bundles, tokens = plan_queue(queue, again, fresh, room=room)
            planned[queue.organization_id] += len(bundles)
            planned["all"] += len(bundles)
            return bundles, tokens

        bundles = await self._outbox.claim(plan, channels_max=free, busy=busy, lease_s=self._lease_s)
        for bundle in bundles:
            self._of_organization[bundle.queue.organization_id] += 1
            task = asyncio.create_task(self._send(bundle))
            self._under_way.add(task)
            task.add_done_callback(partial(self._done, bundle.queue.organization_id))
        return bool(bundles)

    def _done(self, organization_id: str, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._of_organization[organization_id] -= 1
        if not self._of_organization[organization_id]:
            del self._of_organization[organization_id]
        if not task.cancelled() and (exc := task.exception()) is not None:
            log.error("cannot send a notification", exc_info=exc)
        self._woken.set()

    async def _send(self, bundle: Bundle) -> None:
        outcome = await self._try(bundle)
        TRIES.labels(bundle.queue.kind, "sent" if outcome.ok else "failed").inc()
        LATENCY.labels(bundle.queue.kind).observe(outcome.latency_ms / 1000)
        # Not for ever: when the lease is over somebody else tries it.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._lease_s / 3):
                await until_available(
                    partial(self._write_down, bundle, outcome), who="send_notifications", what="the outbox"
                )

    async def _try(self, bundle: Bundle) -> Outcome:
        queue = bundle.queue
        if queue.problem:
            return Outcome(0.0, error=queue.problem, is_receivers=True)
        try:
            channel = channel_of(queue)
            told = [decode(each.payload) for each in bundle.notifications]
        except Refused as exc:
            return Outcome(0.0, error=exc.reason)
        key = bundle.notifications[0].dedup_key if len(told) == 1 else bundle.id
        return await self._senders.send(channel, told, key)

    async def _write_down(self, bundle: Bundle, outcome: Outcome) -> None:
        if outcome.ok:
            await self._outbox.sent(bundle, status=outcome.status)
            return
        tries = bundle.queue.failures if outcome.is_receivers else bundle.attempts
        if tries == 0:
            log.warning("channel %s fails: %s", bundle.queue.channel_id, outcome.error)
        await self._outbox.failed(
            bundle,
            error=outcome.error,
            status=outcome.status,
            again_in_s=self._backoff(tries + 1, outcome.retry_after_s),
            blocks_channel=outcome.is_receivers,
        )

    async def _finish(self) -> None:
        """What is under way ends within a try's time; what does not is tried again by others when its lease is over."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=5.0)
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)


def plan_queue(
    queue: Queue, again: Sequence[Sequence[Due]], fresh: Sequence[Due], *, room: int
) -> tuple[list[list[Due]], float]:
    """What of a channel is sent now, at most `room` messages. One that fails is asked with one message alone."""
    try:
        limits = channel_of(queue).limits
    except Refused as exc:
        log.warning("channel %s cannot be used: %s", queue.channel_id, queue.problem or exc.reason)
        # Tried all the same, so that the reason is written down with it.
        limits = Limits(per_s=1.0, burst=1.0, at_once=1, group_wait_s=0.0)
    tokens = tokens_now(limits, queue.tokens, queue.since_s)
    free = min(room, (1 if queue.failures else limits.at_once) - queue.under_way)
    return choose_bundles(again, fresh, limits=limits, tokens=tokens, free=free)


def channel_of(queue: Queue) -> Channel:
    """A queue -> what can be sent to. Raises `Refused` for a config that this version does not know, or without its secrets."""
    return with_secrets(queue.channel_id, queue.name, queue.kind, queue.config, queue.secrets)


def _settle_now(suppressed: Suppressed, downtimes: Sequence[StoredDowntime]) -> tuple[str, datetime | None]:
    return settle(suppressed, downtimes, at=datetime.now(UTC))
