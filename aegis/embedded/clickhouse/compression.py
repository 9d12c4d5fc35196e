"""Bodies in the encodings that HTTP clients of ClickHouse use: gzip, deflate, zstd and lz4 frames, whole in, streamed out.

zstd and lz4 come with clickhouse-connect, which needs the same two packages.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from typing import Protocol

import lz4.frame  # type: ignore[import-untyped]  # ships no types

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from aegis.embedded.clickhouse.failures import CANNOT_DECOMPRESS, NOT_IMPLEMENTED, REQUEST_TOO_LARGE, QueryFailure

# The cheapest first: these bodies travel over the loopback.
RESPONSE_ENCODINGS = ("lz4", "zstd", "gzip", "deflate")


class Compressor(Protocol):
    """Turns chunks into one encoded stream."""

    def compress(self, data: bytes) -> bytes:
        """Take one chunk; what comes back may be empty until more follows."""
        ...

    def flush(self) -> bytes:
        """End the stream; nothing may follow."""
        ...


class _Lz4Frame:
    """One lz4 frame, opened with the first chunk."""

    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor()
        self._begun = False

    def compress(self, data: bytes) -> bytes:
        head: bytes = b"" if self._begun else self._frame.begin()
        self._begun = True
        return head + bytes(self._frame.compress(data))

    def flush(self) -> bytes:
        head: bytes = b"" if self._begun else self._frame.begin()
        self._begun = True
        return head + bytes(self._frame.flush())


def compressor(encoding: str) -> Compressor:
    """A fresh compressor for one of RESPONSE_ENCODINGS."""
    if encoding == "lz4":
        return _Lz4Frame()
    if encoding == "zstd":
        return zstd.ZstdCompressor(level=1)
    return zlib.compressobj(level=1, wbits=31 if encoding == "gzip" else 15)


def accepted_encoding(accept: str) -> str | None:
    """The encoding to answer with, given an Accept-Encoding header; None when it names none of ours."""
    names = {
        part.split(";")[0].strip().lower()
        for part in accept.split(",")
        if "q=0" not in part.replace(" ", "").replace("q=0.", "")
    }
    return next((encoding for encoding in RESPONSE_ENCODINGS if encoding in names), None)


def decompress(body: bytes, encoding: str, bytes_max: int) -> bytes:
    """The whole body, decoded. A body may be several frames one after another, which is how clickhouse-connect sends blocks.

    Raises `QueryFailure`: an unknown encoding, a body that is not in it or breaks off, more than `bytes_max` bytes.
    """
    makers: dict[str, Callable[[], _Decompressor]] = {
        "gzip": lambda: _Zlib(31),
        "x-gzip": lambda: _Zlib(31),
        "deflate": lambda: _Zlib(15),
        "zstd": zstd.ZstdDecompressor,
        "lz4": lz4.frame.LZ4FrameDecompressor,
    }
    if encoding not in makers:
        raise QueryFailure(NOT_IMPLEMENTED, f"Unknown compression method {encoding} in Content-Encoding")
    parts: list[bytes] = []
    left = bytes_max
    rest = body
    try:
        while rest:
            frame = makers[encoding]()
            while not frame.eof:
                # One byte past the bound is asked for, so that a body that just fits is told from one that does not.
                part = frame.decompress(rest, left + 1)
                rest = b""
                left -= len(part)
                if left < 0:
                    raise QueryFailure(REQUEST_TOO_LARGE, f"the body is more than {bytes_max} bytes when decompressed")
                parts.append(part)
                if frame.needs_input and not frame.eof:
                    raise QueryFailure(CANNOT_DECOMPRESS, f"the {encoding} body breaks off")
            rest = frame.unused_data or b""
    except (zlib.error, zstd.ZstdError, RuntimeError, EOFError) as exc:
        raise QueryFailure(CANNOT_DECOMPRESS, f"the body is not {encoding}: {exc}") from exc
    return b"".join(parts)


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes: ...


class _Zlib:
    """zlib's decompressor in the shape of the other two, which keep what they have not consumed."""

    def __init__(self, wbits: int) -> None:
        self._inner = zlib.decompressobj(wbits)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
