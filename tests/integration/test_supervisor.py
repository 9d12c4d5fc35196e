"""Processes started in order, restarted with backoff, stopped in reverse order; locks, leftovers and what others can read."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from aegis.supervision.identity import identity
from aegis.supervision.leftovers import record_child
from aegis.supervision.lock import lock_data_dir, turn_to_start
from aegis.supervision.logs import bound_log, open_log, tail
from aegis.supervision.spec import Account, Event, ProcessSpec, Timing
from aegis.supervision.status import STATUS_FILE, ProcessStatus, read_status
from aegis.supervision.supervisor import Supervisor
from topics.errors import Refused

QUICK = Timing(backoff_first_s=0.05, backoff_max_s=0.4, reset_s=30.0, probe_interval_s=0.01, log_check_interval_s=0.05)
SLEEP = ("/bin/sleep", "60")


_LOCKER = """
import sys
from pathlib import Path
from aegis.supervision.lock import lock_data_dir, turn_to_start
with lock_data_dir(Path(sys.argv[1])):
    pass
"""


async def _always() -> bool:
    return True


async def _never() -> bool:
    return False


def shell(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script)


def spec(
    name: str, argv: tuple[str, ...] = SLEEP, ready: Callable[[], Awaitable[bool]] = _always, **more: Any
) -> ProcessSpec:
    more.setdefault("stop_timeout_s", 5.0)
    return ProcessSpec(name=name, argv=argv, ready=ready, env={"PATH": "/usr/bin:/bin"}, **more)


def exists(path: Path) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        return path.exists()

    return probe


@asynccontextmanager
async def supervised(
    data_dir: Path, *specs: ProcessSpec, timing: Timing = QUICK
) -> AsyncIterator[tuple[Supervisor, list[Event]]]:
    events: list[Event] = []
    supervisor = Supervisor(data_dir, events.append, timing)
    try:
        await supervisor.start(specs)
        yield supervisor, events
    finally:
        await supervisor.stop()


async def until(condition: Callable[[], object], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def state_of(supervisor: Supervisor, name: str) -> ProcessStatus:
    return next(status for status in supervisor.statuses() if status.name == name)


# --- starting and stopping ---


async def test_each_starts_when_what_it_needs_is_ready_and_stops_before_it(tmp_path: Path) -> None:
    said = tmp_path / "said"

    def script(name: str) -> tuple[str, ...]:
        told = f"echo start {name} >> {said}; trap 'echo stop {name} >> {said}; exit 0' TERM"
        return shell(f"{told}; sleep 0.2; touch {tmp_path}/{name}; while :; do sleep 0.02; done")

    async with supervised(
        tmp_path,
        spec("store", script("store"), exists(tmp_path / "store")),
        spec("topics", script("topics"), exists(tmp_path / "topics")),
        spec("worker", script("worker"), exists(tmp_path / "worker"), after=("store", "topics")),
        spec("door", script("door"), exists(tmp_path / "door"), after=("worker",)),
    ) as (supervisor, _):
        started = said.read_text().splitlines()
        assert set(started[:2]) == {"start store", "start topics"}
        assert started[2:] == ["start worker", "start door"]
        assert list(supervisor.pids()) == ["store", "topics", "worker", "door"]
        assert {status.state for status in supervisor.statuses()} == {"ready"}
    stopped = said.read_text().splitlines()[4:]
    assert stopped[:2] == ["stop door", "stop worker"]
    assert set(stopped[2:]) == {"stop store", "stop topics"}
    assert supervisor.pids() == {}


async def test_more_can_be_started_later(tmp_path: Path) -> None:
    async with supervised(tmp_path, spec("a")) as (supervisor, _):
        await supervisor.start([spec("b", after=("a",))])
        assert list(supervisor.pids()) == ["a", "b"]
        with pytest.raises(ValueError, match="there is one already"):
            await supervisor.start([spec("a")])
        with pytest.raises(ValueError, match="must be named before"):
            await supervisor.start([spec("c", after=("d",))])


async def test_environment_folder_and_output(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    argv = shell(f"env; pwd; echo trouble >&2; touch {tmp_path}/done; exec sleep 60")
    async with supervised(tmp_path, spec("a", argv, exists(tmp_path / "done"), cwd=tmp_path / "here")):
        lines = (tmp_path / "logs" / "a.log").read_text().splitlines()
    assert "trouble" in lines
    assert str(tmp_path / "here") in lines
    assert not [line for line in lines if line.startswith("HOME=")]


async def test_a_stop_signal_that_is_not_heeded_is_followed_by_a_kill(tmp_path: Path) -> None:
    argv = shell(f"trap '' INT; touch {tmp_path}/up; while :; do sleep 0.05; done")
    async with supervised(
        tmp_path, spec("a", argv, exists(tmp_path / "up"), stop_signal=signal.SIGINT, stop_timeout_s=0.3)
    ) as (supervisor, events):
        pass
    assert events[-1].text == "a stopped with signal SIGKILL"
    assert state_of(supervisor, "a").last_exit == -signal.SIGKILL


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_an_account_of_its_own(tmp_path: Path) -> None:
    argv = shell("id -u; id -g; id -G; exec sleep 60")
    log = tmp_path / "logs" / "a.log"

    async def said() -> bool:
        return log.read_text().count("\n") == 3

    async with supervised(tmp_path, spec("a", argv, said, account=Account("nobody", 65534, 65533))):
        assert log.read_text().split() == ["65534", "65533", "65533"]


# --- what fails ---


async def test_one_that_ends_at_once_is_refused_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.log").write_text("from an earlier run\n")
    supervisor = Supervisor(tmp_path, lambda _: None, QUICK)
    with pytest.raises(Refused) as caught:
        await supervisor.start([spec("a", shell("echo the port is taken; exit 3"), _never)])
    await supervisor.stop()
    assert re.match(r"cannot start a: ended with code 3 after \d+\.\d s, before it was ready", caught.value.reason)
    assert "the port is taken" in caught.value.reason
    assert "earlier" not in caught.value.reason


async def test_one_that_is_never_ready_is_killed_and_what_comes_after_it_is_not_started(tmp_path: Path) -> None:
    async def refuses() -> bool:
        raise ConnectionRefusedError("nobody there")

    supervisor = Supervisor(tmp_path, lambda _: None, QUICK)
    with pytest.raises(Refused, match=r"not ready within 0\.3 s.*ConnectionRefusedError: nobody there"):
        await supervisor.start([spec("a", ready=refuses, ready_timeout_s=0.3), spec("b", after=("a",))])
    assert supervisor.pids() == {}
    await supervisor.stop()


async def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, lambda _: None, QUICK)
    with pytest.raises(Refused, match="cannot execute /nowhere/program: No such file"):
        await supervisor.start([spec("a", ("/nowhere/program",), _never)])
    await supervisor.stop()


async def test_what_preparation_refuses_is_passed_on(tmp_path: Path) -> None:
    def prepare() -> None:
        raise Refused("cannot start a: the folder is closed", code="closed")

    supervisor = Supervisor(tmp_path, lambda _: None, QUICK)
    with pytest.raises(Refused) as caught:
        await supervisor.start([spec("a", prepare=prepare)])
    await supervisor.stop()
    assert (caught.value.reason, caught.value.code) == ("cannot start a: the folder is closed", "closed")


async def test_stopping_in_the_middle_of_starting(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, lambda _: None, QUICK)
    starting = asyncio.create_task(supervisor.start([spec("a", ready=_never), spec("b", after=("a",))]))
    await until(supervisor.pids)
    (pid,) = supervisor.pids().values()
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await supervisor.stop()
    assert identity(pid) is None


# --- restarting ---


async def test_one_that_dies_is_started_again_and_it_is_said(tmp_path: Path) -> None:
    async with supervised(tmp_path, spec("a"), spec("b")) as (supervisor, events):
        first = supervisor.pids()
        os.kill(first["a"], signal.SIGKILL)
        await until(lambda: state_of(supervisor, "a").restarts == 1 and state_of(supervisor, "a").state == "ready")
        again = supervisor.pids()
        assert again["a"] != first["a"]
        assert again["b"] == first["b"]
        assert state_of(supervisor, "a").last_exit == -signal.SIGKILL
        texts = [event.text for event in events if event.name == "a"]
        assert texts[1].startswith("a ended with signal SIGKILL after ")
        assert texts[1].endswith("starting it again in 0.1 s")
        assert [event.what for event in events if event.name == "a"] == ["ready", "ended", "ready"]


async def test_waiting_grows_with_every_short_run(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    argv = shell(f"date +%s.%N >> {starts}; [ $(wc -l < {starts}) = 1 ] && exec sleep 0.1; exit 1")
    async with supervised(tmp_path, spec("a", argv)) as (supervisor, _):
        await until(lambda: state_of(supervisor, "a").restarts >= 5)
        times = [float(line) for line in starts.read_text().split()]
    gaps = [later - earlier for earlier, later in pairwise(times[1:])]
    assert gaps[0] >= 0.1
    assert gaps[1] >= 0.2
    assert gaps[2] >= 0.4


def test_backoff_has_a_bound() -> None:
    delays = [Timing().delay_s(failures) for failures in range(10)]
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == 10.0
    assert Timing().delay_s(100_000) == 10.0


async def test_a_long_run_makes_the_next_restart_quick_again(tmp_path: Path) -> None:
    timing = Timing(backoff_first_s=0.05, backoff_max_s=30.0, reset_s=0.2, probe_interval_s=0.01)
    async with supervised(tmp_path, spec("a", ("/bin/sleep", "0.3")), timing=timing) as (supervisor, events):
        await until(lambda: state_of(supervisor, "a").restarts >= 4)
        assert all(event.text.endswith("again in 0.1 s") for event in events if event.what == "ended")


async def test_a_restart_that_cannot_be_prepared_is_tried_again(tmp_path: Path) -> None:
    calls = 0

    def prepare() -> None:
        nonlocal calls
        calls += 1
        if calls in (2, 3):
            raise OSError("disk full")

    async with supervised(tmp_path, spec("a", prepare=prepare)) as (supervisor, events):
        os.kill(supervisor.pids()["a"], signal.SIGKILL)
        await until(lambda: calls == 4 and state_of(supervisor, "a").state == "ready")
        assert len([event for event in events if "could not be started: disk full" in event.text]) == 2


async def test_a_status_that_cannot_be_written_ends_no_supervision(tmp_path: Path) -> None:
    """As on a full disk: once the process that died then was never started again."""
    async with supervised(tmp_path, spec("a")) as (supervisor, _):
        partial = tmp_path / f"{STATUS_FILE}.partial"
        partial.mkdir()
        first = supervisor.pids()["a"]
        os.kill(first, signal.SIGKILL)
        await until(lambda: supervisor.pids().get("a", first) != first)
        await until(lambda: state_of(supervisor, "a").state == "ready")
        partial.rmdir()


async def test_stopping_while_waiting_to_restart_does_not_wait(tmp_path: Path) -> None:
    timing = Timing(backoff_first_s=60.0, backoff_max_s=60.0, probe_interval_s=0.01)
    async with supervised(tmp_path, spec("a"), timing=timing) as (supervisor, _):
        os.kill(supervisor.pids()["a"], signal.SIGKILL)
        await until(lambda: state_of(supervisor, "a").state == "backoff")
        before = time.monotonic()
    assert time.monotonic() - before < 2


# --- what others can read ---


async def test_status_is_readable_by_others_while_the_supervisor_lives(tmp_path: Path) -> None:
    assert read_status(tmp_path) is None
    async with supervised(tmp_path, spec("a"), spec("b")) as (supervisor, _):
        os.kill(supervisor.pids()["b"], signal.SIGTERM)
        await until(lambda: state_of(supervisor, "b").restarts == 1 and state_of(supervisor, "b").state == "ready")
        status = read_status(tmp_path)
        assert status is not None
        assert status.supervisor_pid == os.getpid()
        seen = {process.name: process for process in status.processes}
        assert {name: process.pid for name, process in seen.items()} == supervisor.pids()
        assert (seen["b"].restarts, seen["b"].last_exit, seen["b"].state) == (1, -signal.SIGTERM, "ready")
        uptime = seen["a"].uptime_s
        assert uptime is not None
        assert 0 <= uptime < 10
    assert read_status(tmp_path) is None


async def test_status_of_a_dead_supervisor_is_not_believed(tmp_path: Path) -> None:
    async with supervised(tmp_path, spec("a")):
        document = json.loads((tmp_path / STATUS_FILE).read_text())
    # The pid lives, but is somebody else's by now.
    document["identity"] = "another-boot:123"
    (tmp_path / STATUS_FILE).write_text(json.dumps(document))
    assert read_status(tmp_path) is None
    document.update(pid=2**22 + 1, identity=None)
    (tmp_path / STATUS_FILE).write_text(json.dumps(document))
    assert read_status(tmp_path) is None


def test_a_folder_is_locked_once(tmp_path: Path) -> None:
    with lock_data_dir(tmp_path):
        with pytest.raises(Refused) as caught, lock_data_dir(tmp_path):
            pass
        assert f"cannot start: another aegis up (pid {os.getpid()}) uses {tmp_path}" in caught.value.reason
        done = subprocess.run(
            [sys.executable, "-c", _LOCKER, str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert f"another aegis up (pid {os.getpid()})" in done.stderr
    with lock_data_dir(tmp_path):
        pass


async def test_children_do_not_hold_the_lock(tmp_path: Path) -> None:
    async with supervised(tmp_path, spec("a")):
        with lock_data_dir(tmp_path):
            pass
        with lock_data_dir(tmp_path):
            pass


def test_logs_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "a.log"
    log = open_log(path)
    os.write(log, b"old\n" * 1000)
    bound_log(path, bytes_max=100)
    os.write(log, b"new\n")
    os.close(log)
    assert path.read_bytes() == b"new\n"
    assert path.with_name("a.log.1").read_bytes() == b"old\n" * 1000
    assert tail(path) == "new"
    assert tail(path, since=4) == ""
    assert tail(path.with_name("a.log.1"), lines=2) == "old\nold"
    assert tail(tmp_path / "missing") == ""


# --- when the supervisor itself is killed ---

_SUPERVISOR = """
import asyncio, sys
from pathlib import Path
from aegis.supervision.lock import lock_data_dir, turn_to_start
from aegis.supervision.spec import ProcessSpec
from aegis.supervision.supervisor import Supervisor

