"""The series of one block in, as the bytes that the messages carry; their ids in the dictionary out, new ones added.

An organization may have so many series; beyond that a new one is refused, and those that are known go on. The limit is exact,
because who adds series holds the organization's row of `series_counts` until its transaction ends.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from storage.named_queries import load_queries
from storage.timescale import Connection
from topics.errors import Refused
from topics.metric_columns import Series, decode_series

REFUSED = 0
"""The id of a series beyond the limit; identities begin at 1."""

_SQL = load_queries("metrics.sql")
_ENCODER = msgspec.json.Encoder(order="sorted")
# How long a refused series is not asked for again: the limit may have been raised, or another worker may have added it.
_REFUSED_FOR_S = 30.0

SeriesKey = tuple[str, bytes]


class SeriesCache:
    """(organization, bytes of a series) -> id. Holds at most `entries_max`, in two generations: what the older one still has is
    taken over when it is asked for, and the rest goes when the younger one is full."""

    def __init__(self, entries_max: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._young_max = max(1, entries_max // 2)
        self._young: dict[str, dict[bytes, int]] = {}
        self._old: dict[str, dict[bytes, int]] = {}
        self._young_entries = 0
        self._refused: set[SeriesKey] = set()
        self._refused_until = 0.0
        self._clock = clock

    def ids(self, org_id: str, series: Sequence[bytes]) -> list[int | None]:
        """One id a series, REFUSED for what was refused lately, None for what is not known."""
        found: list[int | None] = list(map(self._young.get(org_id, {}).get, series))
        if None in found:
            found = [self._id(org_id, text) if id_ is None else id_ for text, id_ in zip(series, found, strict=True)]
        return found

    def _id(self, org_id: str, text: bytes) -> int | None:
        id_ = self._old.get(org_id, {}).get(text)
        if id_ is not None:
            self._add(org_id, text, id_)
        elif self._refused and (org_id, text) in self._refused:
            if self._clock() < self._refused_until:
                return REFUSED
            self._refused.clear()
        return id_

    def remember(self, ids: dict[SeriesKey, int]) -> None:
        """What a committed transaction found out."""
        for (org_id, text), id_ in ids.items():
            if id_ != REFUSED:
                self._add(org_id, text, id_)
            elif len(self._refused) < self._young_max:
                if not self._refused:
                    self._refused_until = self._clock() + _REFUSED_FOR_S
                self._refused.add((org_id, text))

    def _add(self, org_id: str, text: bytes, id_: int) -> None:
        if self._young_entries >= self._young_max:
            self._old, self._young, self._young_entries = self._young, {}, 0
        self._young.setdefault(org_id, {})[text] = id_
        self._young_entries += 1


@dataclass(slots=True)
class Resolved:
    """What the dictionary said about series that the cache did not know. To be remembered once the transaction is through."""

    ids: dict[SeriesKey, int] = field(default_factory=dict)
    added: int = 0


async def resolve_series(connection: Connection, unknown: dict[str, set[bytes]], series_max: int) -> Resolved:
    """Look up and add series within the connection's transaction. Organizations are locked in order of their ids, so that two
    transactions wait for each other and never both.

    Raises `Refused` for bytes that are no series, and for text that PostgreSQL cannot keep.
    """
    resolved = Resolved()
    for org_id in sorted(unknown):
        series = {text: _checked(text) for text in unknown[org_id]}
        identities = {text: _identity(known) for text, known in series.items()}
        wanted = sorted(set(identities.values()))
        found = await _find(connection, org_id, wanted)
        if len(found) < len(wanted):
            added = await _add_series(connection, org_id, series, identities, found, series_max)
            resolved.added += added
        for text, identity in identities.items():
            resolved.ids[org_id, text] = found.get(identity, REFUSED)
        metrics = {
            known.name: (known.type, known.unit)
            for text, known in series.items()
            if identities[text] in found and (known.type or known.unit)
        }
        if metrics:
            types, units = zip(*metrics.values(), strict=True)
            await connection.execute(_SQL["describe_metrics"], org_id, list(metrics), list(types), list(units))
    return resolved


async def _add_series(
    connection: Connection,
    org_id: str,
    series: dict[bytes, Series],
    identities: dict[bytes, bytes],
    found: dict[bytes, int],
    series_max: int,
) -> int:
    """Add to the dictionary, and to `found`, what is missing and within the limit; returns how many."""
    await connection.execute(_SQL["add_count"], org_id)
    count = await connection.fetchval(_SQL["lock_count"], org_id)
    missing = [identity for identity in set(identities.values()) if identity not in found]
    # Somebody else may have added some while this one waited.
    found |= await _find(connection, org_id, missing)
    new = {identities[text]: known for text, known in series.items() if identities[text] not in found}
    # In order of name, so that the series of a metric are neighbours, in the index and in every block.
    rows = sorted((known.name, _labels(known), identity) for identity, known in new.items())
    rows = rows[: max(0, series_max - count)]
    if not rows:
        return 0
    names, labels, chosen = zip(*rows, strict=True)
    answer = await connection.fetch(_SQL["add_series"], org_id, list(names), list(labels), list(chosen))
    found |= {row["identity"]: row["id"] for row in answer}
    await connection.execute(_SQL["raise_count"], org_id, len(rows))
    return len(rows)


async def _find(connection: Connection, org_id: str, identities: list[bytes]) -> dict[bytes, int]:
    rows = await connection.fetch(_SQL["find_identities"], org_id, identities)
    return {row["identity"]: row["id"] for row in rows}


def _checked(text: bytes) -> Series:
    if b"\\u0000" in text:
        raise Refused(
            "cannot store a series: PostgreSQL keeps no text with the character U+0000", code="invalid_series"
        )
    series = decode_series(text)
    if not 1 <= len(series.name.encode()) <= 1024:
        raise Refused("cannot store a series: its name is not 1 to 1024 bytes", code="invalid_series")
    return series


def _identity(series: Series) -> bytes:
    """What makes a series one: its name and labels, not what is said about the metric."""
    return hashlib.sha256(_ENCODER.encode((series.name, series.labels))).digest()


def _labels(series: Series) -> str:
    return _ENCODER.encode(series.labels).decode()
