"""All of the control API as one router, and what keeps its tables within their bounds."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter

from query.control.api_tokens import api_tokens_router
from query.control.audit import audit_router
from query.control.keys import keys_router
from query.control.login import login_router
from query.control.members import members_router
from query.control.organization import organization_router
from query.control.passwords import Passwords
from query.control.sign_in import SignIn
from query.tokens import Tokens
from storage.control_plane import ControlPlane
from topics.errors import AegisError

log = logging.getLogger(__name__)

TRIM_EVERY_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Control:
    """What the routes work with."""

    control_plane: ControlPlane
    passwords: Passwords
    sign_in: SignIn


def control_router(control: Control, tokens: Tokens) -> APIRouter:
    """Every route."""
    router = APIRouter()
    router.include_router(login_router(control.sign_in, tokens))
    router.include_router(members_router(control.control_plane, control.passwords, tokens))
    router.include_router(keys_router(control.control_plane, tokens))
    router.include_router(api_tokens_router(control.control_plane, tokens))
    router.include_router(organization_router(control.control_plane, tokens))
    router.include_router(audit_router(control.control_plane, tokens))
    return router


async def keep_trimmed(control_plane: ControlPlane, *, audit_days: int, audit_rows_max: int) -> None:
    """Delete, every ten minutes, what the audit log and the sessions have past their bounds. Several processes may do it."""
    while True:
        try:
            while await control_plane.audit.trim(days=audit_days, rows_max=audit_rows_max):
                pass
            await control_plane.sessions.trim()
        except AegisError as exc:
            log.warning("cannot trim the audit log, trying again in %.0f minutes: %s", TRIM_EVERY_S / 60, exc)
        await asyncio.sleep(TRIM_EVERY_S)
