"""Settings -> who may send and who may ask: the control plane, what opens its secrets, what issues tokens.

Apart from aegis/wiring.py, because most commands need only this, and importing the stores' clients takes a second.
"""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from aegis.settings import Settings
from query.callers import Callers
from query.limits import Limits
from query.signing import key_files
from query.tokens import Tokens
from storage.actor import Actor
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


def command_line() -> Actor:
    """Who changes something with a command: the account that runs it."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid {os.getuid()}"
    return Actor("command", name, name)


@asynccontextmanager
async def opened_control_plane(
    settings: Settings, *, with_secrets: bool, actor: Actor | None = None
) -> AsyncIterator[ControlPlane]:
    """The control plane; `with_secrets` when keys are to be made or checked, `actor` when all its changes are somebody's."""
    opener = sealer(settings) if with_secrets else None
    async with await ControlPlane.open(
        settings.database_url.get_secret_value(), opener, statement_cache_size=settings.statement_cache_size
    ) as control_plane:
        yield control_plane if actor is None else control_plane.acting(actor)


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
