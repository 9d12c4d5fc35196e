"""A channel and what is to be said in; one try to say it, and how it went, out. Never raises for what a receiver does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from channels.definitions import Channel, Config, EmailConfig, SlackConfig
from channels.email import SmtpServer, email_message, send_email
from channels.notification import Notification
from channels.outgoing_http import OutgoingHttp, Reply
from channels.slack import slack_body
from channels.urls import Target, parse_url
from channels.webhook import USER_AGENT, webhook_body, webhook_headers
from topics.errors import Refused, Unavailable

_TRY_AGAIN = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one try went. `status` is the receiver's HTTP status, None where there was none; `error` is empty when it took it.

    `is_receivers` says that the receiver is away or overloaded, which concerns everything else for it, too; otherwise it
    refused this very notification. `retry_after_s` is what it asked for.
    """

    latency_ms: float
    status: int | None = None
    error: str = ""
    is_receivers: bool = False
    retry_after_s: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the receiver took it."""
        return not self.error


class Senders:
    """Every way out. `server` None means that this installation sends no e-mail."""

    def __init__(self, http: OutgoingHttp, server: SmtpServer | None, *, now: Callable[[], float] = time.time) -> None:
        self._http = http
        self._server = server
        self._now = now

    async def send(self, channel: Channel, notifications: Sequence[Notification], dedup_key: str) -> Outcome:
        """Say one or several things in one message."""
        began = time.monotonic()
        status: int | None = None
        error, is_receivers, retry_after_s = "", False, None
        try:
            reply = await self._send(channel, notifications, dedup_key)
            if reply is not None:
                status = reply.status
                error = _why_not_taken(reply)
                is_receivers = bool(error) and (status in _TRY_AGAIN or status >= 500)
                retry_after_s = reply.retry_after_s if is_receivers else None
        except Refused as exc:
            error = exc.reason
        except Unavailable as exc:
            error, is_receivers = exc.reason, True
        return Outcome((time.monotonic() - began) * 1000, status, error, is_receivers, retry_after_s)

    async def check(self, config: Config) -> None:
        """Look where a channel leads now. Raises `Refused` that blames the URL when nothing may be sent there."""
        if isinstance(config, EmailConfig):
            return
        target = parse_url(config.url)
        try:
            await self._http.check(target)
        except Refused as exc:
            raise Refused(exc.reason, code="invalid_field", path="config.url") from exc
        except Unavailable:
            return  # A name that is not there yet may come; it is looked at with every connection.

    async def _send(self, channel: Channel, notifications: Sequence[Notification], dedup_key: str) -> Reply | None:
        config = channel.config
        if isinstance(config, EmailConfig):
            if self._server is None:
                raise Unavailable("cannot send e-mail: AEGIS_SMTP_HOST is not set")
            message = email_message(notifications, dedup_key, sender=self._server.sender, to=config.to)
            await send_email(self._server, message)
            return None
        target = parse_url(config.url)
        if isinstance(config, SlackConfig):
            return await self._post(target, slack_body(notifications), {"content-type": "application/json"})
        body = webhook_body(notifications, dedup_key)
        headers = webhook_headers(config, body, dedup_key, now_ms=int(self._now() * 1000))
        return await self._post(target, body, headers)

    async def _post(self, target: Target, body: bytes, headers: dict[str, str]) -> Reply:
        return await self._http.post(target, body, {"user-agent": USER_AGENT, **headers})


def _why_not_taken(reply: Reply) -> str:
    if 200 <= reply.status < 300:
        return ""
    if 300 <= reply.status < 400:
        return f"the receiver redirects ({reply.status}), and redirects are not followed"
    return f"the receiver answered {reply.status}"
