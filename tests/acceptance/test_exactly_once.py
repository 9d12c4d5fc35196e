"""Every accepted log is stored exactly once, whatever is killed while logs stream in."""

from __future__ import annotations

import concurrent.futures
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

BATCH = 20
PAUSE_S = 0.03  # between two requests of a thread: the kills are the test, not the volume


class Sender:
    """Sends numbered logs from several threads and keeps which were accepted, refused, or of unknown fate."""

    def __init__(self, organization: Any) -> None:
        self.accepted: set[int] = set()
        self.unknown: set[int] = set()
        self._organization = organization
        self._next = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def run(self, threads: int, kills: Callable[[], None]) -> None:
        """Send until `kills` returns."""
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            sending = [pool.submit(self._send) for _ in range(threads)]
            try:
                kills()
            finally:
                self._stop.set()
            for each in sending:
                each.result()

    def _send(self) -> None:
        with httpx.Client(base_url=self._organization.instance.url, timeout=30) as http:
            while not self._stop.is_set():
                with self._lock:
                    numbers = list(range(self._next, self._next + BATCH))
                    self._next += BATCH
                self._send_batch(http, numbers)
                time.sleep(PAUSE_S)

    def _send_batch(self, http: httpx.Client, numbers: list[int]) -> None:
        logs = [
            {
                "timestamp": f"2025-10-31T10:00:00.{n % 1_000_000:06d}Z",
                "service": "s",
                "level": "info",
                "message": str(n),
            }
            for n in numbers
        ]
        try:
            response = self._organization.post_with(http, {"logs": logs})
        except httpx.ConnectError:
            return  # Nothing was sent.
        except httpx.HTTPError:
            self.unknown.update(numbers)  # The connection broke: accepted or not, nobody was told.
            return
        if response.status_code == 202:
            self.accepted.update(numbers)
        else:
            assert response.status_code == 503, response.text
            assert "retry-after" in response.headers
            # Whether Redis had taken it when its connection broke is not known; else it was refused for certain.
            self.unknown.update(numbers)


def check(organization: Any, sender: Sender) -> None:
    """All that was accepted is there once; nothing is there twice; nothing is there that was never sent."""
    assert len(sender.accepted) > 500, "too little was sent to show anything"
    deadline = time.monotonic() + 60
    while len(organization.found(search=str(max(sender.accepted)))) == 0 and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(2.5)  # The other partitions' last blocks, and whatever might still come twice.
    stored = Counter(int(log["message"]) for log in organization.found())
    assert sorted(sender.accepted - stored.keys()) == [], "lost"
    assert [n for n, times in stored.items() if times > 1] == [], "stored twice"
    assert stored.keys() <= sender.accepted | sender.unknown


@pytest.mark.slow
def test_the_worker_killed_mid_stream(instance: Any, organization: Any) -> None:
    sender = Sender(organization)

    def kills() -> None:
        for _ in range(3):
            time.sleep(1.0)
            instance.kill("worker")
        time.sleep(1.0)

    sender.run(2, kills)
    check(organization, sender)
    assert not sender.unknown, "a killed worker must not be noticed by senders"


@pytest.mark.slow
def test_every_process_killed_in_turn_under_load(instance: Any, organization: Any) -> None:
    order = ["clickhouse", "worker", "redis", "postgres", "gateway"]
    random.Random(7).shuffle(order)
    sender = Sender(organization)

    def kills() -> None:
        for name in order:
            time.sleep(0.7)
            instance.kill(name)
        time.sleep(1.0)

    sender.run(2, kills)
    check(organization, sender)


@pytest.mark.slow
def test_the_worker_killed_while_clickhouse_is_stopped_mid_insert(instance: Any, organization: Any) -> None:
    """A stopped engine holds inserts open; the worker dies over them, and its successor repeats them."""
    sender = Sender(organization)
    pid = instance.processes()["clickhouse"]["pid"]

    def kills() -> None:
        time.sleep(0.5)
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(1.5)
            os.kill(instance.processes()["worker"]["pid"], signal.SIGKILL)
            time.sleep(1.0)
        finally:
            os.kill(pid, signal.SIGCONT)
        time.sleep(1.0)

    sender.run(2, kills)
    check(organization, sender)
    assert not sender.unknown
