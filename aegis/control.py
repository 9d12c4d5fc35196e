"""Settings -> the control API's parts. Apart from aegis/access.py, because commands need no web framework."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aegis.settings import Settings
from query.control.app import Control, keep_trimmed
from query.control.passwords import Passwords
from query.control.sign_in import SignIn
from query.tokens import Tokens
from storage.control_plane import ControlPlane


@asynccontextmanager
async def opened_control(settings: Settings, control_plane: ControlPlane, tokens: Tokens) -> AsyncIterator[Control]:
    """The control API's parts; its tables are kept within their bounds meanwhile."""
    passwords = Passwords()
    sign_in = SignIn(
        control_plane,
        tokens,
        passwords,
        access_token_s=settings.access_token_s,
        refresh_token_s=settings.refresh_token_s,
    )
    bounds = {"audit_days": settings.audit_days, "audit_rows_max": settings.audit_rows_max}
    trimming = asyncio.create_task(keep_trimmed(control_plane, **bounds)) if settings.retention == "on" else None
    try:
        yield Control(control_plane, passwords, sign_in)
    finally:
        if trimming is not None:
            trimming.cancel()
            with suppress(asyncio.CancelledError):
                await trimming
        passwords.close()
