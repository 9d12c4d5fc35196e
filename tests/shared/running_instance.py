"""`aegis up` as a user starts it: a process of its own on a fresh folder, spoken to over HTTP and the command line alone."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest

from aegis.access import opened_control_plane, tokens
from aegis.client import sign
from aegis.instance import read_instance
from aegis.settings import Settings, load_settings
from aegis.wiring import opened_clickhouse
from storage.scope import OrgScope

AEGIS = (sys.executable, "-m", "aegis.cli")
UNLIMITED = {"AEGIS_RATE_LIMIT_ORGANIZATION": "10000000", "AEGIS_RATE_LIMIT_ADDRESS": "10000000"}
"""All tests are one address, which sends more than a client does; limits have tests of their own."""
# Of processes that test at the same time each has usual ports of its own, as two instances that start at once find the same free.
_USUAL_PORTS = {
    "REDIS_PORT": 6379,
    "CLICKHOUSE_PORT": 8123,
    "AEGIS_POSTGRES_PORT": 5432,
    "AEGIS_WORKER_PORT": 3002,
    "AEGIS_GATEWAY_OWN_PORT": 3100,
}
PORTS = {
    name: str(port + 100 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")))
    for name, port in _USUAL_PORTS.items()
}
DAY = {"start": "2025-10-31T00:00:00Z", "end": "2025-11-01T00:00:00Z"}


@dataclass
class Organization:
    """A tenant of its own for one test: what it sends with, and what it asks with."""

    instance: Any
    org_id: str
    org_key: str
    secret: str = field(repr=False)
    token: str = field(repr=False)

    def post(
        self, body: bytes, *, path: str = "/v1/logs", drop: str = "", off_s: float = 0, **headers: str
    ) -> httpx.Response:
        """Send a body, signed unless a header is dropped or replaced."""
        return self.instance.http.post(path, content=body, headers=self._signed(body, drop, off_s, headers))

    def post_with(self, http: httpx.Client, request: dict[str, Any], *, path: str = "/v1/logs") -> httpx.Response:
        """Send a request over another connection than the shared one, for threads."""
        body = json.dumps(request).encode()
        return http.post(path, content=body, headers=self._signed(body))

    def _signed(
        self, body: bytes, drop: str = "", off_s: float = 0, replace: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        signed = sign(
            body, org_key=self.org_key, secret=self.secret, timestamp_ms=int((time.time() + off_s) * 1000)
        ) | {name.replace("_", "-"): value for name, value in (replace or {}).items()}
        signed.pop(drop, None)
        return signed

    def as_member(self) -> Organization:
        """The same with a token that may define monitors."""
        settings = load_settings(self.instance.data_dir)
        token = tokens(settings).issue(OrgScope(self.org_id), role="member", subject="test", lifetime_s=3600)
        return replace(self, token=token)

    def asked(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """What the API answers, which must have this status."""
        headers = {"authorization": f"Bearer {self.token}"}
        answer = self.instance.http.request(method, path, json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def send(self, logs: list[dict[str, Any]]) -> None:
        """Send logs that must be accepted."""
        response = self.post(json.dumps({"logs": logs}).encode())
        assert response.status_code == 202, response.text
        assert response.json()["accepted"] == len(logs)

    def stored(self, signal: str) -> list[dict[str, Any]]:
        """Every record of a signal as its store holds it, also what stands there twice; read from the store itself."""
        return asyncio.run(_read_store(load_settings(self.instance.data_dir), signal, self.org_id))

    def stored_in_time(self, signal: str, count: int, *, within_s: float = 30) -> list[dict[str, Any]]:
        """The same once there are at least `count`, or when the time is over."""
        deadline = time.monotonic() + within_s
        while len(records := self.stored(signal)) < count and time.monotonic() < deadline:
            time.sleep(0.1)
        return records

    def read_table(self, table: str, columns: str) -> list[list[Any]]:
        """Some columns of all of its rows of a table of ClickHouse, read from the store itself; both names are the test's."""
        return asyncio.run(_read_table(load_settings(self.instance.data_dir), table, columns, self.org_id))

    def ask(self, token: str | None = None, **search: Any) -> httpx.Response:
        """Search; by default all of the day of the README's example."""
        headers = {"authorization": f"Bearer {token or self.token}"}
        return self.instance.http.post("/query/logs/search", json=DAY | search, headers=headers)

    def found(self, **search: Any) -> list[dict[str, Any]]:
        """Every log of a search, all its pages."""
        logs: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            response = self.ask(limit=1000, **search, **({"cursor": cursor} if cursor else {}))
            assert response.status_code == 200, response.text
            page = response.json()
            logs += page["logs"]
            cursor = page["next_cursor"]
            if cursor is None:
                return logs

    def found_in_time(self, count: int, *, within_s: float = 30, **search: Any) -> list[dict[str, Any]]:
        """Every log of a search, once there are at least `count`, or when the time is over."""
        deadline = time.monotonic() + within_s
        while len(logs := self.found(**search)) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        return logs


