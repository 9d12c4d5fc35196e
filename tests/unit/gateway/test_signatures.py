"""Two signature schemes, and the identities that a request is remembered by."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from gateway.signatures import body_identity, check_signature, idempotency_identity, replay_identity
from topics.errors import Refused

SECRET, BODY, AT = b"your_secret", b'{"logs":[]}', b"1761904800500"


def _hex(message: bytes) -> bytes:
    return hmac.new(SECRET, message, hashlib.sha256).hexdigest().encode()


def check(value: bytes, *, timestamp: bytes = AT, body: bytes = BODY, require_time: bool = False) -> bytes:
    return check_signature(value, secret=SECRET, timestamp=timestamp, body=body, require_time=require_time)


def test_either_scheme_fits_in_any_case() -> None:
    for value in (b"sha256=" + _hex(BODY), b"sha256=" + _hex(BODY).upper()):
        assert check(value) == bytes.fromhex(_hex(BODY).decode())
    assert check(b"v2=" + _hex(AT + b"." + BODY)) == bytes.fromhex(_hex(AT + b"." + BODY).decode())


def test_the_second_scheme_covers_the_time() -> None:
    signature = b"v2=" + _hex(AT + b"." + BODY)
    with pytest.raises(Refused) as refusal:
        check(signature, timestamp=b"1761904800501")
    assert refusal.value.code == "bad_signature"


def test_an_organization_can_require_the_second_scheme() -> None:
    with pytest.raises(Refused, match="v2="):
        check(b"sha256=" + _hex(BODY), require_time=True)
    check(b"v2=" + _hex(AT + b"." + BODY), require_time=True)


@pytest.mark.parametrize("value", [b"", b"v2=", b"v3=" + b"0" * 64, b"sha256=" + b"g" * 64, b"v2=" + _hex(BODY)])
def test_anything_else_is_refused(value: bytes) -> None:
    with pytest.raises(Refused) as refusal:
        check(value)
    assert refusal.value.code == "bad_signature"


def test_a_request_has_one_identity_and_another_has_another() -> None:
    one = replay_identity("obs_a", 1, b"s" * 32)
    assert one == replay_identity("obs_a", 1, b"s" * 32)
    others = {
        replay_identity("obs_b", 1, b"s" * 32),
        replay_identity("obs_a", 2, b"s" * 32),
        replay_identity("obs_a", 1, b"t" * 32),
    }
    assert len(others | {one}) == 4
    assert len(one) == len(idempotency_identity("obs_a", b"k")) == 16
    assert idempotency_identity("obs_a", b"k") != idempotency_identity("obs_b", b"k")
    assert idempotency_identity("obs_a", b"bk") != idempotency_identity("obs_ab", b"k")
    assert body_identity(SECRET, BODY) != body_identity(SECRET, BODY + b" ")
