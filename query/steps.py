"""`start`, `end` and `step` of a question about statistics of spans -> whole steps, and what they are read from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from query.time_ranges import read_range
from topics.errors import TooExpensive

Step = Literal["1m", "5m", "1h"]

STEPS_MAX: Final = 1500
"""Steps of one answer: a day of minutes, five days of five minutes, or two months of hours."""

STEP: Final = (
    "`1m` and `5m` are computed from the spans; `1h` is from hourly statistics, which cost the same for any number"
)

_SECOND_NS: Final = 10**9
_STEP_S: Final[dict[Step, int]] = {"1m": 60, "5m": 300, "1h": 3600}
_INT64_MAX: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Steps:
    """Every step that a range touches, in ns since 1970: the begin of the first, the end of the last. `in_all` says that none was
    asked for, and all of them are one sum."""

    start_ns: int
    end_ns: int
    step_ns: int
    source: Literal["spans", "hourly"]
    in_all: bool


def read_steps(start: str, end: str, step: Step | None) -> Steps:
    """The steps of a question; hours, of any number, when it names none. Raises `Refused` with a path, and `TooExpensive`."""
    start_ns, end_ns = read_range(start, end)
    step_ns = _STEP_S[step or "1h"] * _SECOND_NS
    first, behind = start_ns // step_ns, -(-end_ns // step_ns)
    if step is not None and behind - first > STEPS_MAX:
        raise TooExpensive(f"{STEPS_MAX} steps", f"a range of {behind - first} steps of {step}")
    source: Literal["spans", "hourly"] = "spans" if step in ("1m", "5m") else "hourly"
    return Steps(first * step_ns, min(behind * step_ns, _INT64_MAX), step_ns, source, step is None)
