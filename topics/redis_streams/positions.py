"""Where a group goes on in a partition: its committed offset in, a track behind it out, with the stream made fit for it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from topics.redis_streams.entries import entry_id, last_offset
from topics.redis_streams.keys import Keys
from topics.redis_streams.lane import Track
from topics.redis_streams.wire import ReplyError, later_or_never

log = logging.getLogger(__name__)

Ask = Callable[..., Awaitable[list[Any]]]
"""Sends commands and returns their replies, errors in place."""


async def begin_track(ask: Ask, keys: Keys, group: str, topic: str, partition: int) -> Track:
    """Register the group if a flush has forgotten it, and return a track behind its last commit. Raises Unavailable.

    A stream that was deleted or lost its end goes on with its numbers, or new entries would count as processed.
    """
    stream, committed = keys.stream(topic, partition), keys.committed(topic, partition)
    *_, offset, info = await ask(
        ("HSETNX", committed, group, 1),
        ("XGROUP", "CREATE", stream, group, 0, "MKSTREAM"),
        ("HGET", committed, group),
        ("XINFO", "STREAM", stream),
    )
    for reply in (offset, info):
        if isinstance(reply, ReplyError):
            raise later_or_never(reply)
    track = Track(int(offset))
    last = last_offset(info)
    if last < track.committed - 1:
        log.warning("%s ended at %d although %d was committed; its numbers go on", stream, last, track.committed)
        (moved,) = await ask(("XSETID", stream, entry_id(track.committed - 1)))
        if isinstance(moved, ReplyError):
            raise later_or_never(moved)
    track.highest = max(last, track.committed - 1)
    return track
