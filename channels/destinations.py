"""A host that somebody chose -> the addresses of it that may be connected to: never one of our own networks.

Whoever may write a webhook's URL chooses where this process connects to (SSRF; CVE-2024-9710 and CVE-2025-1521 led from a
webhook into ClickHouse). So names are resolved here, every address is looked at, and the connection goes to an address that was
looked at (channels/outgoing_http.py): a name that answers differently a moment later changes nothing.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from topics.errors import Refused, Unavailable

FORBIDDEN: Final = "forbidden_destination"
RESOLVE_TIMEOUT_S: Final = 5.0
_RESOLVER_THREADS: Final = 32

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port -> addresses as text. Raises `OSError` when there is no such name."""

_NEVER: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(text), why)
    for text, why in (
        ("0.0.0.0/8", "this host"),
        ("100.64.0.0/10", "an address shared behind a carrier's NAT"),
        ("192.0.0.0/24", "a reserved address"),
        ("168.63.129.16/32", "a cloud's own service"),
        ("169.254.0.0/16", "link-local, where clouds keep their metadata"),
        ("192.88.99.0/24", "a relay of 6to4"),
        ("192.0.2.0/24", "an example's address"),
        ("198.18.0.0/15", "a reserved address"),
        ("198.51.100.0/24", "an example's address"),
        ("203.0.113.0/24", "an example's address"),
        ("240.0.0.0/4", "a reserved address"),
        ("::/128", "this host"),
        ("64:ff9b:1::/48", "a translated address"),
        ("2001::/23", "a tunnel, or a reserved address"),
        ("2001:db8::/32", "an example's address"),
        ("3fff::/20", "an example's address"),
        ("fec0::/10", "private"),
    )
)
"""What some version of `ipaddress` takes for global, or names less clearly; IANA's registries of special-purpose addresses."""

_GLOBAL_IPV6: Final = IPv6Network("2000::/3")

_TRANSLATED: Final[tuple[tuple[IPv6Network, int], ...]] = (
    # IPv6 networks that stand for IPv4 ones, and how far to shift for the address inside: RFC 4291, RFC 6052, RFC 3056.
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("::ffff:0:0:0/96"), 0),
    (IPv6Network("::/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("2002::/16"), 80),
)


def parse_networks(text: str) -> tuple[Network, ...]:
    """Networks or addresses, by commas. Raises `ValueError` for anything else."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


class Destinations:
    """Where notifications may go. `allowed` are networks that are fine although they are not public."""

    def __init__(self, allowed: Iterable[Network] = (), *, resolve: Resolve | None = None) -> None:
        self._allowed = tuple(allowed)
        self._resolve = resolve or resolve_by_system

    async def addresses_of(self, host: str, port: int) -> list[str]:
        """The addresses of a host, each of them fine. Raises `Refused` when one is not, `Unavailable` when there is none now."""
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                found = await self._resolve(host, port)
        except TimeoutError as exc:
            raise Unavailable(f"cannot find {host}: its name server did not answer in time") from exc
        except (OSError, UnicodeError) as exc:
            raise Unavailable(f"cannot find {host}: there is no such name now") from exc
        if not found:
            raise Unavailable(f"cannot find {host}: it has no address")
        for text in found:
            if why := self.why_not(text):
                # One is enough: who answers with both a public and a private address hopes for the second try.
                raise Refused(f"cannot connect to {host}: it leads to {why}", code=FORBIDDEN)
        return list(dict.fromkeys(found))

    def why_not(self, text: str) -> str:
        """What is wrong with an address, "" when nothing is."""
        try:
            address: Address = ip_address(text.partition("%")[0])
        except ValueError:
            return "what is no address"
        return "" if self._is_allowed(address) else _why_not_public(address)

    def _is_allowed(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._allowed)


def _why_not_public(address: Address) -> str:
    for network, why in _NEVER:
        if address.version == network.version and address in network:
            return why
    if address.is_loopback:
        return "this host"
    if address.is_multicast:
        return "many hosts at once"
    if isinstance(address, IPv6Address) and (inner := _address_inside(address)) is not None:
        return _why_not_public(inner)
    if address.is_private:
        return "a private address"
    if isinstance(address, IPv6Address) and address not in _GLOBAL_IPV6:
        return "a reserved address"
    return "" if address.is_global else "a reserved address"


def _address_inside(address: IPv6Address) -> IPv4Address | None:
    for network, shift in _TRANSLATED:
        if address in network:
            return IPv4Address(int(address) >> shift & 0xFFFFFFFF)
    return None


_resolvers: ThreadPoolExecutor | None = None


async def resolve_by_system(host: str, port: int) -> list[str]:
    """Ask the system, in threads of our own: a slow name server must not keep the event loop's few threads from others."""
    global _resolvers
    _resolvers = _resolvers or ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="resolve")
    found = await asyncio.get_running_loop().run_in_executor(
        _resolvers, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    )
    return [str(entry[4][0]) for entry in found]