async def _read_store(settings: Settings, signal: str, org_id: str) -> list[dict[str, Any]]:
    if signal == "metrics":
        sql = "SELECT name, labels, ts, value FROM metrics JOIN series ON series.id = series_id WHERE org_id = $1"
        rows = await read_metrics(settings, sql, org_id)
        return [dict(row) for row in rows]
    table = {"logs": "logs", "traces": "spans", "rum": "rum_events"}[signal]
    fields = {"logs": "message", "traces": "span_id", "rum": "name"}
    sql = f"SELECT record_id, {fields[signal]} FROM {table} WHERE org_id = {{org_id:String}}"
    async with opened_clickhouse(settings) as clickhouse:
        answer = await clickhouse.read(sql, _StoredRow, {"org_id": org_id}, {}, doing=f"read {table}")
    return [{"record_id": row.record_id, "text": row.text} for row in answer.rows]


async def _read_table(settings: Settings, table: str, columns: str, org_id: str) -> list[list[Any]]:
    sql = f"SELECT {columns} FROM {table} WHERE org_id = {{org_id:String}}"
    async with opened_clickhouse(settings) as clickhouse:
        answer = await clickhouse.read(sql, list[Any], {"org_id": org_id}, {}, doing=f"read {table}")
    return answer.rows


async def read_metrics(settings: Settings, sql: str, *values: object) -> list[asyncpg.Record]:
    """The rows of one statement in the database of metrics."""
    connection = await asyncpg.connect(
        host=settings.timescale_host,
        port=settings.timescale_port,
        database=settings.timescale_database,
        user=settings.timescale_user,
        password=settings.timescale_password.get_secret_value(),
    )
    try:
        return await connection.fetch(sql, *values)
    finally:
        await connection.close()


class _StoredRow(msgspec.Struct, array_like=True):
    record_id: int
    text: str


