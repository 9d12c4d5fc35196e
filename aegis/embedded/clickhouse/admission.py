"""A query's kind in, its turn out: how many run at once, how many may wait, and when the next one is refused.

Two lanes, so that a few slow reads never keep inserts waiting. Each has as many threads as it lets queries run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from aegis.embedded.clickhouse import metrics
from aegis.embedded.clickhouse.failures import TOO_MANY_SIMULTANEOUS_QUERIES, QueryFailure

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one process. `bodies_bytes_max` is for all bodies held at one time, `body_bytes_max` for one."""

    reads_max: int = 8
    inserts_max: int = 4
    waiting_max: int = 64
    body_bytes_max: int = 128 << 20
    bodies_bytes_max: int = 512 << 20


class Lane:
    """`running_max` queries at once, `waiting_max` in line, the next one refused."""

    def __init__(self, name: str, running_max: int, waiting_max: int) -> None:
        self._name = name
        self._turns = asyncio.Semaphore(running_max)
        self._waiting = 0
        self._running = 0
        self._waiting_max = waiting_max
        self._work: set[asyncio.Future[Any]] = set()
        self._threads = ThreadPoolExecutor(running_max, thread_name_prefix=f"clickhouse-{name}")
        metrics.RUNNING.labels(name).set_function(lambda: float(self._running))
        metrics.WAITING.labels(name).set_function(lambda: float(self._waiting))

    @property
    def running(self) -> int:
        """Queries that have their turn now."""
        return self._running

    @property
    def is_idle(self) -> bool:
        """Whether no thread of the lane works; a thread may outlive its turn when its request is cancelled."""
        return not self._work

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it. Raises `QueryFailure` at once when too many wait already."""
        if self._turns.locked() and self._waiting >= self._waiting_max:
            raise QueryFailure(
                TOO_MANY_SIMULTANEOUS_QUERIES, f"Too many simultaneous queries: {self._waiting} wait already"
            )
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            self._turns.release()

    def run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Start work on one of the lane's threads; for those who hold a turn."""
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        self._work.add(future)
        future.add_done_callback(self._work.discard)
        return future

    def close(self) -> None:
        """Start nothing more; threads end with the work they have."""
        self._threads.shutdown(wait=False, cancel_futures=True)
