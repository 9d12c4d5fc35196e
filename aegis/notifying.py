"""Settings -> the ways out to people, and what the routes of alerting work with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aegis.settings import Settings
from channels.destinations import Destinations, parse_networks
from channels.email import SmtpServer
from channels.outgoing_http import OutgoingHttp
from channels.sending import Senders
from query.alerting.app import Alerting
from storage.control_plane import ControlPlane
from topics.names import PANES
from topics.redis_streams.stream_producer import StreamProducer


@asynccontextmanager
async def opened_senders(settings: Settings) -> AsyncIterator[Senders]:
    """Webhooks, Slack and e-mail; where they may lead is AEGIS_CHANNEL_NETWORKS' to widen."""
    http = OutgoingHttp(Destinations(parse_networks(settings.channel_networks)))
    try:
        yield Senders(http, _mail_server(settings))
    finally:
        await http.close()


@asynccontextmanager
async def opened_alerting(
    settings: Settings, control_plane: ControlPlane, producer: StreamProducer | None = None
) -> AsyncIterator[Alerting]:
    """What the routes of alerting work with; without a `producer` one of its own tells the engine."""

    async with AsyncExitStack() as stack:
        senders = await stack.enter_async_context(opened_senders(settings))
        if producer is None:
            producer = StreamProducer(settings.transport_url, topics=(PANES,))
            await producer.start()
            stack.push_async_callback(producer.close)
        adding = producer

        async def tell_engine(topic: str, value: bytes, key: bytes) -> None:
            await adding.add(topic, value, key=key)

        yield Alerting(control_plane, senders, tell_engine)


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