class Instance:
    """A running `aegis up`."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.data_dir = folder / "data"
        self.env = {**os.environ, "AEGIS_LEASE_S": "1", **UNLIMITED, **env}
        self.errors = folder / "up.stderr"
        self.facts: dict[str, Any] = {}
        self._process: subprocess.Popen[str] | None = None
        self.http = httpx.Client()

    def start(self) -> None:
        argv = [*AEGIS, "up", "--data-dir", str(self.data_dir), "--port", "0", "--json"]
        with self.errors.open("a") as errors:
            env = {**PORTS, **self.env}
            self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=errors, text=True, env=env)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"aegis up did not get ready:\n{self.errors.read_text()[-3000:]}"
        self.facts = json.loads(line)
        self.http.close()
        self.http = httpx.Client(base_url=self.url, timeout=30)

    @property
    def url(self) -> str:
        return str(self.facts["url"])

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal `aegis up` and wait for it; its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        code = self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None
        return code

    def close(self) -> None:
        self.http.close()
        if self._process is not None:
            self.end()

    def aegis(self, *arguments: str, fails: bool = False, exit_code: int = 0, stdin: str = "") -> str:
        """Run a command beside it; its standard output, or its standard error when it is to fail."""
        argv = [*AEGIS, *arguments, "--data-dir", str(self.data_dir)]
        done = subprocess.run(argv, env=self.env, input=stdin, capture_output=True, text=True, timeout=60, check=False)
        if fails:
            assert done.returncode != 0, done.stdout
            return " ".join(done.stderr.split())  # Long lines are folded for people.
        assert done.returncode == exit_code, done.stderr + done.stdout
        return done.stdout

    def organization(self, name: str) -> Organization:
        """A new tenant with a key and a viewer's token; as the command line makes it, without its start-up time."""
        settings = load_settings(self.data_dir)

        async def make() -> Organization:
            async with opened_control_plane(settings, with_secrets=True) as control_plane:
                made = await control_plane.organizations.create(name)
                key = await control_plane.api_keys.create(made.scope)
            token = tokens(settings).issue(made.scope, role="viewer", subject="test", lifetime_s=3600)
            return Organization(self, made.id, key.key.prefix, key.secret, token)

        return asyncio.run(make())

    def processes(self) -> dict[str, dict[str, Any]]:
        """Name -> what `aegis status` says of each process, without the command's start-up time."""
        return {each["name"]: each for each in asyncio.run(read_instance(self.data_dir))["processes"]}

    def kill(self, name: str) -> None:
        """SIGKILL one of its processes and wait until another has taken its place and is ready."""
        # One that is just being started again has no pid, and nothing that runs would be killed.
        before = self.ready_pid(name)
        os.kill(before, signal.SIGKILL)
        self.ready_pid(name, other_than=before)

    def ready_pid(self, name: str, *, other_than: int | None = None, within_s: float = 60) -> int:
        """The process of this name as soon as it is ready."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            now = self.processes()[name]
            if now["pid"] not in (None, other_than) and now["state"] == "ready":
                return int(now["pid"])
            time.sleep(0.05)
        raise AssertionError(f"{name} did not get ready: {self.errors.read_text()[-2000:]}")


def health_in_time(url: str, *, within_s: float = 15) -> Any:
    """What a process says of itself once all it depends on answers, or when the time is over: right after a start something is
    still loading."""
    deadline = time.monotonic() + within_s
    while (health := httpx.get(f"{url}/health").json())["status"] != "ok" and time.monotonic() < deadline:
        time.sleep(0.1)
    return health


@contextmanager
def made_instances() -> Iterator[Callable[..., Instance]]:
    """Makes instances with settings of their own (not started yet), and stops and removes them all in the end."""
    made: list[tuple[Instance, Path]] = []

    def make(**env: str) -> Instance:
        folder = Path(tempfile.mkdtemp(prefix="aegis-test-up-"))
        folder.chmod(0o755)  # PostgreSQL runs as another user when the tests run as root.
        made.append((Instance(folder, **env), folder))
        return made[-1][0]

    try:
        yield make
    finally:
        for instance, folder in made:
            instance.close()
            shutil.rmtree(folder)


@pytest.fixture
def new_instance() -> Iterator[Callable[..., Instance]]:
    """Makes instances that live as long as the test."""
    with made_instances() as make:
        yield make


@pytest.fixture(scope="session")
def instance() -> Iterator[Instance]:
    """One that tests share; each makes an organization of its own."""
    with made_instances() as make:
        started = make()
        started.start()
        yield started


@pytest.fixture
def organization(instance: Instance, request: pytest.FixtureRequest) -> Organization:
    """A tenant of the shared instance for this test alone."""
    return instance.organization(f"{request.node.name[:60]}-{time.time_ns()}")


def family_of(pid: int) -> list[int]:
    """A process and everything below it: PostgreSQL's backends are processes of their own."""
    family = [pid]
    for parent in family:
        with suppress(FileNotFoundError):
            family += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    return family


@contextmanager
def stop_process(instance: Any, name: str) -> Iterator[None]:
    """A process that neither answers nor ends, as one behind a broken network."""
    family = family_of(instance.processes()[name]["pid"])
    signal_all(family, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_all(family, signal.SIGCONT)


def signal_all(pids: list[int], number: signal.Signals) -> None:
    """Signal those that still run."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@pytest.fixture
def stopped() -> Callable[..., Any]:
    """`with stopped(instance, name):` keeps one of its processes from doing anything."""
    return stop_process