async def ready():
    return True

async def main(folder):
    supervisor = Supervisor(folder, lambda event: None)
    await supervisor.start([ProcessSpec(name=n, argv=("/bin/sleep", "60"), ready=ready, env={}) for n in ("a", "b")])
    print(*supervisor.pids().values(), flush=True)
    await asyncio.sleep(60)

folder = Path(sys.argv[1])
with lock_data_dir(folder):
    asyncio.run(main(folder))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="children outlive their parent elsewhere")
async def test_children_die_with_a_killed_supervisor_and_the_folder_is_free(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", _SUPERVISOR, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    parent.stdout.close()
    assert len(pids) == 2
    assert all(identity(pid) for pid in pids)
    status = read_status(tmp_path)
    assert status is not None
    assert status.supervisor_pid == parent.pid
    parent.kill()
    parent.wait()
    await until(lambda: not any(identity(pid) for pid in pids), timeout_s=3)
    assert read_status(tmp_path) is None
    with lock_data_dir(tmp_path):
        async with supervised(tmp_path, spec("a"), spec("b")) as (supervisor, events):
            assert len(supervisor.pids()) == 2
            assert "leftover" not in {event.what for event in events}


async def test_a_leftover_is_stopped_before_its_successor_starts(tmp_path: Path) -> None:
    leftover = subprocess.Popen(shell("trap '' TERM; echo up; while :; do sleep 0.05; done"), stdout=subprocess.PIPE)
    assert leftover.stdout is not None
    leftover.stdout.readline()
    leftover.stdout.close()
    record_child(tmp_path / "run" / "a.json", leftover.pid)
    reaper = asyncio.create_task(asyncio.to_thread(leftover.wait))
    async with supervised(tmp_path, spec("a", stop_timeout_s=0.2)) as (_, events):
        assert await reaper == -signal.SIGKILL
        assert events[0].text == f"stopped a (pid {leftover.pid}), left over from an earlier run"


async def test_a_reused_pid_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen(SLEEP)
    try:
        for recorded in ("another-boot:123", None):
            record = {"pid": stranger.pid, "identity": recorded}
            (tmp_path / "run").mkdir(exist_ok=True)
            (tmp_path / "run" / "a.json").write_text(json.dumps(record))
            async with supervised(tmp_path, spec("a")):
                assert stranger.poll() is None
        (tmp_path / "run" / "a.json").write_text("damaged")
        async with supervised(tmp_path, spec("a")):
            assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_instances_start_one_after_the_other_and_none_waits_for_ever(tmp_path: Path) -> None:
    waited = []

    async def start(number: int, timeout_s: float) -> None:
        begin = time.monotonic()
        async with turn_to_start(tmp_path, timeout_s=timeout_s):
            waited.append((number, time.monotonic() - begin))
            await asyncio.sleep(0.4)

    await asyncio.gather(start(1, 30), start(2, 30))
    assert waited[0][1] < 0.3
    assert waited[1][1] > 0.3
    waited.clear()
    await asyncio.gather(start(3, 30), start(4, 0.1))
    assert max(seconds for _, seconds in waited) < 0.35, "one that cannot have its turn in time goes on"
