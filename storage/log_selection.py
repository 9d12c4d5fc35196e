"""What a person asks of the logs in, checked, out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from storage.record_selection import RecordSelection


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSelection(RecordSelection):
    """Which logs: those of the time range that meet every condition given.

    `service`, `level` and `trace_id` are compared exactly. `search` is a substring of the message in any case, taken literally:
    % _ and \\ are ordinary characters.
    """

    what: ClassVar[str] = "logs"

    service: str | None = None
    level: str | None = None
    search: str | None = None
    trace_id: str | None = None

    def exact(self) -> Mapping[str, str | None]:
        return {"service": self.service, "level": self.level, "trace_id": self.trace_id}

    def texts(self) -> Mapping[str, str | None]:
        return {**self.exact(), "search": self.search}
