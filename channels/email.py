"""Notifications -> an e-mail, and the installation's SMTP server that takes it (RFC 5321).

A subject holds names that people and data chose: control characters go, so no header can be added by a name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Final, Literal

import aiosmtplib

from channels.notification import Notification, shown_number, title_of
from topics.errors import Refused, Unavailable

SMTP_TIMEOUT_S: Final = 15.0
_SUBJECT_MAX: Final = 200
_LISTED_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where e-mail goes out. `tls` is `tls` from the first byte on, `starttls`, or `none`."""

    host: str
    port: int
    sender: str
    tls: Literal["tls", "starttls", "none"] = "starttls"
    username: str = ""
    password: str = field(default="", repr=False)


def email_message(
    notifications: Sequence[Notification],
    dedup_key: str,
    *,
    sender: str,
    to: Sequence[str],
    now: datetime | None = None,
) -> EmailMessage:
    """A message in plain text. Its Message-ID is made of the dedup key, so that a second try is known to be the same."""
    domain = parseaddr(sender)[1].rpartition("@")[2] or "aegis"
    first = notifications[0]
    message = EmailMessage(policy=SMTP)
    message["From"] = one_line(sender)
    message["To"] = ", ".join(one_line(each) for each in to)
    message["Subject"] = one_line(title_of(notifications))[:_SUBJECT_MAX]
    message["Date"] = format_datetime(now or datetime.now(UTC))
    message["Message-ID"] = f"<{_token(dedup_key)}@{domain}>"
    # Mail programs show what belongs to one group of a monitor as one conversation.
    message["References"] = f"<{_token(f'{first.monitor_id} {first.group}')}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"
    message["X-Aegis-Dedup-Key"] = one_line(dedup_key)
    parts = [_details(each) for each in notifications[:_LISTED_MAX]]
    if len(notifications) > _LISTED_MAX:
        parts.append(f"and {len(notifications) - _LISTED_MAX} more")
    message.set_content("\n\n".join(parts) + "\n", cte="base64")
    return message


async def send_email(server: SmtpServer, message: EmailMessage) -> None:
    """Hand a message to the server. Raises `Refused` when it will not have it, `Unavailable` when it cannot now."""
    try:
        # Where some recipients are refused it counts as sent: those who got it must not get it again.
        await aiosmtplib.send(
            message,
            hostname=server.host,
            port=server.port,
            username=server.username or None,
            password=server.password or None,
            use_tls=server.tls == "tls",
            start_tls=server.tls == "starttls",
            timeout=SMTP_TIMEOUT_S,
        )
    except aiosmtplib.SMTPRecipientsRefused as exc:
        permanent = all(each.code >= 500 for each in exc.recipients)
        raise (Refused if permanent else Unavailable)("cannot send: the mail server refuses every recipient") from exc
    except aiosmtplib.SMTPAuthenticationError as exc:
        raise Unavailable(f"cannot send: the mail server does not accept our login ({exc.code})") from exc
    except aiosmtplib.SMTPResponseException as exc:
        kind = Refused if exc.code >= 500 else Unavailable
        raise kind(f"cannot send: the mail server answered {exc.code}") from exc
    except (aiosmtplib.SMTPException, OSError, TimeoutError) as exc:
        raise Unavailable("cannot send: the mail server cannot be reached") from exc


def one_line(text: str) -> str:
    """A text that fits a header: without control characters and line ends of any kind."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _details(one: Notification) -> str:
    lines = [
        one.title,
        *([one.message] if one.message else []),
        f"state      {one.state}, was {one.previous_state}",
        f"value      {shown_number(one.value)}, threshold {shown_number(one.threshold)}",
        f"group      {one_line(one.group)}",
        f"at         {one.at}",
        *([f"alert      {one.url}"] if one.url else []),
    ]
    return "\n".join(lines)


def _token(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
