"""Settings -> who may send and who may ask: the control plane, what opens its secrets, what issues tokens.

Apart from aegis/wiring.py, because most commands need only this, and importing the stores' clients takes a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from aegis.settings import Settings
from query.callers import Callers
from query.control.app import Control, keep_trimmed
from query.control.passwords import Passwords
from query.control.sign_in import SignIn
from query.limits import Limits
from query.signing import key_files
from query.tokens import Tokens
from storage.changes import Change, ChangeListener
from storage.control_plane import ControlPlane
from storage.sealing import Sealer
from topics.errors import Refused
from web.client_address import ClientAddresses


def sealer(settings: Settings) -> Sealer:
    """What opens the secrets of API keys. Raises `Refused` naming the setting when it is missing."""
    if settings.master_key is None:
        raise Refused(
            "cannot start: AEGIS_MASTER_KEY is not set; `aegis up` makes one for development, "
            "`openssl rand -hex 32` one for production",
            code="bad_setting",
        )
    return Sealer.from_hex(settings.master_key.get_secret_value())


def tokens(settings: Settings, callers: Callers | None = None) -> Tokens:
    """What issues and reads bearer tokens; without `callers` only those of `aegis token`.

    Raises `Refused` naming the setting that is missing or not acceptable.
    """
    if settings.jwt_algorithm != "HS256":
        files = settings.jwt_private_key_file, settings.jwt_public_key_file
        return Tokens(key_files(settings.jwt_algorithm, *files), callers=callers)
    if settings.jwt_secret is None:
        raise Refused(
            "cannot start: JWT_SECRET is not set; `aegis up` makes one for development, "
            "`openssl rand -hex 32` one for production",
            code="bad_setting",
        )
    return Tokens(settings.jwt_secret.get_secret_value(), callers=callers)


def client_addresses(settings: Settings) -> ClientAddresses:
    """Who sends a request, behind the proxies that are ours. Raises `Refused` naming the setting."""
    return ClientAddresses([text.strip() for text in settings.trusted_proxies.split(",") if text.strip()])


@asynccontextmanager
async def followed_callers(settings: Settings, control_plane: ControlPlane) -> AsyncIterator[Callers]:
    """Who may come in; tell it of the changes that are heard (`Callers.follow`)."""
    callers = Callers(control_plane, refresh_s=settings.key_refresh_s, access_token_s=float(settings.access_token_s))
    await callers.start()
    try:
        yield callers
    finally:
        await callers.close()


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


@asynccontextmanager
async def opened_control_plane(settings: Settings, *, with_secrets: bool) -> AsyncIterator[ControlPlane]:
    """The control plane; `with_secrets` when keys are to be made or checked."""
    opener = sealer(settings) if with_secrets else None
    async with await ControlPlane.open(
        settings.database_url.get_secret_value(), opener, statement_cache_size=settings.statement_cache_size
    ) as control_plane:
        yield control_plane


@asynccontextmanager
async def followed_limits(settings: Settings, control_plane: ControlPlane) -> AsyncIterator[Limits]:
    """What questions may cost, followed as organizations' settings change."""
    limits = Limits(settings.query_settings, control_plane.organizations.query_limits)
    following = asyncio.create_task(limits.keep_rereading())
    try:
        yield limits
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


@asynccontextmanager
async def listening_for_changes(
    settings: Settings, on_change: Callable[[Change], None]
) -> AsyncIterator[ChangeListener]:
    """Call `on_change` for every change of the control plane, in the background."""
    listener = ChangeListener(settings.listen_url, on_change)
    await listener.start()
    try:
        yield listener
    finally:
        await listener.close()
