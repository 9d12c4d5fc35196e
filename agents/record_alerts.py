"""Records alerts: topic `alerts` -> an alert each in the control plane and, in the same transaction, who is told of it.

What has come while one transaction is under way goes into the next, so that a flood of transitions costs few of them, and one
alone waits for nothing. Each event is acknowledged behind its transaction; a message that comes again changes nothing, so also a
worker that has just lost a partition may finish what it has of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from prometheus_client import Counter

from agents.delivery import Delivery
from channels.notification import Notification, encode
from monitors.downtimes import parse_downtime
from monitors.notifying import Decision, Occasion, Place, Silence, decide
from monitors.templates import parse_template
from storage.downtimes import StoredDowntime
from storage.notifications import AlertFacts, Decide, NewNotification, Suppressed, WatchedMonitor
from topics.errors import Refused
from topics.timestamps import format_timestamp
from topics.transitions import AlertMessage, decode, group_labels

RECORDED = Counter("aegis_alerts_recorded_total", "Transitions and reminders recorded", ["state"])
BATCH_MAX: Final = 200
_WAITING_MAX: Final = 2_000

Record = Callable[[Sequence[AlertMessage], Decide], Awaitable[list[AlertMessage]]]


class RecordAlerts:
    """The agent. `record` writes (storage/notifications.py), `recorded` is called when something new may wait in the outbox."""

    def __init__(
        self,
        record: Record,
        delivery: Delivery,
        *,
        recorded: Callable[[], None],
        public_url: str,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._record = record
        self._delivery = delivery
        self._recorded = recorded
        self._public_url = public_url.rstrip("/")
        self._now = now
        self._waiting: list[tuple[Any, AlertMessage]] = []
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def run(self, stream: Any) -> None:
        """Take events for ever, a bounded number ahead of what is recorded."""
        writing = asyncio.create_task(self._keep_recording())
        try:
            async for event in stream.noack().events():
                try:
                    message = decode(event.message.value)
                    group_labels(message.group)
                except Refused as exc:
                    self._delivery.bury(event, exc)
                    event.ack()
                    continue
                self._waiting.append((event, message))
                self._arrived.set()
                if len(self._waiting) >= _WAITING_MAX:
                    self._room.clear()
                    await self._room.wait()
        finally:
            writing.cancel()

    async def _keep_recording(self) -> None:
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while batch := self._next_batch():
                    await self._record_batch(batch)
        except Exception as exc:
            await self._delivery.give_up(exc)

    def _next_batch(self) -> list[tuple[Any, AlertMessage]]:
        """The next events, at most one of each group of a monitor: what is decided of one counts for the next."""
        batch: list[tuple[Any, AlertMessage]] = []
        groups: set[tuple[str, str]] = set()
        for event, message in self._waiting[:BATCH_MAX]:
            if (message.monitor_id, message.group) in groups:
                break
            groups.add((message.monitor_id, message.group))
            batch.append((event, message))
        del self._waiting[: len(batch)]
        self._room.set()
        return batch

    async def _record_batch(self, batch: Sequence[tuple[Any, AlertMessage]]) -> None:
        messages = [message for _, message in batch]
        try:
            unknown = await self._delivery.until_available(
                lambda: self._record(messages, self.decide), what=f"{len(messages)} alerts"
            )
        except Refused as exc:
            if len(batch) > 1:
                # One is at fault: find it, and keep the others.
                for each in batch:
                    await self._record_batch([each])
                return
            self._delivery.bury(batch[0][0], exc)
            batch[0][0].ack()
            return
        self._recorded()
        for event, message in batch:
            if message in unknown:
                reason = f"cannot record the alert: organization {message.org_id} has no monitor {message.monitor_id}"
                self._delivery.bury(event, Refused(reason, code="unknown_monitor"))
            else:
                RECORDED.labels(message.state).inc()
            event.ack()

    def decide(self, facts: AlertFacts) -> list[NewNotification]:
        """Who is told of one message, and what; see monitors/notifying.py."""
        message, monitor = facts.message, facts.monitor
        decisions = decide(
            occasion_of(
                monitor,
                message.group,
                state=message.state,
                repeat=message.repeat,
                goes_on=facts.goes_on,
                acknowledged=facts.acknowledged,
            ),
            channels=channels_of(monitor),
            places={id_: Place(enabled, waiting) for id_, (enabled, waiting, _) in facts.channels.items()},
            told=facts.told,
            silences=silences_of(facts.downtimes),
            at=datetime.fromtimestamp(self._now(), UTC),
        )
        return [self._new(facts, decision) for decision in decisions]

    def _new(self, facts: AlertFacts, decision: Decision) -> NewNotification:
        key = dedup_key(facts.message, decision.channel_id)
        url = f"{self._public_url}/alerts/{facts.alert_id}" if self._public_url else ""
        told = notification_of(facts.message, facts.monitor, dedup_key=key, url=url)
        return NewNotification(decision.channel_id, key, encode(told), decision.reason, decision.look_again_at)


def settle(suppressed: Suppressed, downtimes: Sequence[StoredDowntime], *, at: datetime) -> tuple[str, datetime | None]:
    """Whether what a downtime held back is still held back: the reason, "" when it is told now, and when to look again."""
    if not suppressed.goes_on:
        return "ended", None
    (decision,) = decide(
        occasion_of(suppressed.monitor, suppressed.group, state=suppressed.state),
        channels=[suppressed.channel_id],
        places={suppressed.channel_id: Place()},
        told=(),
        silences=silences_of(downtimes),
        at=at,
    )
    return decision.reason, decision.look_again_at


def dedup_key(message: AlertMessage, channel_id: str) -> str:
    """What names one notification for ever: 32 hex digits of monitor, group, sequence, repeat and channel."""
    parts = (message.monitor_id, message.group, str(message.sequence), str(message.repeat), channel_id)
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def notification_of(message: AlertMessage, monitor: WatchedMonitor, *, dedup_key: str, url: str) -> Notification:
    """What is told of one message, the monitor's text filled in."""
    at = format_timestamp(message.at_ms * 1_000_000)
    facts = {
        "monitor.id": monitor.id,
        "monitor.name": monitor.name,
        "monitor.kind": monitor.kind,
        "state": message.state,
        "previous_state": message.previous_state,
        "value": "" if message.value is None else f"{message.value:.6g}",
        "threshold": "" if message.threshold is None else f"{message.threshold:.6g}",
        "group": message.group,
        "at": at,
        "url": url,
        "repeat": str(message.repeat),
    }
    labels = group_labels(message.group)
    facts |= {f"group.{name}": value for name, value in labels.items()}
    return Notification(
        state=message.state,
        previous_state=message.previous_state,
        monitor_id=monitor.id,
        monitor_name=monitor.name,
        group=message.group,
        value=message.value,
        threshold=message.threshold,
        at=at,
        dedup_key=dedup_key,
        evidence=message.evidence,
        url=url,
        message=_filled(monitor, facts),
        sequence=message.sequence,
        repeat=message.repeat,
    )


def _filled(monitor: WatchedMonitor, facts: dict[str, str]) -> str:
    text = str(monitor.definition.get("message", ""))
    try:
        return parse_template(text, group_by=monitor.definition.get("group_by", ())).fill(facts)
    except Refused:
        # It was checked when it was defined, by another version perhaps: what it says is better than nothing.
        return text


def occasion_of(monitor: WatchedMonitor, group: str, *, state: str, **facts: Any) -> Occasion:
    """What is decided about."""
    return Occasion(
        monitor_id=monitor.id,
        labels=group_labels(group),
        state=state,
        monitor_enabled=monitor.enabled,
        tags=tuple(monitor.definition.get("tags", ())),
        **facts,
    )


def channels_of(monitor: WatchedMonitor) -> list[str]:
    """The ids of a monitor's channels, each once."""
    return list(dict.fromkeys(monitor.definition.get("channels", ())))


def silences_of(downtimes: Sequence[StoredDowntime]) -> list[Silence]:
    """Downtimes as they are kept -> as they are decided by. One that cannot be read any more silences nobody."""
    silences = []
    for each in downtimes:
        try:
            silences.append(Silence(parse_downtime(dict(each.definition)), each.muted_monitor_id))
        except Refused:
            continue
    return silences
