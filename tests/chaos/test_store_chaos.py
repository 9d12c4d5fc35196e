"""Processes of an instance killed under load, stores mid-insert: tables and views hold all accepted records once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from numbered_records import SIGNALS, Sender, accepted_numbers, check, send_all, stored_numbers, wait_until_stored
from rich.console import Console
from rich.table import Table
from running_instance import family_of, read_metrics, signal_all
from view_checks import check_views

from aegis.settings import load_settings
from aegis.wiring import opened_clickhouse
from storage.postgres import postgres_errors
from topics.errors import AegisError

LEASE_S = 1.0
# Short blocks, so that some insert is nearly always under way.
SETTINGS = {"AEGIS_LEASE_S": str(LEASE_S), "AEGIS_BLOCK_AGE_S": "0.05", "AEGIS_WORKER_PROCESSES": "2"}
# The first three of a round are what is to be shown, twice; one of the last two joins them now and then.
KILLS = ("worker", "clickhouse", "postgres")
STOPS = ("stop worker", "stop clickhouse", "stop postgres")
SELDOM = ("redis", "gateway")
RECOVERY_S = 180.0
SHORT_S = 20.0


class Attack:
    """Harms the processes of one instance, one after another, and counts what it did."""

    def __init__(self, instance: Any, rng: random.Random) -> None:
        self.done: Counter[str] = Counter(dict.fromkeys((*KILLS, *STOPS, *SELDOM), 0))
        self._instance = instance
        self._rng = rng

    def run(self, seconds: float) -> None:
        """For so long, and until every kind of KILLS and STOPS was done."""
        until = time.monotonic() + seconds
        while True:
            round_ = [*KILLS, *KILLS, *STOPS]
            if self._rng.random() < 0.5:
                round_.append(self._rng.choice(SELDOM))
            self._rng.shuffle(round_)
            for kind in round_:
                if time.monotonic() > until and all(self.done[each] for each in (*KILLS, *STOPS)):
                    return
                if kind in STOPS:
                    self._stop(kind.removeprefix("stop "))
                else:
                    self._kill(kind)
                self.done[kind] += 1
                time.sleep(self._rng.uniform(0.1, 1.5))

    def wait_until_recovered(self) -> None:
        """Until every process that may have been harmed is up again."""
        for name in (*KILLS, *SELDOM):
            self._family(name)

    def _kill(self, name: str) -> None:
        family = self._family(name)
        if name == "clickhouse" and self._rng.random() < 0.8:
            self.done["clickhouse in an insert"] += _seen_in_time(lambda: _is_inserting(self._instance.data_dir))
        elif name == "postgres" and self._rng.random() < 0.8:
            self.done["postgres in a transaction"] += _seen_in_time(lambda: _is_in_transaction(family[0]))
        family = family_of(family[0])  # Backends come and go.
        # Of the workers mostly one, whose partitions the other takes over; of PostgreSQL all, or the first alone, whose
        # death the others notice and may still finish what they do.
        if name == "worker" and len(family) > 1 and self._rng.random() < 0.8:
            family = [self._rng.choice(family[1:])]
        elif name == "postgres" and self._rng.random() < 0.5:
            family = family[:1]
        signal_all(family, signal.SIGKILL)

    def _stop(self, name: str) -> None:
        """Nobody answers for longer than a lease; then what was under way goes on, or its worker is dead by then."""
        family = self._family(name)
        if name == "worker" and len(family) > 1:
            family = [self._rng.choice(family[1:])]
        elif name == "postgres":
            _seen_in_time(lambda: _is_in_transaction(family[0]))
        elif name == "clickhouse":
            _seen_in_time(lambda: _is_inserting(self._instance.data_dir))
        signal_all(family := family_of(family[0]), signal.SIGSTOP)
        try:
            time.sleep(self._rng.uniform(1.2, 2.2) * LEASE_S)
            if name != "worker" and self._rng.random() < 0.5:
                self._kill("worker")
                self.done["worker, over a stopped store"] += 1
        finally:
            signal_all(family, signal.SIGCONT)

    def _family(self, name: str) -> list[int]:
        """Waits until the process is up."""
        deadline = time.monotonic() + RECOVERY_S
        while time.monotonic() < deadline:
            process = self._instance.processes()[name]
            if process["state"] == "ready" and process["pid"]:
                return family_of(process["pid"])
            time.sleep(0.05)
        raise AssertionError(f"{name} did not come back: {self._instance.errors.read_text()[-3000:]}")


def _seen_in_time(is_seen: Callable[[], bool], within_s: float = 4.0) -> bool:
    """Wait for a moment of some milliseconds."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if is_seen():
            return True
        time.sleep(0.0005)
    return False


