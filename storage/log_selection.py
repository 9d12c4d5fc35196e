"""What a person asks of the logs in, checked, out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from logql.query import LogQuery
from storage.log_filters import FILTERS_MAX, FieldFilter
from storage.record_selection import RecordSelection, refused_field


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSelection(RecordSelection):
    """Which logs: those of the time range that meet every condition given.

    `service`, `level` and `trace_id` are compared exactly. `search` is a substring of the message in any case, taken literally:
    % _ and \\ are ordinary characters. `filters` are of one field each, `query` is a LogQL query that `logql.parsing` read.
    """

    what: ClassVar[str] = "logs"

    service: str | None = None
    level: str | None = None
    search: str | None = None
    trace_id: str | None = None
    filters: tuple[FieldFilter, ...] = ()
    query: LogQuery | None = None

    def __post_init__(self) -> None:
        # Named, because a dataclass with slots is another class than the one that super() finds.
        RecordSelection.__post_init__(self)
        if len(self.filters) > FILTERS_MAX:
            raise refused_field(self.what, "filters", f"there are more than {FILTERS_MAX}")

    def exact(self) -> Mapping[str, str | None]:
        return {"service": self.service, "level": self.level, "trace_id": self.trace_id}

    def texts(self) -> Mapping[str, str | None]:
        return {**self.exact(), "search": self.search}
