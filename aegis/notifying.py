"""Settings -> the ways out to people."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aegis.settings import Settings
from channels.destinations import Destinations, parse_networks
from channels.email import SmtpServer
from channels.outgoing_http import OutgoingHttp
from channels.sending import Senders


@asynccontextmanager
async def opened_senders(settings: Settings) -> AsyncIterator[Senders]:
    """Webhooks, Slack and e-mail; where they may lead is AEGIS_CHANNEL_NETWORKS' to widen."""
    http = OutgoingHttp(Destinations(parse_networks(settings.channel_networks)))
    try:
        yield Senders(http, _mail_server(settings))
    finally:
        await http.close()


def _mail_server(settings: Settings) -> SmtpServer | None:
    if settings.smtp_host is None:
        return None
    return SmtpServer(
        host=settings.smtp_host,
        port=settings.smtp_port,
        sender=settings.smtp_from,
        tls=settings.smtp_tls,
        username=settings.smtp_user,
        password=settings.smtp_password.get_secret_value(),
    )
