"""Policies are read strictly, and a pattern that could be slow or hit everything is refused with its path."""

from __future__ import annotations

import json
import time

import pytest

from privacy.policy import DEFAULT_POLICY, PATTERNS_MAX, RULES, Pattern, Policy, policy_text, read_policy
from privacy.scrub import Scrubber
from topics.errors import Refused


def test_the_default_redacts_with_every_rule_but_addresses() -> None:
    assert read_policy(b"{}") == DEFAULT_POLICY
    assert {rule: DEFAULT_POLICY.strategy_of(rule) for rule in RULES} == dict.fromkeys(RULES, "redact") | {"ip": "off"}


def test_a_policy_survives_its_text() -> None:
    staff = Pattern("staff", r"EMP-\d{6}", "hash")
    policy = Policy(strategy="mask", rules={"email": "hash", "card": "off"}, keys=("badge",), patterns=(staff,))
    assert read_policy(policy_text(policy)) == policy
    assert [policy.strategy_of(rule) for rule in ("email", "card", "ssn", "staff")] == ["hash", "off", "mask", "hash"]


@pytest.mark.parametrize(
    ("policy", "path"),
    [
        ({"strategy": "encrypt"}, "strategy"),
        ({"rules": {"email": "maybe"}}, "rules[...]"),
        ({"rules": {"emails": "off"}}, "rules"),
        ({"rules": {"sensitive_key": "off"}}, "rules.sensitive_key"),
        ({"unknown": 1}, "unknown"),
        ({"keys": ["x" * 65]}, "keys[0]"),
        ({"keys": ["--"]}, "keys[0]"),
        ({"keys": ["ab"] * 101}, "keys"),
        ({"patterns": [{"name": "Staff", "pattern": "x"}]}, "patterns[0].name"),
        ({"patterns": [{"name": "email", "pattern": "x"}]}, "patterns[0].name"),
        ({"patterns": [{"name": "a", "pattern": "x"}, {"name": "a", "pattern": "y"}]}, "patterns[1].name"),
        ({"patterns": [{"name": f"p{i}", "pattern": "x"} for i in range(PATTERNS_MAX + 1)]}, "patterns"),
        ({"patterns": [{"name": "a", "pattern": "x" * 201}]}, "patterns[0].pattern"),
        ({"patterns": [{"name": "a", "pattern": "("}]}, "patterns[0].pattern"),
        ({"patterns": [{"name": "a", "pattern": r"(a)\1"}]}, "patterns[0].pattern"),
        ({"patterns": [{"name": "a", "pattern": "(?=x)y"}]}, "patterns[0].pattern"),
        ({"patterns": [{"name": "a", "pattern": "x*"}]}, "patterns[0].pattern"),
        ({"patterns": [{"name": "a", "pattern": r"\s"}]}, "patterns[0].pattern"),
        ({"patterns": [{"name": "a", "pattern": "."}]}, "patterns[0].pattern"),
        ({"patterns": [{"name": "a", "pattern": "^x"}]}, "patterns[0].pattern"),
        ({"patterns": [{"name": "a", "pattern": "x$"}]}, "patterns[0].pattern"),
        ({"patterns": [{"name": "a", "pattern": "(?:x{1,50}){20}"}]}, "patterns[0].pattern"),
        ({"patterns": [{"name": "a", "pattern": "((x{100}){100}){100}"}]}, "patterns[0].pattern"),
    ],
)
def test_what_is_wrong_is_refused_with_its_path(policy: object, path: str) -> None:
    with pytest.raises(Refused) as refused:
        read_policy(json.dumps(policy))
    assert (refused.value.code, refused.value.path) == ("invalid_field", path)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b'{"keys":["\xff\xff"]}'])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(Refused) as refused:
        read_policy(text)
    assert refused.value.code == "malformed_json"


def test_a_pattern_that_backtracks_elsewhere_is_quick_here() -> None:
    policy = Policy(patterns=(Pattern("slow", "(?:a+)+b"),))
    column = ["a" * 100_000 + "c"]
    begun = time.process_time()
    assert Scrubber(policy, b"k" * 16).texts(column) is column
    assert time.process_time() - begun < 2


