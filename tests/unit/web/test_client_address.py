"""Whose share a request uses: the socket's address, or what our own proxies say, and nothing that a sender made up."""

from __future__ import annotations

import pytest

from topics.errors import Refused
from web.client_address import ClientAddresses


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "address"),
    [
        ([], "203.0.113.9", b"198.51.100.1", "203.0.113.9"),
        (["10.0.0.0/8"], "203.0.113.9", b"198.51.100.1", "203.0.113.9"),
        (["10.0.0.0/8"], "10.1.2.3", b"", "10.1.2.3"),
        (["10.0.0.0/8"], "10.1.2.3", b"198.51.100.1", "198.51.100.1"),
        (["10.0.0.0/8"], "10.1.2.3", b"6.6.6.6, 198.51.100.1", "198.51.100.1"),
        (["10.0.0.0/8"], "10.1.2.3", b"6.6.6.6, 198.51.100.1, 10.9.9.9", "198.51.100.1"),
        (["10.0.0.0/8"], "10.1.2.3", b"198.51.100.1:4711", "198.51.100.1"),
        (["10.0.0.0/8"], "10.1.2.3", b"unknown, 10.9.9.9", "10.9.9.9"),
        (["10.0.0.0/8"], "10.1.2.3", b"\xff\xfe", "10.1.2.3"),
        (["10.0.0.0/8"], "::ffff:10.1.2.3", b"198.51.100.1", "198.51.100.1"),
        (["fd00::/8"], "fd00::1", b"[2001:db8::7]:80", "2001:db8::7"),
        (["10.1.2.3"], "10.1.2.3", b"10.1.2.3, 10.1.2.3", "10.1.2.3"),
    ],
)
def test_the_nearest_address_that_is_not_ours(proxies: list[str], peer: str, forwarded: bytes, address: str) -> None:
    assert ClientAddresses(proxies).address(peer, forwarded) == address


def test_an_ipv6_subscriber_has_one_bucket() -> None:
    addresses = ClientAddresses()
    assert addresses.bucket("2001:db8:1:2:3:4:5:6") == addresses.bucket("2001:db8:1:2::9") == "2001:db8:1:2::/64"
    assert addresses.bucket("2001:db8:1:3::9") != addresses.bucket("2001:db8:1:2::9")
    assert addresses.bucket("::ffff:192.0.2.1") == addresses.bucket("192.0.2.1") == "192.0.2.1"
    assert addresses.bucket("") == ""


def test_many_addresses_are_not_remembered_for_ever() -> None:
    addresses = ClientAddresses()
    for i in range(30_000):
        addresses.bucket(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}")
    assert len(addresses._buckets) <= 10_000


def test_a_proxy_that_is_no_address_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="AEGIS_TRUSTED_PROXIES"):
        ClientAddresses(["load-balancer"])
