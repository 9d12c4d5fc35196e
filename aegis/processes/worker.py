"""`aegis worker`: settings -> the agents, until SIGTERM or until one of them fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI

from aegis.access import listening_for_changes, opened_control_plane, sealer
from aegis.notifying import opened_senders
from aegis.processes.dead_letter_bound import keep_dead_letters_bounded
from aegis.processes.worker_metrics import registered
from aegis.settings import Settings
from aegis.wiring import declare_all_topics_in_time, opened_clickhouse, opened_metrics
from agents.app import Stores, create_normalize_app, create_notify_app, create_store_app, create_watch_app, learn_topics
from agents.blocks import BlockBounds
from agents.followed_monitors import FollowedMonitors
from agents.scrubbers import Scrubbers
from agents.send_notifications import SendNotifications
from enrichment.attributes import Enrichment
from enrichment.locations import Locations
from enrichment.user_agents import UserAgents
from storage.changes import Change
from storage.control_plane import ControlPlane
from storage.logs import LogStore
from storage.rum import RumStore
from storage.spans import SpanStore
from topics.errors import Unavailable
from topics.faust_app import EmbeddedApp, TransportConfig
from topics.timestamps import prepare_columns
from web.health import Health, operations_app
from web.serving import bind, serve, stop_on_signals

log = logging.getLogger(__name__)


async def run_worker(settings: Settings, *, duties: Sequence[str]) -> None:
    """Run the agents of `duties` until SIGTERM. Raises what an agent failed with, so that the process ends with an error."""
    async with AsyncExitStack() as stack:
        sock = bind(settings.host, settings.worker_port, setting="AEGIS_WORKER_PORT")
        stack.callback(sock.close)
        stop = stop_on_signals()
        prepare_columns()
        failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

        def crash(exc: BaseException) -> None:
            if not failure.done():
                failure.set_result(exc)

        clickhouse = await stack.enter_async_context(opened_clickhouse(settings))
        metrics = await stack.enter_async_context(opened_metrics(settings))
        control_plane = await stack.enter_async_context(opened_control_plane(settings, with_secrets="notify" in duties))
        await declare_all_topics_in_time(settings, stop)
        stores = Stores(
            logs=LogStore(clickhouse), spans=SpanStore(clickhouse), rum=RumStore(clickhouse), metrics=metrics
        )
        scrubbers = await stack.enter_async_context(_scrubbers(settings, control_plane, duties))
        monitors = await stack.enter_async_context(_monitors(settings, control_plane, duties, crash))
        apps = _create_apps(settings, duties, stores, control_plane, scrubbers, monitors, crash)
        if "notify" in duties:
            sender = await stack.enter_async_context(_sending(settings, control_plane, crash))
            apps["notify"] = create_notify_app(
                _transport(settings),
                record=control_plane.notifications.record,
                recorded=sender.wake,
                public_url=settings.public_url,
                crash=crash,
            )
        stack.enter_context(registered(apps))
        checks: dict[str, Any] = {}
        if "store" in duties:
            checks |= {"clickhouse": clickhouse.ping, "timescale": metrics.ping}
        if {"watch", "notify"} & set(duties):
            checks["postgres"] = control_plane.ping
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


@asynccontextmanager
async def _scrubbers(
    settings: Settings, control_plane: ControlPlane, duties: Sequence[str]
) -> AsyncIterator[Scrubbers | None]:
    """The organizations' policies, followed as they change; None when nothing is normalized here."""
    if "normalize" not in duties or not settings.normalizer_enabled:
        yield None
        return
    keys = sealer(settings)
    scrubbers = Scrubbers(
        control_plane.organizations.privacy_policies, lambda org_id: keys.derived(f"privacy {org_id}")
    )

    def changed(change: Change) -> None:
        if change.concerns("organizations"):
            scrubbers.refresh()

    async with listening_for_changes(settings, changed):
        yield scrubbers


@asynccontextmanager
async def _sending(settings: Settings, control_plane: ControlPlane, crash: Any) -> AsyncIterator[SendNotifications]:
    """What sends notifications, whether the transport is there or not."""
    async with opened_senders(settings) as senders:
        sender = SendNotifications(control_plane.outbox, control_plane.notifications, senders)

        async def run() -> None:
            try:
                await sender.run()
            except Exception as exc:
                crash(exc)

        running = asyncio.create_task(run())
        try:
            yield sender
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def _transport(settings: Settings) -> TransportConfig:
    return TransportConfig(
        url=settings.transport_url,
        data_dir=settings.data_dir / "faust",
        partitions=settings.partitions,
        lease_s=settings.lease_s,
        commit_interval_s=settings.commit_interval_s,
    )


@asynccontextmanager
async def _monitors(
    settings: Settings, control_plane: ControlPlane, duties: Sequence[str], crash: Any
) -> AsyncIterator[FollowedMonitors | None]:
    """What organizations watch, followed as it changes; None where nobody asks."""
    if not {"normalize", "watch"} & set(duties):
        yield None
        return
    monitors = FollowedMonitors(control_plane.monitors.load_enabled, control_plane.monitors.list_in)

    async def follow() -> None:
        try:
            await monitors.keep_rereading()
        except Exception as exc:
            crash(exc)

    async with listening_for_changes(settings, monitors.changed):
        following = asyncio.create_task(follow())
        try:
            yield monitors
        finally:
            following.cancel()


def _create_apps(
    settings: Settings,
    duties: Sequence[str],
    stores: Stores,
    control_plane: ControlPlane,
    scrubbers: Scrubbers | None,
    monitors: FollowedMonitors | None,
    crash: Any,
) -> dict[str, EmbeddedApp]:
    config = _transport(settings)
    bounds = BlockBounds(settings.block_rows_max, settings.block_bytes_max, age_s=settings.block_age_s)
    apps: dict[str, EmbeddedApp] = {}
    if scrubbers is not None:
        apps["normalize"] = create_normalize_app(
            config, scrubbers=scrubbers, crash=crash, enrichment=_enrichment(settings), monitors=monitors
        )
    if "store" in duties:
        apps["store"] = create_store_app(config, stores=stores, bounds=bounds, crash=crash)
    if "watch" in duties:
        apps["watch"] = create_watch_app(config, flush_usage=control_plane.usage.flush, crash=crash, monitors=monitors)
    return apps


def _enrichment(settings: Settings) -> Enrichment:
    """What workers know of clients; takes some tenths of a second."""
    return Enrichment(
        Locations(settings.geoip_path),
        UserAgents(),
        address_names=_names(settings.geoip_attributes),
        user_agent_names=_names(settings.user_agent_attributes),
    )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


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
