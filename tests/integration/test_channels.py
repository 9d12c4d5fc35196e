"""Notifications over real sockets: what reaches a receiver, and what nobody can make this process connect to."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from webhook_receiver import WebhookReceiver

from channels.definitions import Channel, parse_config
from channels.destinations import Destinations
from channels.email import SmtpServer
from channels.notification import Notification
from channels.outgoing_http import ANSWER_BYTES_MAX, OutgoingHttp
from channels.sending import Senders
from channels.urls import parse_url
from topics.errors import Refused, Unavailable

SECRET = "a secret of a channel"
ONE = Notification(
    state="ALERT",
    previous_state="OK",
    monitor_id="m1",
    monitor_name="errors",
    group="host=a",
    value=7.0,
    threshold=5.0,
    at="2026-03-01T12:00:00.000Z",
    dedup_key="k1",
)
LOOPBACK = (ip_network("127.0.0.1/32"),)


def answering(*answers: list[str]) -> Callable[[str, int], Awaitable[list[str]]]:
    """A name server that answers differently each time; the last answer stays."""
    left = list(answers)

    async def resolve(host: str, port: int) -> list[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


@pytest.fixture
async def http() -> AsyncIterator[OutgoingHttp]:
    """Loopback stands for the public network."""
    client = OutgoingHttp(Destinations(LOOPBACK), total_timeout_s=0.5)
    yield client
    await client.close()


def webhook(receiver: WebhookReceiver, **config: Any) -> Channel:
    return Channel("c1", "hook", parse_config("webhook", {"url": receiver.url, "secret": SECRET, **config}))


async def test_a_webhook_arrives_signed(http: OutgoingHttp, webhook_receiver: WebhookReceiver) -> None:
    outcome = await Senders(http, None).send(webhook(webhook_receiver, headers={"X-Token": "t"}), [ONE], "k1")
    assert (outcome.ok, outcome.status, outcome.error) == (True, 200, "")
    (received,) = webhook_receiver.received
    assert (received.method, received.path, received.json["state"]) == ("POST", "/hook", "ALERT")
    assert received.is_signed_with(SECRET)
    assert received.headers["x-token"] == "t"
    assert received.headers["x-aegis-dedup-key"] == "k1"


async def test_slack_gets_blocks(http: OutgoingHttp, webhook_receiver: WebhookReceiver) -> None:
    channel = Channel("c1", "slack", parse_config("slack", {"url": webhook_receiver.url}))
    assert (await Senders(http, None).send(channel, [ONE], "k1")).ok
    assert webhook_receiver.received[0].json["blocks"][0]["text"]["text"] == "[ALERT] errors (host=a)"


@pytest.mark.parametrize(
    ("answer", "error", "is_receivers"),
    [
        (404, "the receiver answered 404", False),
        (500, "the receiver answered 500", True),
        (429, "the receiver answered 429", True),
        (302, "the receiver redirects (302), and redirects are not followed", False),
        (b"HTTP/1.1 503 X\r\nretry-after: 7\r\ncontent-length: 6\r\n\r\nSECRET", "the receiver answered 503", True),
        (b"SSH-2.0-OpenSSH_9.2 SECRET\r\n\r\n", "it gave no answer in HTTP", True),
        (None, "it gave no answer in HTTP", True),
    ],
)
async def test_an_answer_that_is_no_success_is_an_error_that_quotes_nothing(
    http: OutgoingHttp,
    webhook_receiver: WebhookReceiver,
    answer: int | bytes | None,
    error: str,
    is_receivers: bool,
) -> None:
    webhook_receiver.answer = lambda _: answer
    outcome = await Senders(http, None).send(webhook(webhook_receiver), [ONE], "k1")
    assert not outcome.ok
    assert outcome.error.endswith(error)
    assert "SECRET" not in outcome.error
    assert outcome.is_receivers is is_receivers
    assert outcome.retry_after_s == (7 if b"503" in (answer if isinstance(answer, bytes) else b"") else None)


async def test_a_redirect_into_our_network_is_not_followed(
    http: OutgoingHttp, webhook_receiver: WebhookReceiver
) -> None:
    location = f"http://127.0.0.1:{webhook_receiver.port}/inner".encode()
    webhook_receiver.answer = lambda _: b"HTTP/1.1 307 X\r\nlocation: %b\r\ncontent-length: 0\r\n\r\n" % location
    outcome = await Senders(http, None).send(webhook(webhook_receiver), [ONE], "k1")
    assert "redirects" in outcome.error
    assert [each.path for each in webhook_receiver.received] == ["/hook"]


async def test_an_answer_without_an_end_is_cut_off(http: OutgoingHttp, webhook_receiver: WebhookReceiver) -> None:
    endless = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n" + b"x" * (2 * ANSWER_BYTES_MAX)
    webhook_receiver.answer = lambda _: endless
    assert (await Senders(http, None).send(webhook(webhook_receiver), [ONE], "k1")).ok
    webhook_receiver.answer = lambda _: b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbut it never comes"
    outcome = await Senders(http, None).send(webhook(webhook_receiver), [ONE], "k1")
    assert outcome.error.endswith("no answer within 0.5 s")


async def test_a_receiver_that_says_nothing_is_given_up(http: OutgoingHttp, webhook_receiver: WebhookReceiver) -> None:
    webhook_receiver.delay_s = 30
    outcome = await Senders(http, None).send(webhook(webhook_receiver), [ONE], "k1")
    assert outcome.is_receivers
    assert outcome.error.endswith("no answer within 0.5 s")
    assert 400 < outcome.latency_ms < 3000


async def test_without_leave_nothing_connects_to_this_host(webhook_receiver: WebhookReceiver) -> None:
    client = OutgoingHttp(Destinations())
    for url in (
        webhook_receiver.url,
        f"http://localhost:{webhook_receiver.port}/",
        f"http://2130706433:{webhook_receiver.port}/",
        f"http://[::ffff:127.0.0.1]:{webhook_receiver.port}/",
    ):
        with pytest.raises(Refused):
            await client.post(parse_url(url), b"{}", {})
    assert webhook_receiver.open_connections == 0
    await client.close()


async def test_a_name_that_is_rebound_leads_nowhere_else(webhook_receiver: WebhookReceiver) -> None:
    """The first answer is public, the second is ours: what was looked at is what is connected to, each time."""
    inner = WebhookReceiver()
    server = await asyncio.start_server(inner._serve, "127.0.0.2", webhook_receiver.port)
    looked: list[str] = []
    answers = answering(["127.0.0.1"], ["127.0.0.2"])

    async def resolve(host: str, port: int) -> list[str]:
        looked.append(host)
        return await answers(host, port)

    client = OutgoingHttp(Destinations(LOOPBACK, resolve=resolve))
    target = parse_url(f"http://hooks.example.com:{webhook_receiver.port}/a")
    assert (await client.post(target, b"{}", {"connection": "close"})).status == 200
    assert looked == ["hooks.example.com"]
    assert webhook_receiver.received[0].headers["host"] == f"hooks.example.com:{webhook_receiver.port}"
    await client.close()
    client = OutgoingHttp(Destinations(LOOPBACK, resolve=resolve))
    with pytest.raises(Refused, match=r"hooks\.example\.com: it leads to this host"):
        await client.post(target, b"{}", {})
    assert inner.received == []
    await client.close()
    server.close()


async def test_a_second_address_serves_when_the_first_does_not(webhook_receiver: WebhookReceiver) -> None:
    allowed = (ip_network("127.0.0.0/8"),)
    client = OutgoingHttp(Destinations(allowed, resolve=answering(["127.0.0.3", "127.0.0.1"])))
    target = parse_url(f"http://hooks.example.com:{webhook_receiver.port}/")
    assert (await client.post(target, b"{}", {})).status == 200
    await client.close()


async def test_a_proxy_of_the_environment_is_not_used(
    http: OutgoingHttp, webhook_receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await Senders(http, None).send(webhook(webhook_receiver), [ONE], "k1")).ok


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / f"{name}.pem", folder / f"{name}.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem, private


async def test_tls_speaks_to_the_name_at_the_address_that_was_looked_at(tmp_path: Path) -> None:
    pem, private = make_certificate(tmp_path, "hooks.example.com")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem, private)
    named: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: named.append(name)
    receiver = WebhookReceiver(server)
    await receiver.start()
    trusting = ssl.create_default_context(cafile=str(pem))
    client = OutgoingHttp(Destinations(LOOPBACK, resolve=answering(["127.0.0.1"])), ssl_context=trusting)
    assert (await client.post(parse_url(f"https://hooks.example.com:{receiver.port}/"), b"{}", {})).status == 200
    assert named == ["hooks.example.com"]
    with pytest.raises(Unavailable, match="its certificate is not accepted"):
        await client.post(parse_url(f"https://other.example.com:{receiver.port}/"), b"{}", {})
    assert len(receiver.received) == 1
    await client.close()
    await receiver.stop()


class Mailbox:
    """A real SMTP server's side of what comes in."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.answer = "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        return self.answer

    async def handle_RCPT(self, _s: Any, _session: Any, envelope: Envelope, address: str, _options: list[str]) -> str:
        if address.startswith("unknown"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"


@pytest.fixture
async def mail() -> AsyncIterator[tuple[Mailbox, SmtpServer]]:
    mailbox = Mailbox()
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(mailbox, enable_SMTPUTF8=True, hostname="mail.example.com"), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    yield mailbox, SmtpServer("127.0.0.1", port, sender="Aegis <aegis@example.com>", tls="none")
    server.close()


def email(*to: str) -> Channel:
    return Channel("c1", "mail", parse_config("email", {"to": list(to)}))


async def test_an_email_arrives(http: OutgoingHttp, mail: tuple[Mailbox, SmtpServer]) -> None:
    mailbox, server = mail
    outcome = await Senders(http, server).send(email("ops@example.com", "dev@example.com"), [ONE], "k1")
    assert (outcome.ok, outcome.error, outcome.status) == (True, "", None)
    (envelope,) = mailbox.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("aegis@example.com", ["ops@example.com", "dev@example.com"])
    assert isinstance(envelope.content, bytes)
    read = message_from_bytes(envelope.content, policy=default)
    assert (read["Subject"], read["X-Aegis-Dedup-Key"]) == ("[ALERT] errors (host=a)", "k1")


async def test_a_mail_server_that_will_not_is_told_from_one_that_cannot(
    http: OutgoingHttp, mail: tuple[Mailbox, SmtpServer]
) -> None:
    mailbox, server = mail
    senders = Senders(http, server)
    nobody = await senders.send(email("unknown@example.com"), [ONE], "k1")
    assert (nobody.error, nobody.is_receivers) == ("cannot send: the mail server refuses every recipient", False)
    assert (await senders.send(email("unknown@example.com", "ops@example.com"), [ONE], "k1")).ok
    for answer, is_receivers in (("554 spam", False), ("451 busy", True)):
        mailbox.answer = answer
        outcome = await senders.send(email("ops@example.com"), [ONE], "k1")
        assert (outcome.error, outcome.is_receivers) == (
            f"cannot send: the mail server answered {answer[:3]}", is_receivers
        )  # fmt: skip
    away = SmtpServer("127.0.0.1", 9, sender="a@example.com", tls="none")
    assert (await Senders(http, away).send(email("ops@example.com"), [ONE], "k1")).is_receivers
    none = await Senders(http, None).send(email("ops@example.com"), [ONE], "k1")
    assert none.error == "cannot send e-mail: AEGIS_SMTP_HOST is not set"
