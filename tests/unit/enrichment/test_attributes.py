"""Attributes get what their address and user agent tell, and nothing that was sent is changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from enrichment.attributes import LOCATION_MEMBERS, USER_AGENT_MEMBERS, Enrichment, append_members
from enrichment.locations import LOOK_EVERY_S, Locations
from enrichment.user_agents import UserAgents

Cities = Callable[..., Path]

RECORD = {
    "country": {"iso_code": "DE"},
    "city": {"names": {"en": 'B"erlin'}},
    "location": {"latitude": 52.5, "longitude": 13.4},
}
GEO = {"geo.country": "DE", "geo.city": 'B"erlin', "geo.latitude": 52.5, "geo.longitude": 13.4}
CURL = {"user_agent.browser": "curl", "user_agent.browser_version": "8.4", "user_agent.device_type": "other",
        "user_agent.is_bot": False}  # fmt: skip


class Clock:
    s = 0.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture(scope="module")
def user_agents() -> UserAgents:
    return UserAgents()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def enrichment(write_cities: Cities, user_agents: UserAgents, clock: Clock) -> Enrichment:
    return Enrichment(
        Locations(write_cities({"91.64.0.0/16": RECORD}), now=clock),
        user_agents,
        address_names=("client.address", "client_ip"),
        user_agent_names=("user_agent.original", "user_agent"),
    )


def added(enrichment: Enrichment, text: bytes) -> dict[str, Any]:
    """What is added to one text, which must stand there unchanged."""
    (enriched,) = enrichment.enrich([text])
    assert enriched.startswith(text[:-1].rstrip())
    before = json.loads(text)
    return {name: value for name, value in json.loads(enriched).items() if name not in before}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"client_ip":"91.64.1.2"}', GEO),
        (b'{ "client.address" : "91.64.1.2" , "x" : [1, 2.50] }', GEO),
        (b'{"client_ip":"91.64.1.2","user_agent":"curl/8.4.0"}', GEO | CURL),
        (b'{"user_agent.original":"curl/8.4.0"}', CURL),
        (b'{"client.address":"","client_ip":"91.64.1.2"}', GEO),
        (b'{"client.address":7,"client_ip":"91.64.1.2"}', GEO),
        (b'{"client_ip":"10.0.0.1"}', {}),
        (b'{"client_ip":"8.8.8.8"}', {}),
        (b'{"client_ip":null,"user_agent":{"name":"curl/8.4.0"}}', {}),
        (b'{"note":"\\"client_ip\\" is no attribute"}', {}),
        (b'{"nested":{"client_ip":"91.64.1.2"}}', {}),
        (b'{"my_client_ip":"91.64.1.2"}', {}),
        (b"{}", {}),
        (b'{"a":"\\ud83d\\ude00","client_ip":"91.64.1.2"}', GEO),
        (b'{"a":"\\ud800","client_ip":"91.64.1.2"}', {}),
    ],
)
def test_what_is_added(enrichment: Enrichment, text: bytes, expected: dict[str, Any]) -> None:
    assert added(enrichment, text) == expected


def test_what_the_sender_gave_is_left_alone(enrichment: Enrichment) -> None:
    given = {"geo.city": "Potsdam", "geo.country": None, "user_agent.is_bot": "?"}
    text = json.dumps(given | {"client_ip": "91.64.1.2", "user_agent": "curl/8.4.0"}).encode()
    (enriched,) = enrichment.enrich([text])
    pairs = json.loads(enriched, object_pairs_hook=list)
    assert len(pairs) == len(dict(pairs)), "no member is there twice"
    assert dict(pairs) == json.loads(text) | {k: v for k, v in (GEO | CURL).items() if k not in given}


def test_one_record_that_has_members_does_not_change_the_others(enrichment: Enrichment) -> None:
    plain, given, none = b'{"client_ip":"91.64.1.2"}', b'{"client_ip":"91.64.1.2","geo.city":"P"}', b'{"a":1}'
    alone = [enrichment.enrich([text])[0] for text in (plain, given, none)]
    assert enrichment.enrich([plain, given, none] * 20) == alone * 20


def test_what_cannot_be_read_stays_as_it_came(enrichment: Enrichment) -> None:
    texts = [b'{"client_ip":"91.64.1.2"', b'{"client_ip":"91.64.1.2"}', b'{"user_agent":"\xff"}']
    first, second, third = enrichment.enrich(texts)
    assert (first, third) == (texts[0], texts[2])
    assert json.loads(second)["geo.country"] == "DE"


def test_a_new_database_is_used_for_attributes_too(enrichment: Enrichment, write_cities: Cities, clock: Clock) -> None:
    text = b'{"client_ip":"91.64.1.2"}'
    assert added(enrichment, text)["geo.country"] == "DE"
    write_cities({"91.64.0.0/16": {"country": {"iso_code": "FR"}}})
    clock.s += LOOK_EVERY_S
    assert added(enrichment, text) == {"geo.country": "FR"}


def test_without_names_nothing_is_touched(write_cities: Cities, user_agents: UserAgents) -> None:
    texts = [b'{"client_ip":"91.64.1.2","user_agent":"curl/8.4.0","":1}']
    assert Enrichment(Locations(write_cities({"91.64.0.0/16": RECORD})), user_agents).enrich(texts) is texts


def test_names_are_taken_literally(write_cities: Cities, user_agents: UserAgents) -> None:
    names = ("client.ip", "ip (of client)")
    enrichment = Enrichment(Locations(write_cities({"91.64.0.0/16": RECORD})), user_agents, address_names=names)
    assert [added(enrichment, json.dumps({name: "91.64.1.2"}).encode()) == GEO for name in (*names, "clientxip")] == [
        True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize("text", [b"{}", b"{ }", b'{"a":1}', b'{"a":1 }', b'{"a":{}}'])
def test_members_are_appended(text: bytes) -> None:
    assert json.loads(append_members(text, {"x": "y", "z": None, "w": ""})) == json.loads(text) | {"x": "y"}
    assert append_members(text, {"z": None}) == text


def test_the_members_are_those_of_the_documents() -> None:
    features = (Path(__file__).parents[3] / "docs/features.md").read_text()
    assert all(f"`{name}`" in features for name in (*LOCATION_MEMBERS, *USER_AGENT_MEMBERS))
