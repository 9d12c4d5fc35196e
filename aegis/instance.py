"""A data folder <-> the instance that `aegis up` runs in it: where it is, what it is signed with, how it is.

`instance.env` (mode 0600) holds the settings that other commands need to work beside it; aegis/settings.py reads it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from aegis.access import opened_control_plane
from aegis.settings import INSTANCE_FILE, Settings, load_settings
from aegis.supervision.status import read_pool_statuses, read_status
from query.control.passwords import Passwords
from storage.scope import OrgScope
from topics.errors import Refused, Unavailable
from topics.redis_streams.wire import ReplyError, Wire
from web.serving import reachable

DEVELOPMENT = "development"
DEVELOPMENT_EMAIL = "owner@development.localhost"
CHECK_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Development:
    """The organization and key that `aegis up` makes, to try things with."""

    org_id: str
    org_key: str
    secret: str


@dataclass(frozen=True, slots=True)
class DevelopmentOwner:
    """Its owner, to log in as; no password when it was changed since."""

    email: str
    password: str | None


def write_instance_file(data_dir: Path, settings: Mapping[str, str]) -> None:
    """Replace `instance.env` at one stroke, readable by its owner alone."""
    partial = data_dir / f"{INSTANCE_FILE}.partial"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.writelines(f"{name}={_quoted(value)}\n" for name, value in settings.items())
    partial.replace(data_dir / INSTANCE_FILE)


def _quoted(value: str) -> str:
    """As python-dotenv reads it: in single quotes, with backslashes before what would end them."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def remove_instance_file(data_dir: Path) -> None:
    """Say that nothing runs here any more."""
    (data_dir / INSTANCE_FILE).unlink(missing_ok=True)


async def development_credentials(settings: Settings) -> Development:
    """The development organization's first working key; both are made when they are not there."""
    async with opened_control_plane(settings, with_secrets=True) as control_plane:
        try:
            organization = await control_plane.organizations.get(DEVELOPMENT)
        except Refused as exc:
            if exc.code != "not_found":
                raise
            organization = await control_plane.organizations.create(DEVELOPMENT)
        for key in await control_plane.api_keys.list_in(organization.scope):
            if key.revoked_at is None and key.expires_at is None and key.name == DEVELOPMENT:
                with suppress(Refused):  # One that was sealed under another master key is of no use.
                    return Development(
                        organization.id, key.prefix, await control_plane.api_keys.open_secret(key.prefix)
                    )
        made = await control_plane.api_keys.create(organization.scope, name=DEVELOPMENT)
        return Development(organization.id, made.key.prefix, made.secret)


async def development_owner(settings: Settings, development: Development, password: str) -> DevelopmentOwner:
    """The owner of the development organization, made with this password when it is not there."""
    passwords = Passwords()
    try:
        async with opened_control_plane(settings, with_secrets=False) as control_plane:
            scope = OrgScope(development.org_id)
            found = await control_plane.users.find_login(DEVELOPMENT_EMAIL)
            if found is None:
                hashed = await passwords.hash(password)
                await control_plane.memberships.add_person(scope, DEVELOPMENT_EMAIL, "owner", password_hash=hashed)
                return DevelopmentOwner(DEVELOPMENT_EMAIL, password)
            is_it = await passwords.verify(found.password_hash, password)
            return DevelopmentOwner(DEVELOPMENT_EMAIL, password if is_it else None)
    finally:
        passwords.close()


async def read_instance(data_dir: Path) -> dict[str, Any]:
    """What runs in a data folder: url, data_dir and processes with pid, state, uptime_s, restarts, port and health.

    Those of `aegis gateway --processes N` and `aegis worker --processes N` are among them; url is None while only such run
    here and no `aegis up`.

    Raises `Refused` when nothing does.
    """
    status, pools = read_status(data_dir), read_pool_statuses(data_dir)
    folder = _absolute(data_dir)
    if status is None and not pools:
        raise Refused(f"cannot find a running instance in {folder}: start one with `aegis up`", code="not_running")
    settings = load_settings(data_dir)
    checks = _checks(settings)
    processes = status.processes if status else []
    asked = [checks.get(process.name) for process in processes]
    for pool in pools:
        for process in pool.processes:
            processes = [*processes, process]
            asked.append(partial(_http_health, f"http://{reachable(settings.host)}:{process.port}/health"))
    healths = await asyncio.gather(*(_health(check) for check in asked))
    return {
        "url": f"http://{settings.host}:{settings.port}" if status else None,
        "data_dir": folder,
        "supervisor_pid": status.supervisor_pid if status else None,
        "processes": [
            asdict(process) | {"health": health if process.state == "ready" else process.state}
            for process, health in zip(processes, healths, strict=True)
        ],
    }


async def _http_health(url: str) -> str:
    """How a process says it is: "ok", or what else."""
    async with httpx.AsyncClient(timeout=CHECK_TIMEOUT_S) as client:
        answer = await client.get(url)
        if answer.status_code != 200:
            return f"status {answer.status_code}"
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        return str(answer.json().get("status", "ok")) if is_json else "ok"


def _absolute(folder: Path) -> str:
    return str(folder.absolute())


def _checks(settings: Settings) -> dict[str, Callable[[], Awaitable[str]]]:
    """Process name -> how to ask it how it is; answers "ok" or what else it says of itself."""

    async def redis() -> str:
        wire = Wire(settings.transport_url, name="aegis-status")
        try:
            await wire.call(("PING",))
        finally:
            await wire.close()
        return "ok"

    async def postgres() -> str:
        async with opened_control_plane(settings, with_secrets=False) as control_plane:
            await control_plane.ping()
            return "ok"

    return {
        "redis": redis,
        "postgres": postgres,
        "clickhouse": partial(_http_health, f"http://{settings.clickhouse_host}:{settings.clickhouse_port}/ping"),
        "gateway": partial(_http_health, f"http://{settings.host}:{settings.port}/health"),
        "worker": partial(_http_health, f"http://{settings.host}:{settings.worker_port}/health"),
    }


async def _health(check: Callable[[], Awaitable[str]] | None) -> str:
    if check is None:
        return "unknown"
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await check()
    except (Unavailable, ReplyError, httpx.HTTPError, OSError, TimeoutError):
        return "down"
