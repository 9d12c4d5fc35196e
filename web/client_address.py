"""The connection's peer and what proxies say -> the address whose share a request uses.

X-Forwarded-For is read from its end, where the nearest proxy writes, and only as long as the writer is one of ours: whatever a
sender puts in front of that is his own invention.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from topics.errors import Refused

_REMEMBERED = 10_000
_IPV6_SHARE_BITS = 64  # What one subscriber gets: otherwise one machine would have 2^64 buckets.


class ClientAddresses:
    """Names the sender of a request."""

    def __init__(self, trusted_proxies: Sequence[str] = ()) -> None:
        """`trusted_proxies` are addresses or networks ("10.0.0.0/8"). Raises `Refused` naming the setting for anything else."""
        try:
            self._proxies = [ip_network(text, strict=False) for text in trusted_proxies]
        except ValueError as exc:
            raise Refused(f"cannot use AEGIS_TRUSTED_PROXIES: {exc}", code="bad_setting") from exc
        self.reads_forwarded = bool(self._proxies)
        self._buckets: dict[str, str] = {}

    def address(self, peer: str, forwarded_for: bytes = b"") -> str:
        """The address that sent the request; `peer` is the socket's, `forwarded_for` the header as it came, "" without one."""
        if not self._proxies or not forwarded_for or not self._is_trusted(peer):
            return peer
        address = peer
        for hop in reversed(forwarded_for.decode("latin-1").split(",")):
            hop = _without_port(hop.strip())
            if _parsed(hop) is None:
                break  # Written by nobody we trust, so the one before it is the last that is known.
            address = hop
            if not self._is_trusted(hop):
                break
        return address

    def told(self, scope: Any) -> Any:
        """An ASGI scope whose `client` is the one that sent the request; for whoever reads it from there."""
        client = scope.get("client")
        if not self.reads_forwarded or scope["type"] != "http" or client is None:
            return scope
        forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        return {**scope, "client": (self.address(client[0], forwarded), client[1])}

    def bucket(self, address: str) -> str:
        """The name of the token bucket of an address: itself, or the /64 network of an IPv6 one."""
        bucket = self._buckets.get(address)
        if bucket is None:
            if len(self._buckets) >= _REMEMBERED:
                self._buckets.clear()
            bucket = self._buckets[address] = _bucket(address)
        return bucket

    def _is_trusted(self, address: str) -> bool:
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._proxies)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return mapped or parsed


def _bucket(address: str) -> str:
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed, _IPV6_SHARE_BITS), strict=False))
    return address if parsed is None else str(parsed)


def _without_port(hop: str) -> str:
    """`[::1]:80` and `1.2.3.4:80` -> the address."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
