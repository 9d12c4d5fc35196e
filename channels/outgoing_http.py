"""A URL that somebody chose and a body in; one POST to an address that was looked at, and its status out.

The connection goes to the very address that channels/destinations.py has found fine, while Host and TLS keep the name. No
redirect is followed (it would be another URL), no proxy of the environment is used, an answer is bounded in size and time, and
nothing of it but the status is handed on: what an internal service says must not reach who chose the URL.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import httpcore

from channels.destinations import Destinations
from channels.urls import Target
from topics.errors import Unavailable

CONNECT_TIMEOUT_S: Final = 5.0
TOTAL_TIMEOUT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 64 << 10
_RETRY_AFTER_S_MAX: Final = 3600.0
_CONNECTIONS_MAX: Final = 128
_KEPT_CONNECTIONS_MAX: Final = 32
_KEPT_FOR_S: Final = 5.0


class Reply(NamedTuple):
    """What a receiver answered. `retry_after_s` is None where it did not say."""

    status: int
    retry_after_s: float | None


class OutgoingHttp:
    """Posts to URLs of others. Make it in a running loop; close it."""

    def __init__(
        self,
        destinations: Destinations,
        *,
        ssl_context: ssl.SSLContext | None = None,
        total_timeout_s: float = TOTAL_TIMEOUT_S,
    ) -> None:
        self._total_timeout_s = total_timeout_s
        self._destinations = destinations
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context or httpcore.default_ssl_context(),
            max_connections=_CONNECTIONS_MAX,
            max_keepalive_connections=_KEPT_CONNECTIONS_MAX,
            keepalive_expiry=_KEPT_FOR_S,
            retries=0,
            network_backend=_CheckedNetwork(destinations),
        )

    async def post(self, target: Target, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Post once. Raises `Refused` for a destination that is forbidden, `Unavailable` when no answer came in time."""
        url = httpcore.URL(
            scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path.encode()
        )
        sent = {"host": target.authority, "content-length": str(len(body)), "accept-encoding": "identity", **headers}
        timeouts = {
            "connect": CONNECT_TIMEOUT_S,
            "read": self._total_timeout_s,
            "write": self._total_timeout_s,
            "pool": CONNECT_TIMEOUT_S,
        }
        try:
            async with (
                asyncio.timeout(self._total_timeout_s),
                self._pool.stream(
                    "POST",
                    url,
                    headers=[(name.encode(), value.encode()) for name, value in sent.items()],
                    content=body,
                    extensions={"timeout": timeouts},
                ) as response,
            ):
                size = 0
                async for part in response.aiter_stream():
                    size += len(part)
                    if size > ANSWER_BYTES_MAX:
                        break  # The connection is closed, as it was not read to its end.
                return Reply(response.status, _retry_after(response.headers))
        except (TimeoutError, httpcore.TimeoutException) as exc:
            raise Unavailable(f"cannot reach {target.authority}: no answer within {self._total_timeout_s:g} s") from exc
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError) as exc:
            raise Unavailable(f"cannot reach {target.authority}: {_reason(exc)}") from exc

    async def check(self, target: Target) -> None:
        """Look at a destination without connecting. Raises as `post` does."""
        await self._destinations.addresses_of(target.host, target.port)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._pool.aclose()


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were looked at, and to nothing else."""

    def __init__(self, destinations: Destinations) -> None:
        self._destinations = destinations
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of `host` that answers; all of them were found fine."""
        until = time.monotonic() + (timeout or CONNECT_TIMEOUT_S)
        failure: Exception | None = None
        for address in await self._destinations.addresses_of(host, port):
            left_s = until - time.monotonic()
            if left_s <= 0:
                break
            try:
                return await self._network.connect_tcp(address, port, left_s, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
        raise failure or httpcore.ConnectTimeout()

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109  # httpcore's interface
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Never."""
        raise httpcore.ConnectError("no Unix sockets")

    async def sleep(self, seconds: float) -> None:
        """As httpcore asks."""
        await asyncio.sleep(seconds)


def _retry_after(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Retry-After in seconds, bounded; a date is not understood and counts as not said."""
    for name, value in headers:
        if name.lower() == b"retry-after" and value.isdigit() and len(value) < 8:
            return min(float(value), _RETRY_AFTER_S_MAX)
    return None


def _reason(exc: BaseException) -> str:
    """What went wrong in few words of our own: a library's message may quote what came over the connection."""
    seen: BaseException | None = exc
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted ({seen.verify_message})"
        if isinstance(seen, ssl.SSLError):
            return "TLS could not be agreed on"
        if isinstance(seen, ConnectionRefusedError):
            return "it refuses connections"
        seen = seen.__cause__ or seen.__context__
    if isinstance(exc, httpcore.ProtocolError):
        return "it gave no answer in HTTP"
    return "the connection failed" if isinstance(exc, httpcore.ConnectError) else "the connection broke"
