"""Channels as people define them."""

from __future__ import annotations

from typing import Any

import pytest

from channels.definitions import Channel, parse_config, secrets_of, without_secrets
from topics.errors import Refused

HOOK = "https://hooks.example.com/T0/secret"


def test_secrets_and_the_rest_are_kept_apart() -> None:
    config = parse_config("webhook", {"url": HOOK, "secret": "s" * 16, "headers": {"x-token": "t"}, "group_wait_s": 5})
    assert without_secrets(config) == {"group_wait_s": 5, "origin": "https://hooks.example.com"}
    assert secrets_of(config) == {"url": HOOK, "secret": "s" * 16, "headers": {"x-token": "t"}}
    assert secrets_of(parse_config("slack", {"url": HOOK})) == {"url": HOOK}
    email = parse_config("email", {"to": ["ops@example.com"]})
    assert (without_secrets(email), secrets_of(email)) == ({"group_wait_s": 0, "to": ["ops@example.com"]}, {})


def test_a_channel_that_is_printed_shows_no_secret() -> None:
    channel = Channel("1", "hook", parse_config("webhook", {"url": HOOK, "secret": "s" * 16}))
    assert "secret" not in repr(channel)
    assert channel.kind == "webhook"


@pytest.mark.parametrize(
    ("kind", "config", "path"),
    [
        ("pigeon", {}, "kind"),
        ("webhook", {}, "config.url"),
        ("webhook", {"url": "ftp://x/"}, "config.url"),
        ("webhook", {"url": HOOK, "secret": "short"}, "config.secret"),
        ("webhook", {"url": HOOK, "sekret": "s" * 16}, "config.sekret"),
        ("webhook", {"url": HOOK, "headers": {"Host": "x"}}, "config.headers"),
        ("webhook", {"url": HOOK, "headers": {"x-aegis-signature": "x"}}, "config.headers"),
        ("webhook", {"url": HOOK, "headers": {"a b": "x"}}, "config.headers"),
        ("webhook", {"url": HOOK, "headers": {"a": "x\r\nb: c"}}, "config.headers"),
        ("webhook", {"url": HOOK, "headers": {f"h{i}": "x" for i in range(21)}}, "config.headers"),
        ("webhook", {"url": HOOK, "group_wait_s": 301}, "config.group_wait_s"),
        ("webhook", {"url": HOOK, "per_minute": 0}, "config.per_minute"),
        ("slack", {"url": 5}, "config.url"),
        ("slack", {"url": HOOK, "secret": "s" * 16}, "config.secret"),
        ("email", {"to": []}, "config.to"),
        ("email", {"to": ["ops@example.com"] * 21}, "config.to"),
        ("email", {"to": ["not an address"]}, "config.to"),
        ("email", {"to": ["a@b.com\r\nBcc: c@d.com"]}, "config.to"),
        ("email", {"to": ["a@b.com, c@d.com"]}, "config.to"),
        ("email", {"to": ["a@b..com"]}, "config.to"),
    ],
)
def test_a_bad_config_is_refused_by_its_field(kind: str, config: dict[str, Any], path: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_config(kind, config)
    assert caught.value.path == path
    assert "s" * 16 not in str(caught.value)


def test_a_bucket_never_holds_less_than_one() -> None:
    for per_minute in (1, 5, 60, 60_000):
        limits = Channel("1", "x", parse_config("slack", {"url": HOOK, "per_minute": per_minute})).limits
        assert 1 <= limits.burst <= max(10, per_minute / 6)
