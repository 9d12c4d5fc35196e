"""What is due on a channel, and what it may be sent now -> bundles: the notifications that go out in one message each. No I/O."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from channels.definitions import Limits
from storage.outbox import Due

BACKOFF_FIRST_S: Final = 1.0
BACKOFF_MAX_S: Final = 300.0


def tokens_now(limits: Limits, tokens: float | None, since_s: float) -> float:
    """What is in the bucket, which held `tokens` (None: all) `since_s` seconds ago."""
    return limits.burst if tokens is None else min(limits.burst, tokens + max(0.0, since_s) * limits.per_s)


def choose_bundles(
    again: Sequence[Sequence[Due]], fresh: Sequence[Due], *, limits: Limits, tokens: float, free: int
) -> tuple[list[list[Due]], float]:
    """Bundles to send now, at most `free`, each for one token; returns the tokens that are left, too.

    What was tried before comes first, as it was. Then each notification by itself; on a channel that gathers, those of one
    monitor together; and all together when more is due than there are tokens, so that a flood is told shortly rather than late.
    """
    bundles: list[list[Due]] = []
    for bundle in again:
        if tokens >= 1 and len(bundles) < free:
            bundles.append(list(bundle))
            tokens -= 1
    for bundle in _formed(fresh, limits, tokens):
        if tokens >= 1 and len(bundles) < free:
            bundles.append(bundle)
            tokens -= 1
    return bundles, tokens


def _formed(fresh: Sequence[Due], limits: Limits, tokens: float) -> list[list[Due]]:
    if limits.group_wait_s:
        by_monitor: dict[str, list[Due]] = {}
        for each in fresh:
            by_monitor.setdefault(each.monitor_id, []).append(each)
        formed = [members for members in by_monitor.values() if any(each.due for each in members)]
    else:
        formed = [[each] for each in fresh]
    if len(formed) > tokens:
        return [[each for members in formed for each in members]]
    return formed


def backoff_s(tries: int, asked_s: float | None = None, *, jitter: float | None = None) -> float:
    """When to try again after so many tries in a row have failed: 1 s doubled each time, up to 5 min, spread by a half; or what
    the receiver asked for when that is later. `jitter` is 0 to 1, by default random."""
    spread = random.random() if jitter is None else jitter
    own = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(max(tries, 1) - 1, 20)) * (0.5 + 0.5 * spread)
    return max(own, asked_s or 0.0)
