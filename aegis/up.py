"""`aegis up`: a data folder -> everything running on this machine, supervised, until Ctrl-C.

    embedded services  ->  migrations  ->  development organization  ->  gateway (with the query API) and worker  ->  ready

A service is embedded unless its place is configured (DATABASE_URL, TIMESCALE_HOST, CLICKHOUSE_HOST, REDIS_HOST or
AEGIS_TRANSPORT). One PostgreSQL serves the control plane and the metrics.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr
from rich.markup import escape

from aegis.access import tokens
from aegis.cli.console import err, out, print_json, say
from aegis.embedded.clickhouse.service import USER as CLICKHOUSE_USER
from aegis.embedded.clickhouse.service import clickhouse_service
from aegis.embedded.ports import free_port
from aegis.embedded.postgres import postgres_service
from aegis.embedded.redis import redis_service
from aegis.embedded.secrets import load_or_create_secret
from aegis.instance import (
    Development,
    DevelopmentOwner,
    development_credentials,
    development_owner,
    remove_instance_file,
    write_instance_file,
)
from aegis.settings import Settings, as_environment, environment
from aegis.supervision.lock import lock_data_dir, turn_to_start
from aegis.supervision.spec import Event, ProcessSpec
from aegis.supervision.supervisor import Supervisor
from aegis.wiring import migrate_all, timescale_address
from storage.metrics_retention import apply_metrics_retention
from storage.scope import OrgScope
from topics.errors import AegisError, Refused
from web.serving import reachable, stop_on_signals

RETENTION_EVERY_S = 6 * 3600
TOKEN_LIFETIME_S = 365 * 24 * 3600
_COLOURS = {"ready": "green", "ended": "yellow", "failed": "red", "leftover": "yellow", "stopped": "dim"}


async def run_up(settings: Settings, *, port_is_fixed: bool, json: bool) -> None:
    """Start everything, say when it is ready, keep it running until SIGINT or SIGTERM, stop it in order.

    Raises `Refused` when another instance uses the folder, a fixed port is taken, or a part does not start.
    """
    begin = time.monotonic()
    data_dir = settings.data_dir.absolute()
    with lock_data_dir(data_dir):
        stop = stop_on_signals()
        supervisor = Supervisor(data_dir, _say_event)
        try:
            starting = asyncio.create_task(_start(supervisor, settings, port_is_fixed))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)
                return
            instance, development, owner = await starting
            _announce(instance, development, owner, supervisor.pids(), json=json)
            say(
                f"started in {time.monotonic() - begin:.1f} s; logs are in {data_dir / 'logs'}; Ctrl-C stops everything"
            )
            retention = asyncio.create_task(_keep_applying_retention(instance))
            await stopping
            retention.cancel()
            say("stopping")
        finally:
            await supervisor.stop()
            remove_instance_file(data_dir)
    say("stopped")


async def _keep_applying_retention(settings: Settings) -> None:
    """The embedded PostgreSQL has no background jobs that delete old samples, as TimescaleDB has, so it is done from here."""
    while settings.retention == "on":
        try:
            removed = await apply_metrics_retention(timescale_address(settings).dsn)
        except AegisError as exc:
            say(f"[yellow]{escape(str(exc))}; trying again in {RETENTION_EVERY_S // 3600} hours[/]")
        else:
            for each in removed:
                say(f"removed {each.count} {each.unit} of {each.table} that are past their retention")
        await asyncio.sleep(RETENTION_EVERY_S)


async def _start(
    supervisor: Supervisor, settings: Settings, port_is_fixed: bool
) -> tuple[Settings, Development, DevelopmentOwner]:
    """Bring everything up when it is this instance's turn; returns the settings as the parts of Aegis see them."""
    async with turn_to_start():
        return await _start_at(supervisor, settings, _http_port(settings, port_is_fixed))


async def _start_at(
    supervisor: Supervisor, settings: Settings, port: int
) -> tuple[Settings, Development, DevelopmentOwner]:
    data_dir = settings.data_dir.absolute()
    specs, facts = _embedded(settings)
    facts |= {
        "data_dir": data_dir,
        "host": settings.host,
        "port": port,
        "worker_port": free_port(settings.worker_port, settings.host),
        "gateway_own_port": _own_port(settings),
        "jwt_secret": settings.jwt_secret or _made_secret(data_dir / "jwt.secret"),
        "public_url": settings.public_url or f"http://{reachable(settings.host)}:{port}",
        # For development: receivers run on this machine.
        "channel_networks": settings.channel_networks or "127.0.0.0/8,::1/128",
        "master_key": settings.master_key or _made_secret(data_dir / "master.key"),
    }
    instance = settings.model_copy(update=facts)
    if specs:
        say(f"starting {', '.join(spec.name for spec in specs)}")
    await supervisor.start(specs)
    applied = await migrate_all(instance)
    if applied:
        say(f"applied {len(applied)} migrations")
    development = await development_credentials(instance)
    password = load_or_create_secret(data_dir / "owner.password", size_bytes=12)
    owner = await development_owner(instance, development, password)
    logs_in = {"AEGIS_DEVELOPMENT_EMAIL": owner.email, "AEGIS_DEVELOPMENT_PASSWORD": owner.password or ""}
    write_instance_file(data_dir, as_environment(facts) | logs_in)
    say("starting gateway, worker")
    services = tuple(spec.name for spec in specs)
    await supervisor.start(_own_processes(instance, environment() | as_environment(facts), after=services))
    return instance, development, owner


