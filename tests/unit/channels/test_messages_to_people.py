"""What each kind of channel says."""

from __future__ import annotations

import json
from email import message_from_bytes
from email.policy import default
from typing import Any

import msgspec

from channels.definitions import WebhookConfig
from channels.email import email_message
from channels.notification import EVIDENCE_BYTES_MAX, Notification, decode, encode, title_of
from channels.slack import slack_body
from channels.webhook import webhook_body, webhook_headers

ONE = Notification(
    state="ALERT",
    previous_state="OK",
    monitor_id="m1",
    monitor_name="errors <!channel> & co",
    group="host=a",
    value=7.5,
    threshold=5.0,
    at="2026-03-01T12:00:00.000Z",
    dedup_key="k1",
    evidence={"window_s": 60},
    url="https://aegis.example.com/alerts/1",
    message="look <@U123>\nnow",
)
MANY = [msgspec.structs.replace(ONE, group=f"host={i}", dedup_key=f"k{i}") for i in range(300)]


def test_a_webhook_gets_the_fields_of_the_contract() -> None:
    body = json.loads(webhook_body([ONE], "k1"))
    contract = {"state", "previous_state", "monitor_id", "monitor_name", "group", "value", "threshold", "at"}
    assert body.keys() >= contract | {"dedup_key", "evidence", "url"}
    assert (body["state"], body["value"], body["dedup_key"], body["evidence"]) == ("ALERT", 7.5, "k1", {"window_s": 60})
    assert "notifications" not in body


def test_several_in_one_are_all_in_it_with_keys_of_their_own() -> None:
    body = json.loads(webhook_body(MANY, "bundle"))
    assert (body["dedup_key"], body["count"]) == ("bundle", 300)
    assert [each["dedup_key"] for each in body["notifications"]] == [f"k{i}" for i in range(300)]


def test_a_signature_covers_the_time_and_the_body() -> None:
    config = WebhookConfig(url="https://example.com/", secret="s" * 16, headers={"x-token": "t"})
    # echo -n '1761912000000:{}' | openssl dgst -sha256 -hmac ssssssssssssssss
    headers = webhook_headers(config, b"{}", "k1", now_ms=1761912000000)
    assert headers["x-aegis-signature"] == "sha256=455484c074810147078fb5cef15472f3fa252742d425c25d08bb24a1864716c5"
    assert (headers["x-aegis-timestamp"], headers["x-token"]) == ("1761912000000", "t")
    unsigned = webhook_headers(config.model_copy(update={"secret": None}), b"{}", "k1", now_ms=1)
    assert "x-aegis-signature" not in unsigned


def test_names_cannot_mention_anybody_in_slack() -> None:
    body = json.loads(slack_body([ONE]))
    assert "<!channel>" not in body["text"]
    assert "&lt;!channel&gt; &amp; co" in body["text"]
    texts = [text for block in body["blocks"] for text in texts_of(block)]
    for text in texts:
        assert text["type"] == "plain_text" or "<@" not in text["text"]
    assert any("look <@U123>" in text["text"] for text in texts)


def texts_of(block: dict[str, Any]) -> list[dict[str, Any]]:
    return [*([block["text"]] if "text" in block else []), *block.get("fields", []), *block.get("elements", [])]


def test_slack_gets_no_more_than_it_takes() -> None:
    long = msgspec.structs.replace(ONE, monitor_name="&" * 200, group="<" * 1000, message="x" * 8000)
    for notifications in ([long], [long] * 300, MANY):
        body = json.loads(slack_body(notifications))
        assert len(body["blocks"]) <= 50
        for block in body["blocks"]:
            for text in texts_of(block):
                assert len(text["text"]) <= (150 if block["type"] == "header" else 3000)
    assert "and 280 more" in slack_body(MANY).decode()


def test_a_name_cannot_add_a_header_to_an_email() -> None:
    evil = msgspec.structs.replace(ONE, monitor_name="x\r\nBcc: all@example.com\x00", group="g\nh")
    sent = email_message([evil], "k\r\n1", sender="Aegis <aegis@example.com>", to=["ops@example.com"])
    read = message_from_bytes(bytes(sent), policy=default)
    assert read["Bcc"] is None
    assert read["Subject"].startswith("[ALERT] x  Bcc: all@example.com")
    assert (read["From"], read["To"]) == ("Aegis <aegis@example.com>", "ops@example.com")
    assert "7.5, threshold 5" in read.get_content()


def test_a_second_try_of_an_email_has_the_same_id() -> None:
    first, second, other = (
        email_message([ONE], key, sender="a@example.com", to=["ops@example.com"])["Message-ID"]
        for key in ("k", "k", "l")
    )
    assert first == second != other


def test_a_notification_survives_the_outbox_and_evidence_is_bounded() -> None:
    assert decode(encode(ONE)) == ONE
    large = msgspec.structs.replace(ONE, evidence={"x": "y" * EVIDENCE_BYTES_MAX})
    assert decode(encode(large)).evidence == {"left_out": "it is larger than 16 KiB"}


def test_a_title_says_the_worst_of_several() -> None:
    recovered = msgspec.structs.replace(ONE, state="OK", previous_state="ALERT", monitor_name="latency")
    assert title_of([recovered, ONE]) == "[ALERT] 2 notifications of latency and 1 more monitors"
    assert title_of([msgspec.structs.replace(ONE, group="*", repeat=2)]).endswith("co, still")
