"""Compressed bodies -> their bytes, and never more of them than the bound."""

from __future__ import annotations

import gzip
import os
import sys
import tracemalloc
import zlib
from collections.abc import Callable

import pytest

from topics.content_encoding import ENCODINGS, MEMBERS_MAX, decoded
from topics.errors import Refused

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def _raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


WAYS: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", _raw_deflate),
    ("zstd", zstd.compress),
]


@pytest.mark.parametrize(("encoding", "compress"), WAYS)
@pytest.mark.parametrize("size", [0, 1, 1000, 300_000])
def test_what_was_compressed_comes_back(encoding: str, compress: Callable[[bytes], bytes], size: int) -> None:
    body = (os.urandom(max(1, size // 10)) * 10)[:size]
    assert decoded(compress(body), encoding, bytes_max=size or 1) == body


@pytest.mark.parametrize(("encoding", "compress"), [WAYS[0], WAYS[3]])
def test_several_members_are_one_body(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    assert decoded(compress(b"one ") + compress(b"two"), encoding, bytes_max=7) == b"one two"
    with pytest.raises(Refused) as refusal:
        decoded(compress(b"one ") + compress(b"two"), encoding, bytes_max=6)
    assert refusal.value.code == "body_too_large"


@pytest.mark.parametrize(("encoding", "compress"), WAYS)
def test_a_bomb_is_refused_before_it_is_held(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    """CVE-2024-36129: 200 MiB of zeros in some 200 KB."""
    bomb = compress(bytes(200 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(Refused) as refusal:
            decoded(bomb, encoding, bytes_max=1 << 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refusal.value.code == "body_too_large"
    assert peak < 16 << 20


@pytest.mark.parametrize(("encoding", "compress"), WAYS)
@pytest.mark.parametrize("damage", ["cut", "junk", "garbled", "empty"])
def test_what_is_damaged_is_refused(encoding: str, compress: Callable[[bytes], bytes], damage: str) -> None:
    if damage == "garbled" and compress is _raw_deflate:
        return  # Without its wrapper deflate has no checksum: what comes out is some other body, which the signature refuses.
    whole = compress(os.urandom(2000))
    body = {
        "cut": whole[:-9],
        "junk": b"this is no compressed body at all",
        "garbled": whole[:5] + bytes(64) + whole[69:],
        "empty": b"",
    }[damage]
    with pytest.raises(Refused) as refusal:
        decoded(body, encoding, bytes_max=1 << 20)
    assert refusal.value.code == "bad_encoding"


def test_an_unknown_encoding_names_those_that_are_known() -> None:
    with pytest.raises(Refused, match=r"identity, gzip, deflate, zstd") as refusal:
        decoded(b"x", "br", bytes_max=10)
    assert refusal.value.code == "unsupported_encoding"
    assert ENCODINGS == ("identity", "gzip", "deflate", "zstd")


@pytest.mark.parametrize(("encoding", "compress"), [WAYS[0], WAYS[3]])
def test_a_thousand_members_are_the_most(encoding: str, compress: Callable[[bytes], bytes]) -> None:
    assert decoded(compress(b"x") * MEMBERS_MAX, encoding, bytes_max=5000) == b"x" * MEMBERS_MAX
    with pytest.raises(Refused, match="more than 1000") as refusal:
        decoded(compress(b"") * (MEMBERS_MAX + 1), encoding, bytes_max=5000)
    assert refusal.value.code == "bad_encoding"
