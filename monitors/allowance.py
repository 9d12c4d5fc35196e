"""How long log monitors of one organization may compute: what they take, everybody whose records the worker normalizes waits for.

Patterns are matched in time linear in the text, but a text may have a quarter of a million characters, a monitor a hundred
patterns, and an organization thousands of monitors. So they have a bucket of CPU seconds that fills with the time that passes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

SHARE: Final = 0.25
"""CPU seconds a second, in the long run."""

BURST_S: Final = 1.0
"""CPU seconds at once: so long a batch may hold up others."""

_LOOK_EVERY: Final = 16_384
"""Characters of text between two looks at the clock, which takes as long as matching one short record."""

_RECORD: Final = 128
"""What a record counts beside its text."""


class OutOfTime(Exception):
    """The bucket is empty."""


class Allowance:
    """The bucket of one organization on one worker. `cpu` is the CPU time of the thread that asks, `now` the time that passes."""

    def __init__(
        self,
        *,
        share: float = SHARE,
        burst_s: float = BURST_S,
        cpu: Callable[[], float] = time.thread_time,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._share = share
        self._burst_s = burst_s
        self._cpu = cpu
        self._now = now
        self._left_s = burst_s
        self._seen_s = now()
        self._until_s = 0.0
        self._characters = 0

    def begin(self) -> None:
        """A batch begins."""
        now = self._now()
        self._left_s = min(self._burst_s, self._left_s + self._share * (now - self._seen_s))
        self._seen_s = now
        self._until_s = self._cpu() + self._left_s

    def used(self) -> float:
        """The CPU seconds of the thread, to see what something takes."""
        return self._cpu()

    def spend(self, characters: int) -> None:
        """A record is about to be matched. Raises `OutOfTime`."""
        self._characters += characters + _RECORD
        if self._characters >= _LOOK_EVERY:
            self._characters = 0
            if self._cpu() > self._until_s:
                raise OutOfTime

    def end(self) -> None:
        """The batch is over."""
        self._left_s = self._until_s - self._cpu()
