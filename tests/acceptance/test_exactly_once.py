"""Every accepted record is stored exactly once, whatever is killed while all four signals stream in."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from numbered_records import Sender, check, send_all, wait_until_stored
from running_instance import family_of, signal_all


def send_and_check(organization: Any, kills: Callable[[], None]) -> list[Sender]:
    senders = send_all(organization, kills)
    wait_until_stored(senders, organization)
    check(senders, organization)
    return senders


@pytest.mark.slow
def test_the_worker_killed_mid_stream(instance: Any, organization: Any) -> None:
    def kills() -> None:
        for _ in range(3):
            time.sleep(1.0)
            instance.kill("worker")
        time.sleep(1.0)

    senders = send_and_check(organization, kills)
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

    send_and_check(organization, kills)


@pytest.mark.slow
@pytest.mark.parametrize("store", ["clickhouse", "postgres"])
def test_the_worker_killed_while_a_store_is_stopped_mid_insert(instance: Any, organization: Any, store: str) -> None:
    """A stopped engine holds inserts open; the worker dies over them, and its successor repeats them."""
    family = family_of(instance.processes()[store]["pid"])

    def kills() -> None:
        time.sleep(0.5)
        signal_all(family, signal.SIGSTOP)
        try:
            time.sleep(1.5)
            os.kill(instance.processes()["worker"]["pid"], signal.SIGKILL)
            time.sleep(1.0)
        finally:
            signal_all(family, signal.SIGCONT)
        time.sleep(1.0)

    senders = send_and_check(organization, kills)
    assert not any(sender.unknown for sender in senders)
