"""Settings -> the dead letters kept within their bound, by every worker, now and then. What is removed is said and counted.

Letters count toward Redis' memory like everything else: without a bound, enough of them would have the gateway refuse everybody.
"""

from __future__ import annotations

import asyncio
import logging

from prometheus_client import Counter

from aegis.settings import Settings
from aegis.wiring import opened_stream_store
from topics.dead_letters import DeadLetters
from topics.errors import Refused, Unavailable

log = logging.getLogger(__name__)

REMOVED = Counter("aegis_dead_letters_removed_total", "Dead letters removed to keep their bound, by this process")


async def keep_dead_letters_bounded(settings: Settings, *, every_s: float = 15.0) -> None:
    """Do so until cancelled. Returns at once when the bound is switched off."""
    if not settings.dead_letters_bytes_max:
        return
    async with opened_stream_store(settings) as store:
        letters = DeadLetters(store)
        while True:
            try:
                removed = await letters.bound(settings.dead_letters_bytes_max)
            except (Unavailable, Refused) as exc:
                # A group of somebody's own reads them, or Redis is away: the next time may do.
                log.warning("cannot bound the dead letters: %s", exc)
            else:
                if removed.messages:
                    REMOVED.inc(removed.messages)
                    log.warning(
                        "removed the oldest %d dead letters (%d KiB): more than AEGIS_DEAD_LETTERS_BYTES_MAX (%d MiB) were kept",
                        removed.messages,
                        removed.size_bytes >> 10,
                        settings.dead_letters_bytes_max >> 20,
                    )
            await asyncio.sleep(every_s)
