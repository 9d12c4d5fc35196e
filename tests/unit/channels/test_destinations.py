"""Which addresses may be connected to."""

from __future__ import annotations

import pytest

from channels.destinations import FORBIDDEN, Destinations, parse_networks
from topics.errors import Refused, Unavailable

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "203.0.114.1",
    "2606:4700:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
]
OURS = [
    "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
    "169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192", "198.18.0.1", "192.0.2.1", "203.0.113.7",
    "224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16", "192.88.99.1",
    "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "::127.0.0.1",
    "::7f00:1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2002:a00:1::1",
    "2001::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1", "100::1",
    "not an address", "",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_fine(address: str) -> None:
    assert Destinations().why_not(address) == ""


@pytest.mark.parametrize("address", OURS)
def test_addresses_of_our_own_networks_are_not(address: str) -> None:
    assert Destinations().why_not(address) != ""


def test_a_network_that_the_operator_names_is_fine_and_nothing_beside_it() -> None:
    destinations = Destinations(parse_networks("127.0.0.0/8, 10.1.0.0/16,fd00::/8"))
    assert [destinations.why_not(a) for a in ("127.0.0.1", "10.1.2.3", "fd00::1")] == ["", "", ""]
    assert all(destinations.why_not(a) for a in ("10.2.0.1", "::1", "169.254.169.254"))
    # Another form of an allowed address is another address.
    assert destinations.why_not("::ffff:127.0.0.1") != ""


@pytest.mark.parametrize("text", ["10.0.0.1/8", "localhost", "10.0.0.0/33"])
def test_what_is_no_network_is_not_taken(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_networks(text)


async def test_one_forbidden_address_among_several_forbids_the_name() -> None:
    async def both(host: str, port: int) -> list[str]:
        return ["8.8.8.8", "10.0.0.1"]

    with pytest.raises(Refused, match="a private address") as caught:
        await Destinations(resolve=both).addresses_of("hooks.example.com", 443)
    assert caught.value.code == FORBIDDEN


async def test_a_name_that_is_not_there_may_be_there_later() -> None:
    async def gone(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    async def empty(host: str, port: int) -> list[str]:
        return []

    for resolve in (gone, empty):
        with pytest.raises(Unavailable):
            await Destinations(resolve=resolve).addresses_of("hooks.example.com", 443)


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "017700000001", "localhost", "127.1"])
async def test_every_spelling_of_this_host_is_seen_through(host: str) -> None:
    """By the system's own resolver, which knows these forms without any network."""
    with pytest.raises(Refused):
        await Destinations().addresses_of(host, 80)
