"""A compressed body in, its bytes within a bound out, and back for clients. The gateway checks with it what agents read again.

RFC 9110 section 8.4.1: gzip (RFC 1952, several members one after another are one body), deflate (RFC 1950; some senders leave the
zlib wrapper out, which is taken too), zstd (RFC 8878).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, cast

from isal import isal_zlib

from topics.errors import Refused

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_DAMAGED: Final[tuple[type[Exception], ...]] = (cast(type[Exception], isal_zlib.error), zstd.ZstdError)
IDENTITY: Final = "identity"
MEMBERS_MAX: Final = 1000
"""What follows a member is copied for the next one, so a body of nothing but small ones would cost the square of its size."""

_GZIP_WINDOW, _ZLIB_WINDOW, _RAW_WINDOW = 31, 15, -15


def decoded(body: bytes, encoding: str, *, bytes_max: int) -> bytes:
    """The body without its content encoding, one of `ENCODINGS`.

    Raises `Refused`: "unsupported_encoding", "body_too_large" past `bytes_max` (never more than that is ever held), or
    "bad_encoding" for bytes that are cut off, damaged, or followed by others.
    """
    if encoding == IDENTITY:
        return body
    make = _DECODERS.get(encoding)
    if make is None:
        raise unsupported_encoding(encoding)
    pieces: list[bytes] = []
    rest, left = body, bytes_max
    try:
        while rest:
            decoder = make(rest)
            # One byte beyond the bound tells what fits from what does not.
            piece = decoder.decompress(rest, left + 1)
            if len(piece) > left:
                raise Refused(
                    f"cannot accept a body of more than {bytes_max} bytes after decompression", code="body_too_large"
                )
            if not decoder.eof:
                raise Refused(f"cannot read the body: the {encoding} data is cut off", code="bad_encoding")
            if len(pieces) == MEMBERS_MAX:
                raise Refused(
                    f"cannot read the body: it is more than {MEMBERS_MAX} {encoding} streams one after another",
                    code="bad_encoding",
                )
            pieces.append(piece)
            left -= len(piece)
            rest = decoder.unused_data
    except _DAMAGED as exc:
        raise Refused(f"cannot read the body: it is not {encoding}: {exc}", code="bad_encoding") from None
    if not pieces:
        raise Refused(f"cannot read the body: the {encoding} data is cut off", code="bad_encoding")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def encoded(body: bytes, encoding: str) -> bytes:
    """The body in a content encoding, one of `ENCODINGS`; quickly rather than small. Raises `Refused` for any other."""
    make = _ENCODERS.get(encoding)
    if make is None:
        raise unsupported_encoding(encoding)
    return make(body)


def unsupported_encoding(encoding: str) -> Refused:
    """The refusal of a content encoding that is none of ours."""
    return Refused(
        f"cannot accept content-encoding {encoding[:40]!r}: send {', '.join(ENCODINGS)}", code="unsupported_encoding"
    )


def _deflate(body: bytes) -> Any:
    # RFC 1950: the first two bytes are a multiple of 31 and name the method, which raw deflate data hardly ever does.
    wrapped = len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
    return isal_zlib.decompressobj(wbits=_ZLIB_WINDOW if wrapped else _RAW_WINDOW)


_DECODERS: Final[dict[str, Callable[[bytes], Any]]] = {
    "gzip": lambda _: isal_zlib.decompressobj(wbits=_GZIP_WINDOW),
    "deflate": _deflate,
    "zstd": lambda _: zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: 23}),
}

_ENCODERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    IDENTITY: lambda body: body,
    "gzip": lambda body: isal_zlib.compress(body, 1, wbits=_GZIP_WINDOW),
    "deflate": lambda body: isal_zlib.compress(body, 1, wbits=_ZLIB_WINDOW),
    "zstd": lambda body: zstd.compress(body, 3),
}

ENCODINGS: Final = (IDENTITY, *_DECODERS)
