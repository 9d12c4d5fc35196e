"""Texts as numbers, durations and sizes; exactly what storage/queries/log_labels.sql reads them as.

Numbers are written as in JSON. Durations are Go's (`1h2m3.5s`), in whole nanoseconds; sizes those of Loki (`5MB` is 5,000,000,
`5MiB` 5,242,880), in whole bytes; fractions of either are cut off. Up to 15 digits stand before and behind a point; one part of a
duration is at most 10^17 ns (some 1,157 days), a size 4 * 10^18 bytes.
"""

from __future__ import annotations

import math
import re
from typing import Final

NUMBER: Final = r"^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$"
DURATION_PART: Final = r"([0-9]{1,15})(?:\.([0-9]{1,15}))?(ns|us|µs|μs|ms|s|m|h)"
DURATION: Final = r"^-?(?:[0-9]{1,15}(?:\.[0-9]{1,15})?(?:ns|us|µs|μs|ms|s|m|h))+$"
DURATION_CHARACTERS_MAX: Final = 100
DURATION_PART_MAX: Final = 10**17
BYTES: Final = r"^([0-9]{1,15})(?:\.([0-9]{1,15}))? ?([A-Za-z]{0,3})$"
BYTES_MAX: Final = 4 * 10**18

DURATION_UNITS: Final[dict[str, int]] = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
BYTE_UNITS: Final[dict[str, int]] = {"": 1, "b": 1} | {
    f"{prefix}{ending}": base**power
    for power, prefix in enumerate("kmgtpe", 1)
    for base, endings in ((1000, ("", "b")), (1024, ("i", "ib")))
    for ending in endings
}
"""Lower case -> bytes."""

_NUMBER: Final = re.compile(NUMBER.replace("$", r"\Z"))
_DURATION_PART: Final = re.compile(DURATION_PART)
_DURATION: Final = re.compile(DURATION.replace("$", r"\Z"))
_BYTES: Final = re.compile(BYTES.replace("$", r"\Z"))


def read_number(text: str) -> float | None:
    """A number as JSON writes it, as the nearest double; None for other texts and for what is past a double."""
    if _NUMBER.match(text) is None:
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def read_duration(text: str) -> int | None:
    """Nanoseconds; None for other texts."""
    if len(text) > DURATION_CHARACTERS_MAX or len(text.encode()) > DURATION_CHARACTERS_MAX or not _DURATION.match(text):
        return None
    ns = 0
    for part in _DURATION_PART.finditer(text):
        unit = DURATION_UNITS[part[3]]
        if int(part[1]) > DURATION_PART_MAX // unit:
            return None
        ns += _scaled(part[1], part[2], unit)
    return -ns if text[0] == "-" else ns


def read_bytes(text: str) -> int | None:
    """Bytes; None for other texts."""
    found = _BYTES.match(text)
    unit = BYTE_UNITS.get(found[3].lower()) if found else None
    if found is None or unit is None or int(found[1]) > BYTES_MAX // unit:
        return None
    return _scaled(found[1], found[2], unit)


def _scaled(whole: str, fraction: str | None, unit: int) -> int:
    return int(whole) * unit + (math.floor(float(fraction) * float(unit) / 10.0 ** len(fraction)) if fraction else 0)
