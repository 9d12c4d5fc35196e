"""aegis up, gateway, worker, query, migrate: what runs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any

import typer
import uvloop

from aegis.cli.console import DataDir, Json, print_json, print_table, say, settings_of
from aegis.own_logging import configure_logging
from aegis.settings import Settings
from topics.errors import Refused

Host = Annotated[str | None, typer.Option(help="address to listen on (AEGIS_HOST)", show_default=False)]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    for command in (up, gateway, worker, query, migrate):
        app.command()(command)


def up(
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="HTTP port (AEGIS_PORT); 0 takes a free one", show_default=False),
    ] = None,
    data_dir: DataDir = None,
    host: Host = None,
    json: Json = False,
) -> None:
    """Start everything on this machine, in the foreground: Redis, PostgreSQL, ClickHouse and all of Aegis."""
    from aegis.up import run_up  # Imported here, because it loads every part and other commands shall start quickly.

    settings = settings_of(data_dir, beside_instance=False, port=port, host=host)
    configure_logging("up", settings.log_level)
    asyncio.run(run_up(settings, port_is_fixed=port is not None, json=json))


def gateway(
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="HTTP port (AEGIS_PORT)", show_default=False)
    ] = None,
    host: Host = None,
    with_query: Annotated[bool, typer.Option("--with-query", help="serve the query API on the same port")] = False,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            help="so many processes on this one port; those that die start again (AEGIS_GATEWAY_PROCESSES)",
            show_default=False,
        ),
    ] = None,
    own_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="with several: each one's own /health and /metrics, from here on (AEGIS_GATEWAY_OWN_PORT)",
            show_default=False,
        ),
    ] = None,
    data_dir: DataDir = None,
    listener: Annotated[int | None, typer.Option(hidden=True, help="descriptor of the socket to serve")] = None,
) -> None:
    """Run a gateway: it takes signed requests and puts them onto topics."""
    settings = settings_of(data_dir, port=port, host=host, gateway_processes=processes, gateway_own_port=own_port)
    if settings.gateway_processes > 1:
        from aegis.processes.pool import run_gateway_pool  # As above.

        pool = run_gateway_pool(settings, processes=settings.gateway_processes, with_query=with_query)
        configure_logging("gateways", settings.log_level)
        asyncio.run(pool)
        return
    from aegis.processes.gateway import run_gateway

    _run("gateway", settings, run_gateway(settings, with_query=with_query, listener=listener))


def query(
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="HTTP port (AEGIS_QUERY_PORT)", show_default=False)
    ] = None,
    host: Host = None,
    data_dir: DataDir = None,
) -> None:
    """Run the query API on its own."""
    from aegis.processes.query import run_query  # As above.

    settings = settings_of(data_dir, query_port=port, host=host)
    _run("query", settings, run_query(settings))


def worker(
    duty: Annotated[
        list[str] | None, typer.Option(help="normalize or store; repeat for several [default: all]", show_default=False)
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="port of /health and /metrics (AEGIS_WORKER_PORT)", show_default=False),
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            help="so many processes, on this port and the next ones; those that die start again (AEGIS_WORKER_PROCESSES)",
            show_default=False,
        ),
    ] = None,
    host: Host = None,
    data_dir: DataDir = None,
) -> None:
    """Run the agents: any number of workers share the partitions."""
    from agents.app import DUTIES  # As above.

    unknown = [each for each in duty or () if each not in DUTIES]
    if unknown:
        raise Refused(f"cannot start: --duty {unknown[0]} is none of {', '.join(DUTIES)}")
    settings = settings_of(data_dir, worker_port=port, worker_processes=processes, host=host)
    if settings.worker_processes > 1:
        from aegis.processes.pool import run_worker_pool

        pool = run_worker_pool(settings, processes=settings.worker_processes, duties=duty or DUTIES)
        configure_logging("workers", settings.log_level)
        asyncio.run(pool)
        return
    from aegis.processes.worker import run_worker

    _run("worker", settings, run_worker(settings, duties=duty or DUTIES))


def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be applied, change nothing")] = False,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Bring PostgreSQL and ClickHouse to this version's schema."""
    from aegis.wiring import migrate_all  # As above.

    applied = asyncio.run(migrate_all(settings_of(data_dir), dry_run=dry_run))
    if json:
        shown = [
            {"target": each.target, "number": each.number, "name": each.name, "seconds": round(each.seconds, 3)}
            for each in applied
        ]
        print_json({"migrations": shown, "dry_run": dry_run})
    elif applied:
        rows = [(each.target, f"{each.number:04d}", each.name, f"{each.seconds:.2f}") for each in applied]
        print_table("would be applied" if dry_run else "applied", ("store", "number", "name", "seconds"), rows)
    else:
        say("every store is up to date")


def _run(process: str, settings: Settings, work: Coroutine[Any, Any, None]) -> None:
    configure_logging(process, settings.log_level)
    uvloop.run(work)
