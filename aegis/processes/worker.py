"""`aegis worker`: settings -> the agents, until SIGTERM or until one of them fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI

from aegis.processes.dead_letter_bound import keep_dead_letters_bounded
from aegis.processes.worker_metrics import registered
from aegis.settings import Settings
from aegis.wiring import declare_all_topics_in_time, opened_clickhouse, opened_metrics
from agents.app import Stores, create_normalize_app, create_store_app, learn_topics
from agents.blocks import BlockBounds
from storage.logs import LogStore
from storage.rum import RumStore
from storage.spans import SpanStore
from topics.errors import Unavailable
from topics.faust_app import EmbeddedApp, TransportConfig
from web.health import Health, operations_app
from web.serving import bind, serve, stop_on_signals

log = logging.getLogger(__name__)


async def run_worker(settings: Settings, *, duties: Sequence[str]) -> None:
    """Run the agents of `duties` until SIGTERM. Raises what an agent failed with, so that the process ends with an error."""
    async with AsyncExitStack() as stack:
        sock = bind(settings.host, settings.worker_port, setting="AEGIS_WORKER_PORT")
        stack.callback(sock.close)
        stop = stop_on_signals()
        failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

        def crash(exc: BaseException) -> None:
            if not failure.done():
                failure.set_result(exc)

        clickhouse = await stack.enter_async_context(opened_clickhouse(settings))
        metrics = await stack.enter_async_context(opened_metrics(settings))
        await declare_all_topics_in_time(settings, stop)
        stores = Stores(
            logs=LogStore(clickhouse), spans=SpanStore(clickhouse), rum=RumStore(clickhouse), metrics=metrics
        )
        apps = _create_apps(settings, duties, stores, crash)
        stack.enter_context(registered(apps))
        checks = {"clickhouse": clickhouse.ping, "timescale": metrics.ping} if "store" in duties else {}
        web = _worker_app(apps, checks)
        serving = asyncio.create_task(serve(web, sock, stop=stop))
        async with _running(settings, apps, crash):
            log.info("running %s", ", ".join(apps) or "nothing: every duty is switched off")
            ends: set[asyncio.Future[Any]] = {asyncio.create_task(stop.wait()), failure, serving}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        stop.set()  # Also when it was a failure that ended the wait.
        await serving
        if failure.done():
            raise failure.result()


def _create_apps(settings: Settings, duties: Sequence[str], stores: Stores, crash: Any) -> dict[str, EmbeddedApp]:
    config = TransportConfig(
        url=settings.transport_url,
        data_dir=settings.data_dir / "faust",
        partitions=settings.partitions,
        lease_s=settings.lease_s,
        commit_interval_s=settings.commit_interval_s,
    )
    bounds = BlockBounds(settings.block_rows_max, settings.block_bytes_max, age_s=settings.block_age_s)
    apps: dict[str, EmbeddedApp] = {}
    if "normalize" in duties and settings.normalizer_enabled:
        apps["normalize"] = create_normalize_app(config, crash=crash)
    if "store" in duties:
        apps["store"] = create_store_app(config, stores=stores, bounds=bounds, crash=crash)
    return apps


@asynccontextmanager
async def _running(settings: Settings, apps: dict[str, EmbeddedApp], crash: Any) -> AsyncIterator[None]:
    """The apps started side by side, watched for failure, and stopped in the end however it comes."""

    async def run(app: EmbeddedApp) -> None:
        try:
            await learn_topics(app)
            await app.start()
            crash(await app.wait_until_failed())
        except Exception as exc:
            crash(exc)

    async def bound_letters() -> None:
        try:
            await keep_dead_letters_bounded(settings)
        except Exception as exc:
            crash(exc)

    running = [asyncio.create_task(run(app)) for app in apps.values()]
    running.append(asyncio.create_task(bound_letters()))
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for app in reversed(apps.values()):
            await app.stop()


def _worker_app(apps: dict[str, EmbeddedApp], checks: dict[str, Any]) -> FastAPI:
    """The worker's own /health, /ready and /metrics."""

    async def transport() -> None:
        for name, app in apps.items():
            if not app.streams.status().connected:
                raise Unavailable(f"cannot reach the transport for {name}")

    def facts() -> dict[str, Any]:
        statuses = {name: app.streams.status() for name, app in apps.items()}
        return {
            "agents": {
                name: {
                    "partitions": status.partitions,
                    "lag": sum(lag for lag in status.lag.values() if lag > 0),
                    "pending_messages": sum(status.pending_messages.values()),
                    "commits": status.counts.commits,
                    "rebalances": status.counts.rebalances,
                }
                for name, status in statuses.items()
            }
        }

    health = Health("worker", {"redis": transport, **checks}, required=frozenset({"redis"}), facts=facts)
    return operations_app("Aegis worker", health)