def test_extra_patterns_find_in_every_kind_of_column() -> None:
    policy = Policy(patterns=(Pattern("staff", r"\bEMP-\d{6}\b"), Pattern("quoted", r'<"\d+">', "mask")))
    scrubber = Scrubber(policy, b"k" * 16)
    assert scrubber.texts(["by EMP-123456.", "EMP-1234567"]) == ["by [REDACTED:staff].", "EMP-1234567"]
    assert scrubber.texts(["x" * 50, "EMP-123456"]) == ["x" * 50, "[REDACTED:staff]"]
    document = r'{"a":"\nEMP-123456","b":"<\"12\">","c":"<\u002212\">"}'
    [out] = scrubber.json_texts([document])
    assert json.loads(out) == {"a": "\n[REDACTED:staff]", "b": "[MASKED:quoted:****]", "c": "[MASKED:quoted:****]"}
    assert scrubber.take_counts() == {"staff": 3, "quoted": 2}


def test_a_pattern_across_texts_hides_none_of_them() -> None:
    """In the joined column a greedy pattern reaches over many texts; each is looked at for itself all the same."""
    scrubber = Scrubber(Policy(patterns=(Pattern("span", "begin(?s:.)*end"),)), b"k" * 16)
    column = ["begin", "x", "bob@example.com", "begin end", "end"]
    assert scrubber.texts(column) == ["begin", "x", "[REDACTED:email]", "[REDACTED:span]", "end"]


def test_keys_of_an_organization() -> None:
    scrubber = Scrubber(Policy(keys=("badge number", "Kennwort"), keep_keys=("csrf_token",)), b"k" * 16)
    [out] = scrubber.json_texts(['{"user.badgeNumber":1,"KENNWORT":"x","number":2,"csrf-token":"y","token":"z"}'])
    assert json.loads(out) == {
        "user.badgeNumber": "[REDACTED:sensitive_key]", "KENNWORT": "[REDACTED:sensitive_key]", "number": 2, "csrf-token": "y",
        "token": "[REDACTED:sensitive_key]",
    }  # fmt: skip


def test_rules_can_be_off() -> None:
    policy = Policy(rules=dict.fromkeys([rule for rule in RULES if rule != "sensitive_key"], "off"))
    column = ["bob@example.com 4111111111111111 AKIAIOSFODNN7EXAMPLE http://a:b@c.de"]
    assert Scrubber(policy, b"k" * 16).texts(column) is column
    documents = ['{"n":4111111111111111,"phone":"2125551234","e":"bob@example.com"}']
    assert Scrubber(policy, b"k" * 16).json_texts(documents) is documents


def test_addresses_can_be_on() -> None:
    scrubber = Scrubber(Policy(rules={"ip": "redact"}), b"k" * 16)
    column = [
        "from 203.0.113.7:443",
        "from [2001:db8::1]",
        "::1",
        "at 10:00:00",
        "v1.2.3.4 1.2.3.4.5 999.1.1.1",
        "fe80::1%eth0",
    ]
    assert list(scrubber.texts(column)) == [
        "from [REDACTED:ip]:443", "from [[REDACTED:ip]]", "[REDACTED:ip]", *column[3:5], "[REDACTED:ip]%eth0",
    ]  # fmt: skip


def test_the_largest_policy_works_and_leaves_re2_its_automaton(capfd: pytest.CaptureFixture[str]) -> None:
    keys = tuple(
        "-".join(f"{chr(97 + i % 26)}{word}{i}q" for word in ("alpha", "bravo", "charlie", "delta")) for i in range(100)
    )
    patterns = tuple(Pattern(f"p{i}", f"(?:x{i}|[a-z]{{3}}-[0-9]{{1,40}}x){{1,3}}") for i in range(PATTERNS_MAX))
    policy = read_policy(policy_text(Policy(keys=keys, patterns=patterns, rules={"ip": "redact"})))
    out = Scrubber(policy, b"k" * 16).texts(["mail bob@example.com x", f"{keys[57]}=hello", "plain", "abc-12345x"])
    assert list(out) == ["mail [REDACTED:email] x", f"{keys[57]}=[REDACTED:sensitive_key]", "plain", "[REDACTED:p0]"]
    assert "out of memory" not in capfd.readouterr().err
