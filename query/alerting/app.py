"""All routes of alerting as one router, and what they work with."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fastapi import APIRouter

from channels.sending import Senders
from query.alerting.alerts import alerts_router
from query.alerting.channels import channels_router
from query.alerting.downtimes import downtimes_router
from query.alerting.monitor_files import monitor_files_router
from query.alerting.monitor_states import monitor_states_router
from query.alerting.monitors import monitors_router
from query.alerting.trying import Trying
from query.tokens import Tokens
from storage.control_plane import ControlPlane

TellEngine = Callable[[str, bytes, bytes], Awaitable[None]]
"""Adds a message to a topic: topic, value, key. Raises `Unavailable`."""


@dataclass(frozen=True, slots=True)
class Alerting:
    """What the routes work with: where all is kept, the ways out to people, and the way to the engine."""

    control_plane: ControlPlane
    senders: Senders
    tell_engine: TellEngine
    now: Callable[[], float] = field(default=time.time)


def alerting_router(alerting: Alerting, tokens: Tokens) -> APIRouter:
    """Every route."""
    trying = Trying(alerting.control_plane, alerting.senders, alerting.now)
    router = APIRouter()
    # Before the others, whose {monitor_id} would take its paths.
    router.include_router(monitor_files_router(alerting.control_plane, tokens))
    router.include_router(monitors_router(alerting.control_plane, trying, tokens))
    router.include_router(monitor_states_router(alerting.control_plane, tokens))
    router.include_router(channels_router(alerting.control_plane, alerting.senders, trying, tokens))
    router.include_router(downtimes_router(alerting.control_plane, tokens))
    router.include_router(alerts_router(alerting.control_plane, alerting.tell_engine, tokens))
    return router