def _embedded(settings: Settings) -> tuple[list[ProcessSpec], dict[str, Any]]:
    """The services to run here, and the settings (by field) that lead to them."""
    data_dir, env, given = settings.data_dir.absolute(), environment(), settings.model_fields_set
    specs: list[ProcessSpec] = []
    facts: dict[str, Any] = {}
    if not given & {"redis_host", "transport"}:
        redis = redis_service(
            data_dir,
            free_port(settings.redis_port),
            maxmemory_bytes=settings.redis_maxmemory_bytes,
            appendfsync=settings.redis_appendfsync,
            env=env,
        )
        specs.append(redis.spec())
        facts["transport"] = SecretStr(redis.url)
    if not {"database_url", "timescale_host"} <= given:
        postgres = postgres_service(data_dir, free_port(settings.postgres_port), env)
        specs.append(postgres.spec())
        if "database_url" not in given:
            facts["database_url"] = SecretStr(postgres.url)
        if "timescale_host" not in given:
            facts |= {
                "timescale_host": "127.0.0.1",
                "timescale_port": postgres.port,
                "timescale_database": postgres.cluster.database,
                "timescale_user": postgres.cluster.user,
                "timescale_password": SecretStr(postgres.password),
            }
    if "clickhouse_host" not in given:
        clickhouse = clickhouse_service(data_dir, free_port(settings.clickhouse_port), env)
        specs.append(clickhouse.spec())
        facts |= {
            "clickhouse_host": "127.0.0.1",
            "clickhouse_port": clickhouse.port,
            "clickhouse_user": CLICKHOUSE_USER,
            "clickhouse_password": SecretStr(clickhouse.password),
        }
    return specs, facts


def _own_processes(settings: Settings, env: dict[str, str], *, after: tuple[str, ...]) -> list[ProcessSpec]:
    """The parts of Aegis itself; they stop before the services that they come after."""

    def spec(name: str, port: int, *arguments: str) -> ProcessSpec:
        argv = (sys.executable, "-m", "aegis.cli", *arguments)
        return ProcessSpec(
            name=name,
            argv=argv,
            env=env,
            after=after,
            ready=_is_ready(f"http://{reachable(settings.host)}:{port}/ready", name),
            stop_timeout_s=settings.drain_s + 40.0,  # More than a pool gives its own.
            ready_timeout_s=60.0,
        )

    return [
        spec("gateway", settings.port, "gateway", "--with-query"),
        spec("worker", settings.worker_port, "worker"),
    ]


def _is_ready(url: str, process: str) -> Callable[[], Any]:
    async def probe() -> bool:
        async with httpx.AsyncClient(timeout=3) as client:
            answer = await client.get(url)
            return answer.status_code == 200 and answer.json()["process"] == process

    return probe


def _http_port(settings: Settings, fixed: bool) -> int:
    """The port to serve on. A default that is taken gives way to a free one; a chosen one that is taken is refused."""
    if not fixed and "port" not in settings.model_fields_set:
        return free_port(settings.port, settings.host)
    if settings.port == 0:
        return free_port(0, settings.host)
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as exc:
            raise Refused(
                f"cannot listen on {settings.host}:{settings.port}: {exc.strerror}; choose another with --port or AEGIS_PORT",
                code="bad_setting",
            ) from exc
    return settings.port


def _own_port(settings: Settings) -> int:
    """Where the gateway's processes serve each on its own; looked for only when there are several."""
    several = settings.gateway_processes > 1
    return free_port(settings.gateway_own_port, settings.host) if several else settings.gateway_own_port


def _made_secret(path: Path) -> SecretStr:
    """A secret that is made once for this data folder: 64 hex digits."""
    return SecretStr(load_or_create_secret(path, size_bytes=32))


def _say_event(event: Event) -> None:
    say(f"[{_COLOURS[event.what]}]{escape(event.text)}[/]")


def _announce(
    settings: Settings, development: Development, owner: DevelopmentOwner, pids: dict[str, int], *, json: bool
) -> None:
    """Print where it is, what to sign with and who may log in; the last line says that it is ready."""
    url = f"http://{reachable(settings.host)}:{settings.port}"
    scope = OrgScope(development.org_id)
    token = tokens(settings).issue(scope, role="owner", subject="development", lifetime_s=TOKEN_LIFETIME_S)
    if json:
        facts = {
            "url": url,
            **asdict(development),
            **asdict(owner),
            "token": token,
            "data_dir": str(settings.data_dir),
            "pids": pids,
        }
        print_json(facts)
    else:
        for name, value in (
            ("url", url),
            ("API docs", f"{url}/docs"),
            ("organization", development.org_id),
            ("x-org-key", development.org_key),
            ("secret", development.secret),
            ("token", token),
            ("e-mail", owner.email),
            ("password", owner.password or "(changed since it was made)"),
        ):
            out.print(f"[dim]{name:>14}[/]  {value}", soft_wrap=True, highlight=False)
    (err if json else out).print(f"[bold green]aegis is ready on {url}[/]", soft_wrap=True, highlight=False)
