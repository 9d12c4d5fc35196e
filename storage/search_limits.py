"""What one question may cost in; ClickHouse's settings for it out, or `TooExpensive` when more is asked than that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Self

from topics.errors import TooExpensive

_DAY_S = 86400
_NS_A_S = 10**9
# What a page decompressed is kept in the server's cache of blocks (uncompressed_cache_size), for the next page and for the same
# question again: three to five times cheaper. By default a query over more than a million rows keeps nothing, counted before it
# is known that a page stops early. What one query alone reads does not drive out what was asked for twice (an SLRU cache).
_CACHED: Mapping[str, Any] = MappingProxyType(
    {
        "use_uncompressed_cache": 1,
        "merge_tree_max_rows_to_use_cache": 1 << 60,
        "merge_tree_max_bytes_to_use_cache": 1 << 60,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchLimits:
    """What one statement may cost; more is `TooExpensive`. 0 is no limit.

    `range_s_max` is of time, from the first instant asked to the last. `bytes_to_read_max` is of columns as they are read,
    decompressed, and is counted while they are read. `rows_to_read_max` is compared by the server beforehand with all rows that
    the indexes leave, so it bounds only a statement that reads all of them: a page stops early, which the server does not know
    then, and would be refused over a large table however cheap it is. What a page really reads, bytes and seconds bound.
    """

    range_s_max: int = 0
    rows_to_read_max: int = 0
    bytes_to_read_max: int = 0
    seconds_max: float = 30.0
    result_bytes_max: int = 64 << 20
    memory_bytes_max: int = 2 << 30

    def settings(self, *, stops_early: bool = False) -> dict[str, Any]:
        """As ClickHouse's settings for one statement; `stops_early` says that it ends when its page is full."""
        return {
            "max_execution_time": self.seconds_max,
            "max_rows_to_read": 0 if stops_early else self.rows_to_read_max,
            "max_bytes_to_read": self.bytes_to_read_max,
            "max_result_bytes": self.result_bytes_max,
            "max_memory_usage": self.memory_bytes_max,
            **(_CACHED if stops_early else {}),
        }

    def after(self, elapsed_s: float) -> Self:
        """For the next statement of a question that has taken so long. Raises `TooExpensive` when no time is left."""
        if not self.seconds_max:
            return self
        if elapsed_s >= self.seconds_max:
            raise TooExpensive(f"max_execution_time = {self.seconds_max:g}", f"a question of {elapsed_s:.1f} s")
        return replace(self, seconds_max=self.seconds_max - elapsed_s)

    def check_range(self, start_ns: int, end_ns: int) -> None:
        """Raise `TooExpensive` for a longer time than may be asked for."""
        if self.range_s_max and end_ns - start_ns > self.range_s_max * _NS_A_S:
            asked_s = (end_ns - start_ns) / _NS_A_S
            raise TooExpensive(f"range = {_shown(self.range_s_max)}", f"a time range of {_shown(asked_s)}")


def _shown(seconds: float) -> str:
    return f"{round(seconds / _DAY_S, 3):,g} days" if seconds >= _DAY_S else f"{seconds:.6g} s"
