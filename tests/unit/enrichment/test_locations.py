"""Addresses are located by real databases, also while those come, change, break and go."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from enrichment.locations import LOOK_EVERY_S, UNKNOWN, Location, Locations

Cities = Callable[..., Path]

BERLIN = {
    "city": {"names": {"en": "Berlin", "de": "Berlin (de)"}},
    "country": {"iso_code": "DE"},
    "subdivisions": [{"names": {"en": "State of Berlin"}}, {"names": {"en": "a smaller one"}}],
    "location": {"latitude": 52.524371, "longitude": 13.410530, "time_zone": "Europe/Berlin"},
}
IN_BERLIN = Location("DE", "State of Berlin", "Berlin", "Europe/Berlin", 52.5244, 13.4105)
FLAT_PARIS = {"country_code": "FR", "state1": "IDF", "state2": "", "city": "Paris", "latitude": 48.85, "longitude": 2.35,
              "postcode": "", "timezone": ""}  # fmt: skip
IN_PARIS = Location("FR", "IDF", "Paris", "", 48.85, 2.35)


class Clock:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("91.64.1.2", IN_BERLIN),
        (" 91.64.1.2 ", IN_BERLIN),
        ("91.64.1.2:443", IN_BERLIN),
        ("91.64.1.2, 10.0.0.1", IN_BERLIN),
        ("::ffff:91.64.1.2", IN_BERLIN),
        ("2a02:8108::1", IN_BERLIN),
        ("[2a02:8108::1]:443", IN_BERLIN),
        ("2a02:8108::1%eth0", IN_BERLIN),
        ("8.8.8.8", UNKNOWN),
        ("2001:4860:4860::8888", UNKNOWN),
        ("10.1.2.3", UNKNOWN),
        ("127.0.0.1", UNKNOWN),
        ("169.254.0.1", UNKNOWN),
        ("::1", UNKNOWN),
        ("fd00::1", UNKNOWN),
        ("224.0.0.1", UNKNOWN),
        ("", UNKNOWN),
        ("unknown", UNKNOWN),
        ("999.1.1.1", UNKNOWN),
        ("[", UNKNOWN),
        ("9" * 100_000, UNKNOWN),
    ],
)
def test_an_address_is_located(write_cities: Cities, address: str, expected: Location) -> None:
    networks = {"91.64.0.0/16": BERLIN, "2a02:8108::/32": BERLIN, "10.0.0.0/8": BERLIN, "127.0.0.0/8": BERLIN}
    locations = Locations(write_cities(networks))
    assert locations.of(address) == expected
    assert locations.of(address) == expected, "the same again, remembered"


def test_a_folder_of_one_file_a_protocol_in_the_flat_shape(write_cities: Cities) -> None:
    write_cities({"91.64.0.0/16": FLAT_PARIS}, "geo/a-ipv4.mmdb", ip_version=4)
    folder = write_cities({"2a02:8108::/32": FLAT_PARIS}, "geo/b-ipv6.mmdb").parent
    locations = Locations(folder)
    assert locations.of("91.64.1.2") == locations.of("2a02:8108::1") == IN_PARIS
    assert locations.of("8.8.8.8") == locations.of("2001:4860::1") == UNKNOWN


def test_a_replaced_database_is_read_again_within_seconds(write_cities: Cities) -> None:
    clock = Clock()
    path = write_cities({"91.64.0.0/16": BERLIN})
    locations = Locations(path, now=clock)
    assert locations.of("91.64.1.2") == IN_BERLIN
    write_cities({"91.64.0.0/16": FLAT_PARIS})
    locations.refresh()
    assert locations.of("91.64.1.2") == IN_BERLIN, "it is not looked at for every batch"
    before = locations.version
    clock.s += LOOK_EVERY_S
    locations.refresh()
    assert locations.of("91.64.1.2") == IN_PARIS
    assert locations.version != before


def test_no_database_is_said_once_and_one_that_comes_is_used(
    write_cities: Cities, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    locations = Locations(tmp_path / "geoip", now=clock)
    for _ in range(5):
        clock.s += LOOK_EVERY_S
        locations.refresh()
        assert locations.of("91.64.1.2") == UNKNOWN
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert not locations.on
    write_cities({"91.64.0.0/16": BERLIN}, "geoip/city.mmdb")
    clock.s += LOOK_EVERY_S
    locations.refresh()
    assert (locations.on, locations.of("91.64.1.2")) == (True, IN_BERLIN)


def test_a_broken_database_does_not_take_the_place_of_a_good_one(
    write_cities: Cities, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    path = write_cities({"91.64.0.0/16": BERLIN})
    locations = Locations(path, now=clock)
    broken = path.with_suffix(".part")
    broken.write_bytes(b"no database")
    broken.replace(path)
    for _ in range(3):
        clock.s += LOOK_EVERY_S
        locations.refresh()
    assert locations.of("91.64.1.2") == IN_BERLIN
    assert sum(record.levelno == logging.WARNING for record in caplog.records) == 1


@pytest.mark.parametrize(
    "record", ["text", ["list"], {"city": "no object"}, {"country": {"iso_code": "DE"}, "location": 3}]
)
def test_a_record_of_another_shape_locates_nothing(
    write_cities: Cities, record: Any, caplog: pytest.LogCaptureFixture
) -> None:
    locations = Locations(write_cities({"91.64.0.0/16": record}))
    assert [locations.of(f"91.64.1.{i}") for i in range(3)] == [UNKNOWN] * 3
    assert sum(record.levelno == logging.WARNING for record in caplog.records) == 1


def test_a_record_that_knows_the_country_alone(write_cities: Cities) -> None:
    locations = Locations(write_cities({"91.64.0.0/16": {"country": {"iso_code": "DE"}}}))
    assert locations.of("91.64.1.2") == Location(country="DE")
