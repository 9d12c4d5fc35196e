"""Every accepted record is stored exactly once, whatever is killed while all four signals stream in."""

from __future__ import annotations

import concurrent.futures
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

BATCH = 20
PAUSE_S = 0.03  # between two requests of a thread: the kills are the test, not the volume
NOON_MS = 1_761_912_000_000


def log(n: int) -> dict[str, Any]:
    return {"timestamp": NOON_MS + n, "service": "s", "level": "info", "message": str(n)}


def point(n: int) -> dict[str, Any]:
    """Several points of one series in a request: they share its row, and differ in time."""
    return {"name": "numbers", "timestamp": NOON_MS + n, "value": n, "labels": {"series": str(n % 7)}}


def span(n: int) -> dict[str, Any]:
    return {"trace_id": str(n // 5), "span_id": str(n), "service": "s", "operation": "o", "start_time": NOON_MS + n,
            "duration_ms": 1}  # fmt: skip


def event(n: int) -> dict[str, Any]:
    return {"timestamp": NOON_MS + n, "type": "action", "session_id": "s", "name": str(n)}


SIGNALS: dict[str, tuple[str, Callable[[int], dict[str, Any]]]] = {
    "logs": ("logs", log),
    "metrics": ("metrics", point),
    "traces": ("spans", span),
    "rum": ("events", event),
}
"""Signal -> the field of its request, and record number n."""


class Sender:
    """Sends numbered records of one signal and keeps which were accepted, refused, or of unknown fate."""

    def __init__(self, organization: Any, name: str) -> None:
        self.accepted: set[int] = set()
        self.unknown: set[int] = set()
        self.signal = name
        self.stop = threading.Event()
        self._organization = organization
        self._next = 0

    def run(self) -> None:
        """Send until `stop` is set."""
        with httpx.Client(base_url=self._organization.instance.url, timeout=30) as http:
            while not self.stop.is_set():
                numbers = list(range(self._next, self._next + BATCH))
                self._next += BATCH
                self._send_batch(http, numbers)
                time.sleep(PAUSE_S)

    def _send_batch(self, http: httpx.Client, numbers: list[int]) -> None:
        field, make = SIGNALS[self.signal]
        try:
            response = self._organization.post_with(
                http, {field: [make(n) for n in numbers]}, path=f"/v1/{self.signal}"
            )
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

    def stored(self) -> Counter[int]:
        """How often each number stands in the store."""
        field = "value" if self.signal == "metrics" else "text"
        return Counter(int(record[field]) for record in self._organization.stored(self.signal))


def send_all(organization: Any, kills: Callable[[], None]) -> list[Sender]:
    """Send all four signals until `kills` returns."""
    senders = [Sender(organization, name) for name in SIGNALS]
    with concurrent.futures.ThreadPoolExecutor(len(senders)) as pool:
        sending = [pool.submit(sender.run) for sender in senders]
        try:
            kills()
        finally:
            for sender in senders:
                sender.stop.set()
        for each in sending:
            each.result()
    return senders


def check(senders: list[Sender]) -> None:
    """All that was accepted is there once; nothing is there twice; nothing is there that was never sent."""
    deadline = time.monotonic() + 60
    for sender in senders:
        assert len(sender.accepted) > 300, f"too few {sender.signal} were sent to show anything"
        while not sender.accepted <= sender.stored().keys() and time.monotonic() < deadline:
            time.sleep(0.2)
    time.sleep(2.5)  # Whatever might still come twice.
    for sender in senders:
        stored = sender.stored()
        assert sorted(sender.accepted - stored.keys()) == [], f"{sender.signal} lost"
        assert [n for n, times in stored.items() if times > 1] == [], f"{sender.signal} stored twice"
        assert stored.keys() <= sender.accepted | sender.unknown


@pytest.mark.slow
def test_the_worker_killed_mid_stream(instance: Any, organization: Any) -> None:
    def kills() -> None:
        for _ in range(3):
            time.sleep(1.0)
            instance.kill("worker")
        time.sleep(1.0)

    senders = send_all(organization, kills)
    check(senders)
    assert not any(sender.unknown for sender in senders), "a killed worker must not be noticed by senders"


@pytest.mark.slow
def test_every_process_killed_in_turn_under_load(instance: Any, organization: Any) -> None:
    order = ["clickhouse", "worker", "redis", "postgres", "gateway"]
    random.Random(7).shuffle(order)

    def kills() -> None:
        for name in order:
            time.sleep(0.7)
            instance.kill(name)
        time.sleep(1.0)

    check(send_all(organization, kills))


@pytest.mark.slow
@pytest.mark.parametrize("store", ["clickhouse", "postgres"])
def test_the_worker_killed_while_a_store_is_stopped_mid_insert(instance: Any, organization: Any, store: str) -> None:
    """A stopped engine holds inserts open; the worker dies over them, and its successor repeats them."""
    family = family_of(instance.processes()[store]["pid"])

    def kills() -> None:
        time.sleep(0.5)
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(1.5)
            os.kill(instance.processes()["worker"]["pid"], signal.SIGKILL)
            time.sleep(1.0)
        finally:
            for pid in family:
                os.kill(pid, signal.SIGCONT)
        time.sleep(1.0)

    senders = send_all(organization, kills)
    check(senders)
    assert not any(sender.unknown for sender in senders)


def family_of(pid: int) -> list[int]:
    """A process and everything below it: PostgreSQL's backends are processes of their own."""
    family = [pid]
    for parent in family:
        family += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    return family
