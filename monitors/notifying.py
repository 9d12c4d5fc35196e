"""A transition and what is known around it -> which channels are told, and why the others are not. No I/O.

- A breach, and each reminder of it, goes to the monitor's channels, unless the monitor is muted or a downtime holds. When that
  ends while the breach goes on, it is told then.
- A recovery goes to those who were told of the breach and to nobody else, also during a downtime, so that nobody is left with an
  incident that is over (as Datadog does).
- A reminder is not sent of what somebody has acknowledged or resolved.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from monitors.downtimes import Downtime

QUEUE_MAX: Final = 10_000
"""Notifications that may wait for one channel; what comes after them is not told, and says so."""


@dataclass(frozen=True, slots=True)
class Silence:
    """A downtime, or the mute of one monitor."""

    downtime: Downtime
    muted_monitor_id: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A channel: whether it is switched on, and how much waits for it."""

    enabled: bool = True
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Occasion:
    """A transition of a group (`repeat` 0) or a reminder of it, as things stand. `goes_on`: it has not ended."""

    monitor_id: str
    labels: Mapping[str, str]
    state: str
    repeat: int = 0
    goes_on: bool = True
    acknowledged: bool = False
    monitor_enabled: bool = True
    tags: Collection[str] = ()


class Decision(NamedTuple):
    """A channel is told when `reason` is empty. Otherwise `look_again_at` is when that may be otherwise, None for never."""

    channel_id: str
    reason: str = ""
    look_again_at: datetime | None = None


def decide(
    occasion: Occasion,
    *,
    channels: Sequence[str],
    places: Mapping[str, Place],
    told: Collection[str],
    silences: Sequence[Silence],
    at: datetime,
) -> list[Decision]:
    """Who is told. `channels` are the monitor's, `told` those that know of the breach; ids that `places` lacks are gone."""
    if occasion.state == "OK":
        others = [id_ for id_ in channels if id_ not in told]
        return [
            *(Decision(id_, _why_not_to(places[id_])) for id_ in sorted(told) if id_ in places),
            *(Decision(id_, "not_told") for id_ in others if id_ in places),
        ]
    reason, look_again_at = _why_not(occasion, silences, at)
    return [
        Decision(id_, reason or _why_not_to(places[id_]), look_again_at if reason else None)
        for id_ in channels
        if id_ in places
    ]


def _why_not(occasion: Occasion, silences: Sequence[Silence], at: datetime) -> tuple[str, datetime | None]:
    """Why nobody is told of a breach, "" when somebody is."""
    if not occasion.monitor_enabled:
        return "monitor_disabled", None
    if occasion.repeat and not occasion.goes_on:
        return "resolved", None
    if occasion.repeat and occasion.acknowledged:
        return "acknowledged", None
    for silence in silences:
        if silence.muted_monitor_id not in (None, occasion.monitor_id):
            continue
        if silence.downtime.concerns(occasion.monitor_id, occasion.tags, occasion.labels) and (
            until := silence.downtime.until(at)
        ):
            reason = "downtime" if silence.muted_monitor_id is None else "muted"
            # Only the transition is told later: a reminder has its successors.
            return reason, None if occasion.repeat else until
    return "", None


def _why_not_to(place: Place) -> str:
    if not place.enabled:
        return "channel_disabled"
    return "queue_full" if place.waiting >= QUEUE_MAX else ""
