"""Passwords are hashed a few at a time; failures are counted in bounded memory; refresh tokens follow each other."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from argon2 import PasswordHasher

from query.control.failed_logins import OF_ADDRESS, OF_EMAIL, REMEMBERED, FailedLogins
from query.control.passwords import Passwords, check_password
from query.control.refresh_tokens import RefreshToken, new_refresh_token, read_refresh_token
from topics.errors import RateLimited, Refused, Unavailable

CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


class SlowHasher(PasswordHasher):
    """Real hashes, with a pause in which others could come; `most` is how many there were at once."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=64, parallelism=1)
        self.lock = threading.Lock()
        self.now = self.most = 0

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.02)
        made = super().hash(password, salt=salt)
        with self.lock:
            self.now -= 1
        return made


async def test_a_few_at_once_many_waiting_and_no_more() -> None:
    hasher = SlowHasher()
    passwords = Passwords(hasher, at_once=2, waiting_max=6)
    found = await asyncio.gather(*(passwords.hash("correct horse") for _ in range(12)), return_exceptions=True)
    assert hasher.most == 2
    assert [isinstance(each, Unavailable) for each in found].count(True) == 4
    assert isinstance(await passwords.hash("correct horse"), str)
    passwords.close()


async def test_a_hash_is_of_its_password_alone_in_whatever_form_it_was_typed() -> None:
    passwords = Passwords(CHEAP)
    kept = await passwords.hash("caf\N{LATIN SMALL LETTER E WITH ACUTE} au lait")
    assert kept.startswith("$argon2id$")
    assert await passwords.verify(kept, "cafe\N{COMBINING ACUTE ACCENT} au lait")
    for password in ("cafe au lait", "", "caf\N{LATIN SMALL LETTER E WITH ACUTE} au lait "):
        assert not await passwords.verify(kept, password)
    assert not await passwords.verify(None, "caf\N{LATIN SMALL LETTER E WITH ACUTE} au lait")
    assert not await passwords.verify("$argon2id$garbage", "x")
    assert not passwords.is_outdated(kept)
    assert passwords.is_outdated(PasswordHasher(time_cost=2, memory_cost=64, parallelism=1).hash("x"))
    passwords.close()


@pytest.mark.parametrize(
    "password", ["short", "a" * 12, "abababababab", "ada@example.org", "ADA@example.org", "x" * 257, "y\ud800z" * 4]
)
def test_a_password_that_is_no_good_is_refused(password: str) -> None:
    with pytest.raises(Refused) as caught:
        check_password(password, "ada@example.org")
    assert (caught.value.code, caught.value.path) == ("invalid_field", "password")


def test_a_good_password_passes() -> None:
    check_password("correct horse battery")
    check_password("\N{SNOWMAN}\N{CLOUD}\N{UMBRELLA}" * 85)


def test_shares_come_back_one_by_one() -> None:
    now = [0.0]
    failures = FailedLogins(lambda: now[0])
    tries, every_s = OF_EMAIL
    for _ in range(tries):
        failures.charge("203.0.113.9", "a@b")
    with pytest.raises(RateLimited) as caught:
        failures.charge("203.0.113.9", "A@B")
    assert 0 < caught.value.retry_after_s <= every_s
    failures.charge("203.0.113.9", "c@d")
    now[0] += caught.value.retry_after_s
    failures.charge("203.0.113.9", "a@b")
    with pytest.raises(RateLimited):
        failures.charge("203.0.113.9", "a@b")
    failures.give_back("203.0.113.9", "a@b")
    failures.charge("203.0.113.9", "a@b")


def test_an_ipv6_subscriber_is_one_address() -> None:
    failures = FailedLogins(lambda: 0.0)
    for i in range(OF_ADDRESS[0]):
        failures.charge(f"2001:db8:1:2::{i:x}")
    with pytest.raises(RateLimited):
        failures.charge("2001:db8:1:2:ffff::")
    failures.charge("2001:db8:1:3::1")


def test_who_is_refused_by_address_costs_the_e_mail_nothing() -> None:
    failures = FailedLogins(lambda: 0.0)
    for i in range(OF_ADDRESS[0]):
        failures.charge("203.0.113.9", f"{i}@x")
    for _ in range(50):
        with pytest.raises(RateLimited):
            failures.charge("203.0.113.9", "victim@x")
    failures.charge("198.51.100.1", "victim@x")


def test_memory_is_bounded_and_the_oldest_go_first() -> None:
    failures = FailedLogins(lambda: 0.0)
    for _ in range(OF_EMAIL[0]):
        failures.charge("192.0.2.1", "victim@x")
    for i in range(2 * REMEMBERED):
        failures.charge(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", f"{i}@x")
    assert len(failures._emails._whole_at) == len(failures._addresses._whole_at) == REMEMBERED
    assert all(len(name) <= 64 for name in failures._emails._whole_at)


def test_a_refresh_token_is_read_back_and_has_one_successor() -> None:
    token = new_refresh_token()
    assert read_refresh_token(str(token)) == token
    assert str(token)[4:] not in repr(token)
    following = token.successor(b"k" * 32)
    assert following == token.successor(b"k" * 32) != token.successor(b"l" * 32)
    assert (following.family_hash, following.own_hash == token.own_hash) == (token.family_hash, False)
    assert RefreshToken(new_refresh_token().family, token.own).successor(b"k" * 32).own != following.own
    for text in ("", "aer_", str(token)[:-1], f"{token}=", f" {token}", str(token).replace("aer", "aet"), f"{token}\n"):
        assert read_refresh_token(text) is None