def _is_inserting(data_dir: Path) -> bool:
    """Whether ClickHouse writes a part at this moment: until it is whole its folder has a name of its own."""
    folders = [path.parent for path in (data_dir / "clickhouse").glob("store/*/*/format_version.txt")]
    deadline = time.monotonic() + 0.2
    while time.monotonic() < deadline:
        for folder in folders:
            with suppress(FileNotFoundError):
                if any(name.startswith("tmp_insert") for name in os.listdir(folder)):
                    return True
    return False


def _is_in_transaction(postmaster: int) -> bool:
    """Whether a backend of PostgreSQL does something of a block, by the titles that they give themselves."""
    for pid in family_of(postmaster)[1:]:
        with suppress(FileNotFoundError, ProcessLookupError):
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"COPY" in title or b"in transaction" in title:
                return True
    return False


class Progress:
    """Looks on: the longest time in which a store took nothing, though there was something to take."""

    def __init__(self, instance: Any) -> None:
        self.longest_s = {"clickhouse": 0.0, "postgres": 0.0}
        self._settings = load_settings(instance.data_dir)
        self._stop = threading.Event()

    @contextmanager
    def watched(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _run(self) -> None:
        counts = dict.fromkeys(self.longest_s, 0)
        moved = dict.fromkeys(self.longest_s, time.monotonic())
        while not self._stop.wait(0.5):
            for store, look in (("clickhouse", self._records), ("postgres", self._samples)):
                with suppress(AegisError, OSError, TimeoutError):
                    count = asyncio.run(_within(look()))
                    if count > counts[store]:
                        counts[store], moved[store] = count, time.monotonic()
                self.longest_s[store] = max(self.longest_s[store], time.monotonic() - moved[store])

    async def _records(self) -> int:
        sql = "SELECT (SELECT count() FROM logs) + (SELECT count() FROM spans) + (SELECT count() FROM rum_events)"
        async with opened_clickhouse(self._settings) as clickhouse:
            answer = await clickhouse.read(sql, tuple[int], {}, {}, doing="count records")
        return answer.rows[0][0]

    async def _samples(self) -> int:
        with postgres_errors("count samples"):
            return int((await read_metrics(self._settings, "SELECT count(*) FROM metrics"))[0][0])


async def _within(work: Any, seconds: float = 2.0) -> int:
    async with asyncio.timeout(seconds):
        return int(await work)


def show(senders: list[Sender], organization: Any, attack: Attack, progress: Progress, title: str) -> None:
    table = Table(title=title, title_justify="left")
    for column in ("", *SIGNALS):
        table.add_column(column, justify="left" if column == "" else "right")
    stored = {name: stored_numbers(organization, name) for name in SIGNALS}
    rows = {
        "accepted": {name: len(accepted_numbers(senders, name)) for name in SIGNALS},
        "of unknown fate": {
            name: sum(len(each.unknown) for each in senders if each.signal == name) for name in SIGNALS
        },
        "stored": {name: len(stored[name]) for name in SIGNALS},
        "accepted and not stored": {
            name: len(accepted_numbers(senders, name) - stored[name].keys()) for name in SIGNALS
        },
        "stored twice": {name: sum(times > 1 for times in stored[name].values()) for name in SIGNALS},
        "in the views": {name: check_views(organization, name) for name in SIGNALS},
    }
    for row, figures in rows.items():
        table.add_row(row, *(str(figures[name]) for name in SIGNALS))
    facts = Table()
    facts.add_column("")
    facts.add_column("", justify="right")
    for kind, times in attack.done.items():
        facts.add_row(f"done: {kind}", str(times))
    for store, seconds in progress.longest_s.items():
        facts.add_row(f"longest time without progress in {store}, s", f"{seconds:.1f}")
    console = Console(width=100)
    console.print(table)
    console.print(facts)


@pytest.mark.slow
def test_stores_and_views_are_exact_whatever_dies_mid_insert(
    new_instance: Any, chaos_seconds: float, chaos_seed: int
) -> None:
    seconds = max(chaos_seconds, SHORT_S)
    title = f"store chaos, --chaos-seed {chaos_seed} --chaos-seconds {seconds:g}"
    print(f"\n{title}", flush=True)
    instance = new_instance(**SETTINGS)
    instance.start()
    organization = instance.organization("chaos")
    attack, progress = Attack(instance, random.Random(chaos_seed)), Progress(instance)

    def harm() -> None:
        time.sleep(2.0)
        attack.run(seconds)
        attack.wait_until_recovered()

    with progress.watched():
        senders = send_all(organization, harm, senders_each=2, batch=40, pause_s=0.05)
        wait_until_stored(senders, organization, within_s=RECOVERY_S)
    show(senders, organization, attack, progress, title)
    check(senders, organization)
    failures = [
        line for log in instance.data_dir.rglob("*.log") for line in log.read_text(errors="replace").splitlines()
        if "has failed, the worker stops" in line
    ]  # fmt: skip
    assert failures == []
