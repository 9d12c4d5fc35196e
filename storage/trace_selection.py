"""What a person asks of the traces in, checked, out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from storage.log_filters import FILTERS_MAX, FieldFilter
from storage.record_selection import RecordSelection, refused_field

_UINT64_MAX = (1 << 64) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSelection(RecordSelection):
    """Which traces: those with a span in the time range that meets every condition given, all by the same span.

    `service`, `operation` and `status` (unset, ok, error) are compared exactly; the durations are of that span in ns, both ends
    included, `filters` of its attributes. Traces are ordered by the newest (or, from the oldest on, the oldest) of such spans.
    """

    what: ClassVar[str] = "traces"

    service: str | None = None
    operation: str | None = None
    status: str | None = None
    duration_min_ns: int | None = None
    duration_max_ns: int | None = None
    filters: tuple[FieldFilter, ...] = ()

    def __post_init__(self) -> None:
        # Not super() without arguments: a dataclass with slots is another class than the one that this body belongs to.
        super(TraceSelection, self).__post_init__()
        for path, ns in (("min_duration", self.duration_min_ns), ("max_duration", self.duration_max_ns)):
            if ns is not None and not 0 <= ns <= _UINT64_MAX:
                raise refused_field(self.what, path, "it is not between 0 and 2^64 ns")
        if len(self.filters) > FILTERS_MAX:
            raise refused_field(self.what, "filters", f"there are more than {FILTERS_MAX}")

    def exact(self) -> Mapping[str, str | None]:
        return {"service": self.service, "operation": self.operation, "status": self.status}
