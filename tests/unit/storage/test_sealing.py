"""A sealed secret opens with its own master key and prefix, and with nothing else."""

from __future__ import annotations

import pytest

from storage.sealing import Sealer
from topics.errors import Refused

KEY = bytes(range(32))
PREFIX = "obs_0123456789abcdef"


def test_what_is_sealed_opens() -> None:
    sealer = Sealer(KEY)
    assert sealer.open(sealer.seal("a secret, ключ", PREFIX), PREFIX) == "a secret, ключ"


def test_the_secret_does_not_show_and_no_two_seals_are_equal() -> None:
    sealer = Sealer(KEY)
    first, second = sealer.seal("swordfish", PREFIX), sealer.seal("swordfish", PREFIX)
    assert b"swordfish" not in first
    assert first != second
    assert KEY.hex() not in repr(sealer)


def test_another_master_key_is_refused_by_its_name() -> None:
    sealed = Sealer(KEY).seal("swordfish", PREFIX)
    with pytest.raises(Refused, match="AEGIS_MASTER_KEY"):
        Sealer(bytes(32)).open(sealed, PREFIX)


def test_a_secret_copied_to_another_key_does_not_open() -> None:
    sealed = Sealer(KEY).seal("swordfish", PREFIX)
    with pytest.raises(Refused):
        Sealer(KEY).open(sealed, "obs_fedcba9876543210")


@pytest.mark.parametrize("position", [0, 1, 12, 13, -1])
def test_a_changed_byte_does_not_open(position: int) -> None:
    sealed = bytearray(Sealer(KEY).seal("swordfish", PREFIX))
    sealed[position] ^= 1
    with pytest.raises(Refused) as caught:
        Sealer(KEY).open(bytes(sealed), PREFIX)
    assert caught.value.code == "unreadable_secret"


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01" * 28])
def test_too_few_bytes_are_refused(sealed: bytes) -> None:
    with pytest.raises(Refused):
        Sealer(KEY).open(sealed, PREFIX)


@pytest.mark.parametrize("master_key", ["", "00", "zz" * 32, "00" * 33])
def test_a_bad_master_key_is_refused_without_showing_it(master_key: str) -> None:
    with pytest.raises(Refused, match="AEGIS_MASTER_KEY") as caught:
        Sealer.from_hex(master_key)
    assert not master_key or master_key not in str(caught.value)


def test_the_setting_form_is_the_same_key() -> None:
    assert Sealer.from_hex(KEY.hex()).open(Sealer(KEY).seal("x", PREFIX), PREFIX) == "x"
