"""A log's level as anybody writes it -> one scale: trace, debug, info, warn, error, fatal.

Names count in any case, with the short forms of common loggers. Numbers, which senders write as text here, are read in this
order: 10, 20, ... 60 are pino's and bunyan's (trace to fatal); 0 to 7 are syslog's severities (0 emergency to 7 debug); 8 to 24
are OpenTelemetry's severity numbers. Python's own numbers (30 is WARNING there, INFO here) cannot be told from pino's: Python
loggers send names. What is none of these is kept, in lower case.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

SCALE: Final = ("trace", "debug", "info", "warn", "error", "fatal")

_NAMES: Final = {
    "trace": "trace1 trace2 trace3 trace4 trc verbose finest finer silly t v",
    "debug": "debug1 debug2 debug3 debug4 dbg fine d 7 8",
    "info": "info1 info2 info3 info4 inf information informational notice i n 5 6 9 11 12",
    "warn": "warn1 warn2 warn3 warn4 warning wrn w 4 13 14 15 16",
    "error": "error1 error2 error3 error4 err severe e 3 17 18 19",
    "fatal": "fatal1 fatal2 fatal3 fatal4 ftl critical crit emergency emerg alert panic dpanic f c 0 1 2 21 22 23 24",
}
_KNOWN: Final[dict[str, str]] = {
    **{name: level for level, names in _NAMES.items() for name in (level, *names.split())},
    **{str(10 * i): level for i, level in enumerate(SCALE, 1)},
}
_SEEN: Final = dict(_KNOWN) | {name.upper(): level for name, level in _KNOWN.items()}


def normalize_level(level: str) -> str:
    """One level, for a record as for a question about records."""
    found = _SEEN.get(level)
    if found is None:
        text = level.strip().lower()
        found = _KNOWN.get(text, text)
    return found


def normalize_levels(levels: Sequence[str]) -> list[str]:
    """A column of levels; each different one is looked at once."""
    known = {level: normalize_level(level) for level in set(levels)}
    return [known[level] for level in levels]
