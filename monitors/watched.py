"""A definition -> what the engine needs to know of it: how wide its panes are, when it decides, what else its windows hold."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from monitors.definitions import COUNTING, QUANTILES, AnyMonitor

PANES_MAX: Final = 60
QUANTILE_PANES_MAX: Final = 20
"""A quantile's panes are larger, and a decision looks at all buckets of all panes."""

PANE_MS_MIN: Final = 1_000

_GROWING: Final = frozenset({"count", "sum", "max", "rate", "increase", "request_rate", "error_count"})
"""What can only grow while the window reaches further (a sum: of values that are not negative)."""

_ON_ARRIVAL: Final = frozenset({"count", "sum", "max", "error_count"})
_DECIDES_ONLY: Final = frozenset(
    {
        "name", "enabled", "message", "tags", "channels", "comparison", "critical", "warning", "critical_recovery",
        "warning_recovery", "for_s", "keep_firing_for_s", "new_group_delay_s", "require_full_window", "no_data",
        "no_data_timeframe_s", "auto_resolve_s", "renotify_s", "renotify_statuses", "renotify_max", "groups_max",
    }
)  # fmt: skip
"""Fields that change no window: after an edit of these, windows and states go on."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class WatchedMonitor:
    """One monitor as the engine sees it: the same object as long as it is not changed. Equal shapes have equal windows."""

    id: str
    org_id: str
    version: int
    definition: AnyMonitor
    aggregation: str = field(init=False)
    pane_ms: int = field(init=False)
    panes: int = field(init=False)
    """Panes of one window; together they are as long as it, to the millisecond."""
    slots: int = field(init=False)
    """How many panes are kept: what any decision may look at, and the one that is open."""
    shape: int = field(init=False)
    quantile: float | None = field(init=False)
    counting: bool = field(init=False)
    on_arrival: bool = field(init=False)
    grows: int = field(init=False)
    """What the value does when the window reaches further: 1 grows, -1 falls, 0 either."""

    def __post_init__(self) -> None:
        definition = self.definition
        put = object.__setattr__
        aggregation: str = definition.aggregation
        put(self, "aggregation", aggregation)
        put(self, "quantile", QUANTILES.get(aggregation))
        most = QUANTILE_PANES_MAX if self.quantile is not None else PANES_MAX
        put(self, "panes", _panes(definition.window_s * 1000, most))
        put(self, "pane_ms", definition.window_s * 1000 // self.panes)
        delay = -(-definition.evaluation_delay_s * 1000 // self.pane_ms)
        put(self, "slots", self.panes * (2 if definition.change else 1) + delay + 2)
        put(self, "shape", _shape(definition))
        put(self, "counting", aggregation in COUNTING)
        plain = not definition.change and not definition.evaluation_delay_s
        put(self, "on_arrival", plain and definition.above and aggregation in _ON_ARRIVAL)
        put(
            self,
            "grows",
            0 if definition.change else 1 if aggregation in _GROWING else -1 if aggregation == "min" else 0,
        )

    @property
    def window_ms(self) -> int:
        """How long the window is."""
        return self.definition.window_s * 1000

    @property
    def grouped(self) -> bool:
        """Whether its groups are those of the data; otherwise it has one, from the beginning."""
        return bool(self.definition.group_by)

    @property
    def speaks_unasked(self) -> bool:
        """Whether it may have something to say before any data have come."""
        silent = self.counting and (not self.definition.above or self.aggregation == "absent")
        return not self.grouped and (silent or self.definition.no_data == "notify")

    @property
    def needs_full_window(self) -> bool:
        """Whether a window that was not watched from its beginning says nothing: a count in it may just be too low."""
        return self.definition.require_full_window or (
            self.counting and (not self.definition.above or self.aggregation == "absent")
        )

    def pane_of(self, ts_ms: int) -> int:
        """The beginning of the pane that a time falls into."""
        return ts_ms - ts_ms % self.pane_ms


def _panes(window_ms: int, most: int) -> int:
    """The most panes of whole milliseconds, each a second at least, that make up the window."""
    return next(n for n in range(most, 0, -1) if window_ms % n == 0 and window_ms // n >= PANE_MS_MIN)


def _shape(definition: AnyMonitor) -> int:
    """A number that is the same for definitions that need the same windows."""
    fields: dict[str, Any] = definition.model_dump(exclude=set(_DECIDES_ONLY))
    text = msgspec.json.encode(fields, order="deterministic")
    return int.from_bytes(hashlib.blake2b(text, digest_size=6).digest())
