"""The embedded PostgreSQL: made, started, killed and started again with its data; as root, in folders open and closed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from aegis.embedded.accounts import blocking_path, unprivileged_account
from aegis.embedded.ports import free_port
from aegis.embedded.postgres import PostgresService, postgres_service
from aegis.embedded.secrets import load_or_create_secret
from aegis.supervision.spec import Account, Timing
from aegis.supervision.supervisor import Supervisor
from topics.errors import Refused

ENV = {"PATH": "/usr/bin:/bin", "PGPORT": "1", "PGDATA": "/nowhere", "LANG": "de_DE.UTF-8"}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")


@pytest.fixture
def open_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that every user may enter; pytest's own are closed."""
    path = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder with a cluster in it, stopped; tests copy it instead of making one each."""
    path = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    path.chmod(0o755)
    postgres_service(path, 1, ENV).cluster.prepare()
    yield path
    shutil.rmtree(path)


def copy_of(made: Path, to: Path) -> PostgresService:
    subprocess.run(["cp", "-a", f"{made}/.", str(to)], check=True)
    return postgres_service(to, free_port(0), ENV)


@asynccontextmanager
async def running(service: PostgresService, data_dir: Path) -> AsyncIterator[tuple[Supervisor, asyncpg.Connection]]:
    supervisor = Supervisor(data_dir, lambda _: None, Timing(probe_interval_s=0.01))
    try:
        await supervisor.start([service.spec()])
        connection = await asyncpg.connect(service.url)
        try:
            yield supervisor, connection
        finally:
            connection.terminate()
    finally:
        await supervisor.stop()


def modes(path: Path) -> list[tuple[str, int, int]]:
    return [(str(p), p.stat().st_mode, p.stat().st_uid) for p in (path, *path.parents)]


async def test_from_an_empty_folder_to_a_database(open_dir: Path) -> None:
    before = modes(open_dir)
    service = postgres_service(open_dir, free_port(0), ENV)
    async with running(service, open_dir) as (supervisor, connection):
        assert str(await connection.fetchval("SHOW server_version")).startswith("18")
        assert await connection.fetchval("SELECT current_database() || '/' || current_user") == "aegis/aegis"
        settings = {
            "fsync": "on", "server_encoding": "UTF8", "listen_addresses": "127.0.0.1", "unix_socket_directories": "",
            "max_connections": "100", "shared_buffers": "128MB", "TimeZone": "UTC",
        }  # fmt: skip
        for name, value in settings.items():
            assert await connection.fetchval("SELECT current_setting($1)", name) == value
        row = await connection.fetchrow("SELECT datlocprovider, datlocale FROM pg_database WHERE datname = 'aegis'")
        assert dict(row) == {"datlocprovider": b"b", "datlocale": "C.UTF-8"}
        assert (
            await connection.fetchval("SELECT upper('\N{LATIN SMALL LETTER A WITH DIAERESIS}')")
            == "\N{LATIN CAPITAL LETTER A WITH DIAERESIS}"
        )
        owner = Path(f"/proc/{supervisor.pids()['postgres']}").stat().st_uid
        assert owner != 0
    assert modes(open_dir) == before
    assert stat.S_IMODE((open_dir / "postgres.password").stat().st_mode) == 0o600
    assert stat.S_IMODE(service.cluster.data.stat().st_mode) == 0o700
    assert not list(service.cluster.folder.glob("*.partial"))
    assert supervisor.statuses()[0].last_exit == 0


async def test_a_wrong_password_is_refused(made: Path, open_dir: Path) -> None:
    service = copy_of(made, open_dir)
    async with running(service, open_dir):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(service.url.replace(service.password, "wrong"))


async def test_data_survive_sigkill_and_a_clean_stop(made: Path, open_dir: Path) -> None:
    service = copy_of(made, open_dir)
    async with running(service, open_dir) as (supervisor, connection):
        await connection.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
        pid = supervisor.pids()["postgres"]
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while supervisor.pids().get("postgres", pid) == pid or supervisor.statuses()[0].state != "ready":
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        again = await asyncpg.connect(service.url)
        await again.execute("INSERT INTO t VALUES (1001)")
        await again.close()
    async with running(service, open_dir) as (_, connection):
        assert await connection.fetchval("SELECT count(*) FROM t") == 1001


@pytest.mark.parametrize("owner", ["nobody", "a stranger"])
async def test_a_stale_pid_file_does_not_stop_a_start(made: Path, open_dir: Path, owner: str) -> None:
    service = copy_of(made, open_dir)
    account = service.cluster.account
    # PostgreSQL itself refuses to start when the pid in the file is that of any living process of its own user.
    stranger = subprocess.Popen(["/bin/sleep", "60"], user=account.uid if account else None)
    try:
        pid = stranger.pid if owner == "a stranger" else 2**22 + 1
        pid_file = service.cluster.data / "postmaster.pid"
        pid_file.write_text(f"{pid}\n{service.cluster.data}\n1\n{service.port}\n\n127.0.0.1\n  1 1\nready\n")
        if account:
            os.chown(pid_file, account.uid, account.gid)
        async with running(service, open_dir) as (_, connection):
            assert await connection.fetchval("SELECT 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_a_server_that_outlived_its_supervisor_is_stopped_first(made: Path, open_dir: Path) -> None:
    service = copy_of(made, open_dir)
    account = service.cluster.account
    orphan = subprocess.Popen(
        service.argv(), env=dict(service.cluster.env), cwd="/", stderr=subprocess.DEVNULL,
        user=account.uid if account else None, group=account.gid if account else None, extra_groups=[] if account else None,
    )  # fmt: skip
    reaper = asyncio.create_task(asyncio.to_thread(orphan.wait))
    deadline = time.monotonic() + 10
    while not (service.cluster.data / "postmaster.pid").exists():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    # Somebody who looks at the folder is not a server of it.
    looker = subprocess.Popen(["/bin/sleep", "60"], cwd=service.cluster.data)
    try:
        async with running(service, open_dir) as (_, connection):
            assert await connection.fetchval("SELECT 1") == 1
            await reaper
            assert looker.poll() is None
    finally:
        looker.kill()
        looker.wait()


async def test_a_cluster_that_was_half_made_is_made_again(open_dir: Path) -> None:
    service = postgres_service(open_dir, free_port(0), ENV)
    (service.cluster.folder / "data.partial" / "base").mkdir(parents=True)
    (service.cluster.folder / "password.partial").write_text("x")
    async with running(service, open_dir) as (_, connection):
        assert await connection.fetchval("SELECT 1") == 1


async def test_what_is_no_cluster_is_left_alone(open_dir: Path) -> None:
    service = postgres_service(open_dir, free_port(0), ENV)
    service.cluster.data.mkdir(parents=True)
    precious = service.cluster.data / "thesis.txt"
    precious.write_text("x")
    with pytest.raises(Refused, match="holds something, and it is no PostgreSQL cluster"):
        service.cluster.prepare()
    assert precious.exists()


async def test_a_taken_port_is_said(made: Path, open_dir: Path) -> None:
    service = copy_of(made, open_dir)
    with socket.create_server(("127.0.0.1", service.port)), pytest.raises(Refused, match="could not bind IPv4 address"):
        async with running(service, open_dir):
            pass


# --- what root must not do ---


@as_root
async def test_a_parent_that_is_closed_is_named_and_left_as_it_is(open_dir: Path) -> None:
    closed = open_dir / "home"
    closed.mkdir(mode=0o700)
    data_dir = closed / "aegis"
    data_dir.mkdir()
    before = modes(data_dir)
    supervisor = Supervisor(data_dir, lambda _: None)
    with pytest.raises(Refused) as caught:
        await supervisor.start([postgres_service(data_dir, free_port(0), ENV).spec()])
    await supervisor.stop()
    assert f"the user nobody may not enter {closed} " in caught.value.reason
    assert "set AEGIS_DATA_DIR" in caught.value.reason
    assert modes(data_dir) == before


@as_root
async def test_programs_that_are_out_of_reach_are_copied_beside_the_data(open_dir: Path) -> None:
    wheel = postgres_service(open_dir, 1, ENV).cluster.package
    closed = open_dir / "venv"
    closed.mkdir(mode=0o700)
    shutil.copytree(wheel, closed / wheel.name, symlinks=True)
    shutil.copytree(wheel.with_name(f"{wheel.name}.libs"), closed / f"{wheel.name}.libs", symlinks=True)
    service = postgres_service(open_dir, free_port(0), ENV, package=closed / wheel.name)
    async with running(service, open_dir) as (supervisor, connection):
        assert await connection.fetchval("SELECT 1") == 1
        program = os.readlink(f"/proc/{supervisor.pids()['postgres']}/exe")
        assert program.startswith(str(service.cluster.folder / "install"))
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    copied = service.cluster.folder / "install"
    assert sum(path.stat().st_size for path in copied.rglob("*") if path.is_file()) < 40 << 20
    assert {path.stat().st_uid for path in copied.rglob("*")} == {0}
    inode = copied.stat().st_ino
    async with running(service, open_dir):
        assert copied.stat().st_ino == inode


@as_root
def test_the_account_is_the_owner_of_the_folder_or_nobody(open_dir: Path) -> None:
    assert unprivileged_account(open_dir / "not" / "yet") == Account("nobody", 65534, 65534)
    os.chown(open_dir, 1, 1)
    account = unprivileged_account(open_dir / "not" / "yet")
    assert account is not None
    assert account.uid == 1
    os.chown(open_dir, 12345, 1)
    with pytest.raises(Refused, match=f"uid 12345, which owns {open_dir}"):
        unprivileged_account(open_dir)


@as_root
async def test_data_of_somebody_else_or_of_another_version_are_refused(made: Path, open_dir: Path) -> None:
    service = copy_of(made, open_dir)
    (service.cluster.data / "PG_VERSION").write_text("17\n")
    with pytest.raises(Refused, match="was made by version 17, and version 18"):
        service.cluster.prepare()
    os.chown(service.cluster.data, 1, 1)
    with pytest.raises(Refused, match="belongs to uid 1, and the server would run as uid 65534"):
        service.cluster.prepare()


def test_modes_decide_who_gets_through(open_dir: Path) -> None:
    inner = open_dir / "a" / "b"
    inner.mkdir(parents=True)
    file = inner / "file"
    file.write_text("x")
    stranger, group, owner = (
        Account("s", 4242, 4242),
        Account("g", 4242, os.getegid()),
        Account("o", os.geteuid(), 4242),
    )
    assert blocking_path(file, stranger) is None
    assert blocking_path(inner / "not" / "there", stranger) is None
    (open_dir / "a").chmod(0o710)
    assert blocking_path(file, stranger) == open_dir / "a"
    assert blocking_path(file, group) is None
    (open_dir / "a").chmod(0o055)
    assert blocking_path(file, owner) == open_dir / "a"
    (open_dir / "a").chmod(0o755)
    file.chmod(0o600)
    assert blocking_path(file, stranger) == file


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secret"
    secret = load_or_create_secret(path)
    assert len(secret) == 48
    assert load_or_create_secret(path) == secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["secret"]
    assert load_or_create_secret(tmp_path / "other") != secret
