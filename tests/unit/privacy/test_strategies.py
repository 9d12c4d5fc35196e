"""Tokens, masks and hashes: what is stored says enough, no more, and never needs scrubbing again."""

from __future__ import annotations

import pytest

from privacy.explain import Explained, explain
from privacy.policy import DEFAULT_POLICY, Policy, Strategy
from privacy.scrub import Scrubber

KEY, OTHER = b"one organization", b"another one ....."


def scrub(text: str, strategy: Strategy, key: bytes = KEY) -> str:
    return Scrubber(Policy(strategy=strategy, rules={"ip": strategy}), key).text(text)


@pytest.mark.parametrize(
    ("value", "mask"),
    [
        ("bob@example.com", "[MASKED:email:b****@example.com]"),
        ("4111 1111 1111 1234", "4111 1111 1111 1234"),  # no card
        ("4111 1111 1111 1111", "[MASKED:card:****1111]"),
        ("123-45-6789", "[MASKED:ssn:****6789]"),
        ("+44 20 7946 0958", "[MASKED:phone:****0958]"),
        ("DE89370400440532013000", "[MASKED:iban:****3000]"),
        ("AKIAIOSFODNN7EXAMPLE", "[MASKED:api_key:****]"),
        ("203.0.113.7", "[MASKED:ip:203****]"),
        ("password=hunter2", "password=[MASKED:sensitive_key:****]"),
        ("redis://:pw@cache", "redis://:REDACTED@cache"),
    ],
)
def test_masks_keep_little(value: str, mask: str) -> None:
    assert scrub(value, "mask") == mask
    assert scrub(mask, "mask") == mask


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("4111 1111 1111 1111", "4111-1111-1111-1111"),
        ("4111111111111111", "４１１１１１１１１１１１１１１１"),
        ("Bob@Example.com", "bob%40example.com"),
        ("bob@example.com", r"bob\u0040example.com"),
        ("555-123-4567", "+1 (555) 123-4567"),
        ("DE89370400440532013000", "DE89 3704 0044 0532 0130 00"),
    ],
)
def test_a_value_hashes_alike_however_it_is_written(first: str, second: str) -> None:
    assert scrub(first, "hash") == scrub(second, "hash")
    assert scrub(first, "hash").startswith("[HASH:")


def test_hashes_join_within_an_organization_and_in_no_other() -> None:
    text, document = "bob@example.com", '{"e":"bob\\u0040example.com","n":4111111111111111}'
    here = Scrubber(Policy(strategy="hash"), KEY)
    [stored] = here.json_texts([document])
    assert scrub(text, "hash") in stored
    assert scrub("4111 1111 1111 1111", "hash") in stored
    assert scrub(text, "hash", OTHER) != scrub(text, "hash")
    assert scrub("eve@example.com", "hash") != scrub(text, "hash")


def test_an_escaped_character_hashes_like_itself() -> None:
    [plain, escaped] = Scrubber(Policy(strategy="hash"), KEY).json_texts(
        ['{"pin":"\U0001f600"}', r'{"pin":"\ud83d\ude00"}']
    )
    assert plain == escaped


def test_a_hash_key_is_long_enough() -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        Scrubber(DEFAULT_POLICY, b"short")


def test_rules_have_strategies_of_their_own() -> None:
    scrubber = Scrubber(Policy(rules={"email": "mask", "card": "off"}), KEY)
    assert scrubber.text("bob@example.com 4111111111111111 123-45-6789") == (
        "[MASKED:email:b****@example.com] 4111111111111111 [REDACTED:ssn]"
    )
    assert scrubber.take_counts() == {"email": 1, "ssn": 1}
    assert scrubber.take_counts() == {}


def test_labels() -> None:
    scrubber = Scrubber(DEFAULT_POLICY, KEY)
    clean: list[dict[str, str]] = [{"service": "api", "le": "0.5"}, {}]
    assert scrubber.labels(clean) is clean
    personal = [{"user": "bob@example.com", "x": "y"}, clean[0], {"api_key": "k", "token_count": "3"}]
    [first, second, third] = scrubber.labels(personal)
    assert first == {"user": "[REDACTED:email]", "x": "y"}
    assert second is clean[0]
    assert third == {"api_key": "[REDACTED:sensitive_key]", "token_count": "3"}
    assert scrubber.labels([third])[0] is third


def test_columns_with_holes() -> None:
    scrubber = Scrubber(DEFAULT_POLICY, KEY)
    assert scrubber.texts([None, "bob@example.com", None, "", "é"]) == [None, "[REDACTED:email]", None, "", "é"]
    assert scrubber.texts([]) == []
    holes = [None, None]
    assert scrubber.texts(holes) is holes
    assert scrubber.json_texts([b"{}", b'{"pin":1}', None]) == [b"{}", b'{"pin":"[REDACTED:sensitive_key]"}', None]


def test_the_dry_run_shows_places_and_not_values() -> None:
    sample = {
        "logs": [{
            "message": "mail bob@example.com",
            "attributes": {"db": {"password": "hunter2"}, "n": 4111111111111111, "eve@example.com": 1, "phone": "2125551234"},
        }]
    }  # fmt: skip
    found = explain(Policy(rules={"email": "mask"}), sample)
    assert found == [
        Explained("email", "logs[0].message", "[MASKED:email:b****@example.com]", "[MASKED:email:b****@example.com]"),
        Explained(
            "sensitive_key", "logs[0].attributes.db.password", "[MASKED:sensitive_key:****]", "[REDACTED:sensitive_key]"
        ),
        Explained("card", "logs[0].attributes.n", "[MASKED:card:****1111]", "[REDACTED:card]"),
        Explained(
            "email", "logs[0].attributes.[MASKED:email:e****@example.com]", "[MASKED:email:e****@example.com]",
            "[MASKED:email:e****@example.com]",
        ),
        Explained("phone", "logs[0].attributes.phone", "[MASKED:phone:****1234]", "[REDACTED:phone]"),
    ]  # fmt: skip
    assert explain(DEFAULT_POLICY, "nothing here") == []
    assert [found.rule for found in explain(DEFAULT_POLICY, "bob@example.com")] == ["email"]
