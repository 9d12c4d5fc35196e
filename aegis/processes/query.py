"""`aegis query`: settings -> the way out, until SIGTERM."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from functools import partial

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
from aegis.wiring import opened_clickhouse, opened_timescale
from query.admission import Admission
from query.app import Stores, create_query_app
from web.health import Health
from web.serving import bind, serve, stop_on_signals

log = logging.getLogger(__name__)


async def run_query(settings: Settings) -> None:
    """Serve the query API until SIGTERM."""
    async with AsyncExitStack() as stack:
        sock = bind(settings.host, settings.query_port, setting="AEGIS_QUERY_PORT")
        stack.callback(sock.close)
        stop = stop_on_signals()
        clickhouse = await stack.enter_async_context(opened_clickhouse(settings))
        timescale = await stack.enter_async_context(opened_timescale(settings))
        # The master key is needed to make API keys, and for the secrets of channels.
        control_plane = await stack.enter_async_context(
            opened_control_plane(settings, with_secrets=settings.master_key is not None)
        )
        cache_bytes = settings.metrics_cache_bytes
        stores = Stores.over(clickhouse, control_plane.usage, timescale, metrics_cache_bytes=cache_bytes)
        # Without the control plane everything but usage is answered, without TimescaleDB everything but metrics.
        checks = {"clickhouse": clickhouse.ping, "timescale": stores.metrics.ping, "postgres": control_plane.ping}
        health = Health("query", checks, required=frozenset({"clickhouse"}))
        callers = await stack.enter_async_context(followed_callers(settings, control_plane))
        await stack.enter_async_context(listening_for_changes(settings, callers.follow))
        limits = await stack.enter_async_context(followed_limits(settings, control_plane))
        who = tokens(settings, callers)
        control = await stack.enter_async_context(opened_control(settings, control_plane, who))
        app = create_query_app(
            stores,
            who,
            health=health,
            admission=Admission(limits),
            control=control,
            alerting=await stack.enter_async_context(opened_alerting(settings, control_plane)),
            addresses=client_addresses(settings),
        )
        log.info("listening on http://%s:%d", *sock.getsockname()[:2])
        await serve(app, sock, stop=stop, on_drain=partial(setattr, health, "draining", True))
