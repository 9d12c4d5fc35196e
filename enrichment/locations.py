"""A client's IP address -> where it is, by city databases in MaxMind's file format.

Records are read by maxminddb's C reader and understood by geoip2's model of a city; answers are remembered, so that an address
costs some 20 us once. Databases are looked at every few seconds and read again when they were replaced. Replace them by renaming
a new file over the old one, as `aegis geoip fetch` does: they are mapped into memory, and must not shrink under the reader.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import geoip2.models
import maxminddb

from enrichment.remembered import Remembered

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 3.0
ADDRESS_MAX: Final = 64
GENERATION: Final = 50_000
_LOCALES: Final = ("en",)
_DIGITS: Final = 4  # of a coordinate: 11 m, which is finer than any city database


class Location(NamedTuple):
    """Where an address is, as far as the database knows: "" and None for what it does not.

    `country` is an ISO 3166-1 alpha-2 code; `region` the largest subdivision's English name; `timezone` an IANA name; coordinates
    are degrees.
    """

    country: str = ""
    region: str = ""
    city: str = ""
    timezone: str = ""
    latitude: float | None = None
    longitude: float | None = None


UNKNOWN: Final = Location()

Version = tuple[tuple[str, int, int, int], ...]
"""The files in use, each with what changes when it is replaced or written."""


class Locations:
    """Where addresses are. `database` is a file, or a folder of which every .mmdb file is asked in the order of names.

    An address gets the first answer: one file may know IPv4 and another IPv6. `now` is a monotonic clock in seconds.
    """

    def __init__(self, database: Path, *, now: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._now = now
        self._readers: list[Any] = []
        self._version: Version | None = None
        self._look_again_at = 0.0
        self._told_absent = False
        self._told_broken = False
        self._of = Remembered(self._look_up, generation=GENERATION)
        self.refresh()

    @property
    def version(self) -> Version | None:
        """Which databases answer now: answers that were remembered under another version are out of date."""
        return self._version

    @property
    def on(self) -> bool:
        """Whether there is a database."""
        return bool(self._readers)

    def refresh(self) -> None:
        """Read the databases again if they have changed; looks at most every `LOOK_EVERY_S`, so call it for each batch."""
        now = self._now()
        if now < self._look_again_at:
            return
        self._look_again_at = now + LOOK_EVERY_S
        version = self._found()
        if version != self._version:
            self._version = version
            self._open(version)

    def of(self, address: str) -> Location:
        """Where `address` is; `UNKNOWN` for one that is private, reserved, not in the database, or none at all."""
        return self._of(address) if self._readers and len(address) <= ADDRESS_MAX else UNKNOWN

    def _found(self) -> Version:
        files = sorted(self._database.glob("*.mmdb")) if self._database.is_dir() else [self._database]
        found = []
        for file in files:
            try:
                stat = file.stat()
            except OSError:
                continue
            found.append((str(file), stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return tuple(found)

    def _open(self, version: Version) -> None:
        readers = []
        for name, *_ in version:
            try:
                readers.append(maxminddb.open_database(name))
            except (OSError, ValueError, maxminddb.InvalidDatabaseError) as exc:
                log.warning("cannot read the city database %s: %s", name, exc)
        if version and not readers:
            return  # What was open goes on answering; the warning is above.
        self._readers = readers
        self._told_broken = False
        self._of.forget()
        if readers:
            log.info("addresses are located by %s", ", ".join(name for name, *_ in version))
            self._told_absent = False
        elif not self._told_absent:
            self._told_absent = True
            log.warning("addresses are not located: there is no city database at %s", self._database)

    def _look_up(self, text: str) -> Location:
        address = _public(text)
        if address is None:
            return UNKNOWN
        try:
            for reader in self._readers:
                # Asked for IPv6, a database of IPv4 alone raises.
                if reader.metadata().ip_version == 6 or address.version == 4:
                    record = reader.get(address)
                    if record:
                        return _location(record)
        except (ValueError, TypeError, AttributeError, maxminddb.InvalidDatabaseError) as exc:
            if not self._told_broken:
                self._told_broken = True
                log.warning("cannot use a record of the city database at %s: %r", self._database, exc)
        return UNKNOWN


def _public(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a text is, also with a port or a list of proxies behind it; None unless it is one of the internet."""
    text = text.partition(",")[0].strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address if address.is_global and not address.is_multicast else None


def _location(record: Any) -> Location:
    """A database record, in MaxMind's shape or in the flat one of ip-location-db's packages."""
    city = geoip2.models.City(_LOCALES, **(_nested(record) if "country_code" in record else record))
    region = city.subdivisions[0].name if city.subdivisions else None
    return Location(
        country=city.country.iso_code or "",
        region=region or "",
        city=city.city.name or "",
        timezone=city.location.time_zone or "",
        latitude=_degrees(city.location.latitude),
        longitude=_degrees(city.location.longitude),
    )


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    """The flat shape (country_code, state1, city, ...) as MaxMind's."""
    return {
        "country": {"iso_code": flat["country_code"]},
        "subdivisions": [{"names": {"en": flat.get("state1")}}],
        "city": {"names": {"en": flat.get("city")}},
        "location": {
            "latitude": flat.get("latitude"),
            "longitude": flat.get("longitude"),
            "time_zone": flat.get("timezone"),
        },
    }


def _degrees(value: float | None) -> float | None:
    return None if value is None else round(float(value), _DIGITS)
