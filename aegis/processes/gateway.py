"""`aegis gateway`: settings -> the way in, and with `with_query` the way out on the same port, until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from aegis.access import (
    client_addresses,
    followed_callers,
    followed_limits,
    listening_for_changes,
    opened_control_plane,
    tokens,
)
from aegis.control import opened_control
from aegis.notifying import opened_alerting
from aegis.settings import Settings
from aegis.wiring import declare_all_topics_in_time, opened_clickhouse, opened_timescale
from gateway.app import GatewayApp
from gateway.ingest import Ingest, IngestLimits
from gateway.keys import KeyDirectory, load_ingest_keys
from gateway.native_logs import NATIVE_LOGS
from gateway.native_metrics import NATIVE_METRICS
from gateway.native_rum import NATIVE_RUM
from gateway.native_traces import NATIVE_TRACES
from query.admission import Admission
from query.app import Stores, add_queries
from storage.changes import Change
from topics.names import RAW_TOPICS
from topics.redis_streams.intake import RedisIntake
from topics.redis_streams.stream_producer import StreamProducer
from topics.timestamps import prepare_columns
from web.health import Health, health_router, operations_app
from web.serving import bind, serve, stop_on_signals

log = logging.getLogger(__name__)

_FORMATS = {
    "/v1/logs": NATIVE_LOGS,
    "/v1/metrics": NATIVE_METRICS,
    "/v1/traces": NATIVE_TRACES,
    "/v1/rum": NATIVE_RUM,
}
"""Path -> the wire format that it takes."""


async def run_gateway(settings: Settings, *, with_query: bool, listener: int | None = None) -> None:
    """Serve ingestion, and with `with_query` the query API on the same port, until SIGTERM.

    `listener` is the descriptor of a socket that listens already and is shared with other gateways (aegis/processes/pool.py);
    /health, /ready and /metrics are then served on AEGIS_GATEWAY_OWN_PORT too.
    """
    async with AsyncExitStack() as stack:
        sock, own = _sockets(settings, listener)
        for each in (sock, own):
            if each is not None:
                stack.callback(each.close)
        stop = stop_on_signals()
        prepare_columns()
        control_plane = await stack.enter_async_context(opened_control_plane(settings, with_secrets=True))
        await declare_all_topics_in_time(settings, stop)
        producer = StreamProducer(settings.transport_url, topics=RAW_TOPICS, topic_bytes_max=settings.stream_bytes_max)
        await producer.start()
        stack.push_async_callback(producer.close)
        keys = KeyDirectory(partial(load_ingest_keys, control_plane), refresh_s=settings.key_refresh_s)
        await keys.start()
        stack.push_async_callback(keys.close)
        heard: list[Callable[[Change], None]] = [partial(_refresh_keys, keys)]
        await stack.enter_async_context(listening_for_changes(settings, partial(_tell, heard)))
        app = GatewayApp(_ingest(settings, keys, producer))
        checks: dict[str, Any] = {"redis": producer.ping, "postgres": control_plane.ping}
        if with_query:
            clickhouse = await stack.enter_async_context(opened_clickhouse(settings))
            limits = await stack.enter_async_context(followed_limits(settings, control_plane))
            callers = await stack.enter_async_context(followed_callers(settings, control_plane))
            heard.append(callers.follow)
            timescale = await stack.enter_async_context(opened_timescale(settings))
            cache_bytes = settings.metrics_cache_bytes
            stores = Stores.over(clickhouse, control_plane.usage, timescale, metrics_cache_bytes=cache_bytes)
            who = tokens(settings, callers)
            control = await stack.enter_async_context(opened_control(settings, control_plane, who))
            alerting = await stack.enter_async_context(opened_alerting(settings, control_plane, producer))
            add_queries(app, stores, who, admission=Admission(limits), control=control, alerting=alerting)
            checks |= {"clickhouse": clickhouse.ping, "timescale": stores.metrics.ping}
        health = Health("gateway", checks, required=frozenset({"redis"}))
        app.include_router(health_router(health))
        log.info("listening on http://%s:%d", *sock.getsockname()[:2])
        drain = partial(setattr, health, "draining", True)
        if own is None:
            await serve(app, sock, stop=stop, on_drain=drain, drain_s=settings.drain_s)
            return
        drained = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            # Until the last request is answered, so that who looks on sees that as well.
            group.create_task(serve(operations_app("Aegis gateway", health), own, stop=drained))
            await serve(app, sock, stop=stop, on_drain=drain, drain_s=settings.drain_s)
            drained.set()


def _sockets(settings: Settings, listener: int | None) -> tuple[socket.socket, socket.socket | None]:
    """The one for requests, and this process's own where the first one is shared."""
    if listener is None:
        return bind(settings.host, settings.port, setting="AEGIS_PORT"), None
    return socket.socket(fileno=listener), bind(
        settings.host, settings.gateway_own_port, setting="AEGIS_GATEWAY_OWN_PORT"
    )


def _ingest(settings: Settings, keys: KeyDirectory, producer: StreamProducer) -> Ingest:
    return Ingest(
        formats=_FORMATS,
        keys=keys,
        intake=RedisIntake(producer),
        addresses=client_addresses(settings),
        limits=IngestLimits(
            body_bytes_max=settings.body_bytes_max,
            decoded_bytes_max=settings.decoded_bytes_max,
            timestamp_window_s=settings.timestamp_window_s,
            organization_per_minute=settings.rate_limit_organization,
            address_per_minute=settings.rate_limit_address,
            idempotency_keys_max=settings.idempotency_keys_max,
        ),
        keep_for_ever=settings.retention == "off",
    )


def _tell(heard: list[Callable[[Change], None]], change: Change) -> None:
    for tell in heard:
        tell(change)


def _refresh_keys(keys: KeyDirectory, change: Change) -> None:
    # Organizations too, because a key carries its organization's retention.
    if change.concerns("api_keys", "organizations"):
        keys.refresh()
