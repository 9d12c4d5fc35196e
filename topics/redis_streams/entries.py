"""One stream entry: value, key, headers and time in, field arguments of XADD out, and back again.

Fields: `v` value, `k` key, `t` time in milliseconds since 1970, `h` headers as a msgpack array of [text, bytes] pairs.
An entry without `v` is a tombstone. `XADD key 0-*` numbers the entries of a stream 0-1, 0-2, ...; the second number is
the offset. Imports no Faust, so that the gateway can produce with nothing but this file.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

Field = bytes | str | int | float
Header = tuple[str, bytes]

ENTRY_OVERHEAD_BYTES = 200
"""What an entry costs in memory beside its value, key and headers; an estimate, for bounds only."""

_headers_encoder = msgspec.msgpack.Encoder()
_headers_decoder = msgspec.msgpack.Decoder(list[tuple[str, bytes]])


class Entry(NamedTuple):
    """What one stream entry says. `value` is None for a tombstone."""

    value: bytes | None
    key: bytes | None
    timestamp_ms: int
    headers: list[Header]


def encode_entry(
    value: bytes | None,
    *,
    timestamp_ms: int,
    key: bytes | None = None,
    headers: Iterable[Header] = (),
) -> list[Field]:
    """Return field names and values in turn, to be put behind `XADD <stream> 0-*`."""
    fields: list[Field] = [b"t", timestamp_ms]
    if value is not None:
        fields += (b"v", value)
    if key is not None:
        fields += (b"k", key)
    pairs = list(headers)
    if pairs:
        fields += (b"h", _headers_encoder.encode(pairs))
    return fields


def encode_headers(headers: Iterable[Header]) -> bytes:
    """Return the field `h` of an entry."""
    return _headers_encoder.encode(list(headers))


def decode_entry(fields: Sequence[bytes]) -> Entry:
    """Read field names and values in turn, as XREAD and XRANGE return them. Unknown fields are ignored.

    Raises msgspec.DecodeError or ValueError when the entry was not written by `encode_entry`.
    """
    value = key = None
    timestamp_ms = 0
    headers: list[Header] = []
    for at in range(0, len(fields), 2):
        name = fields[at]
        if name == b"v":
            value = fields[at + 1]
        elif name == b"t":
            timestamp_ms = int(fields[at + 1])
        elif name == b"k":
            key = fields[at + 1]
        elif name == b"h":
            headers = _headers_decoder.decode(fields[at + 1])
    return Entry(value, key, timestamp_ms, headers)


def decode_any_entry(fields: Sequence[bytes]) -> Entry:
    """As `decode_entry`; one that we did not write comes out as its bytes without headers, to be refused by who handles it."""
    try:
        return decode_entry(fields)
    except (msgspec.DecodeError, ValueError, IndexError):
        return Entry(b" ".join(fields), None, 0, [])


def entry_bytes(fields: Sequence[Field]) -> int:
    """Return roughly how much memory the entry takes."""
    total = ENTRY_OVERHEAD_BYTES
    for field in fields:
        if isinstance(field, (bytes, str)):
            total += len(field)
    return total


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key: the same for whoever adds the message."""
    return zlib.crc32(key) % partitions


def entry_id(offset: int) -> str:
    """Return the stream id of an offset."""
    return f"0-{offset}"


def offset_of(stream_id: bytes) -> int:
    """Return the offset that a stream id stands for."""
    return int(stream_id[stream_id.index(b"-") + 1 :])


def last_offset(info: Sequence[bytes]) -> int:
    """Return the last offset that a stream has given, from the answer to XINFO STREAM."""
    return offset_of(dict(zip(info[::2], info[1::2], strict=True))[b"last-generated-id"])
