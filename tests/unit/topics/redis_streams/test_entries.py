"""The fields of an entry, and what may be imported to write one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from topics.redis_streams.entries import Entry, decode_any_entry, decode_entry, encode_entry, entry_id, offset_of


@pytest.mark.parametrize(
    "entry",
    [
        Entry(b"value", b"key", 1_700_000_000_123, [("org", b"\x00\xff"), ("org", b"twice")]),
        Entry(b"", None, 0, []),
        Entry(None, b"deleted", 5, []),
    ],
)
def test_what_is_encoded_is_decoded(entry: Entry) -> None:
    fields = encode_entry(entry.value, key=entry.key, headers=entry.headers, timestamp_ms=entry.timestamp_ms)
    as_redis_returns_them = [field if isinstance(field, bytes) else str(field).encode() for field in fields]
    assert decode_entry(as_redis_returns_them) == entry


def test_offsets_are_the_second_number_of_an_id() -> None:
    assert entry_id(7) == "0-7"
    assert offset_of(b"0-7") == 7


def test_a_producer_needs_no_faust() -> None:
    code = (
        "import sys, topics.redis_streams.entries, topics.redis_streams.keys, topics.redis_streams.catalogue;"
        "print([m for m in sys.modules if m.partition('.')[0] in ('faust', 'mode')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_entry_that_we_did_not_write_comes_out_as_its_bytes() -> None:
    for fields in ([b"t", b"noon"], [b"h", b"no msgpack"], [b"v"]):
        entry = decode_any_entry(fields)
        assert (entry.value, entry.headers) == (b" ".join(fields), [])
