"""Records of the past that a monitor would have seen: a definition and a time in, batches of columns in the order of time out.

The stores narrow them down as far as their indexes help; which of them count is the monitor's own code to say. No more than
`RECORDS_MAX` are read, the oldest first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from logql.names import STREAM_LABELS
from logql.parsing import parse_log_query
from monitors.definitions import AnyMonitor, LogMonitor, MetricMonitor, RumMonitor, TraceMonitor
from storage.log_selection import LogSelection
from storage.logs import LogStore
from storage.metric_selection import LabelMatcher
from storage.record_selection import LIMIT_MAX
from storage.record_table import RecordPage
from storage.rum import RumSelection, RumStore
from storage.sample_reader import SampleReader, SampleSelection
from storage.scope import OrgScope
from storage.search_limits import SearchLimits
from storage.spans import SpanStore
from storage.trace_selection import TraceSelection
from topics.arrow_messages import NANOSECONDS
from topics.metric_columns import MetricBatch, Series, encode_series

RECORDS_MAX: Final = 50_000

_LOG_COLUMNS: Final = (
    "service", "level", "message", "host", "environment", "version", "trace_id", "span_id", "attributes",
)  # fmt: skip
_SPAN_COLUMNS: Final = ("service", "operation", "kind", "status", "trace_id")
_RUM_COLUMNS: Final = (
    "type", "name", "page_path", "session_id", "country", "region", "city", "browser", "os", "device_type",
)  # fmt: skip


class Timed(Protocol):
    """A row of a store."""

    @property
    def ts_ns(self) -> int:
        """When it was, nanoseconds since 1970."""
        ...


@dataclass(frozen=True, slots=True)
class PastRecords:
    """Records in the order of time. `complete` says whether they are all; if not, `end_ms` is how far they reach."""

    ts_ms: npt.NDArray[np.int64]
    columns: Any
    """A record batch, or of metrics a `MetricBatch`, of all of them."""
    complete: bool

    @property
    def count(self) -> int:
        """How many."""
        return len(self.ts_ms)

    @property
    def end_ms(self) -> int | None:
        """The time of the last of them, None of none."""
        return int(self.ts_ms[-1]) if self.count else None

    def steps(self, steps_max: int) -> Iterator[tuple[int, Any]]:
        """What falls into each second, as columns, with the time of its last record; seconds without records are left out.

        Where these would be more than `steps_max`, steps are longer.
        """
        numbers = self.ts_ms // 1000
        different = len(np.unique(numbers))
        if different > steps_max:
            numbers = numbers * steps_max // max(different, int(numbers[-1] - numbers[0]))
        begins = np.flatnonzero(np.diff(numbers, prepend=numbers[:1] - 1)).tolist()
        for begin, end in zip(begins, [*begins[1:], self.count][: len(begins)], strict=True):
            yield int(self.ts_ms[end - 1]), _slice(self.columns, begin, end)


def _slice(columns: Any, begin: int, end: int) -> Any:
    if isinstance(columns, MetricBatch):
        used, index = np.unique(columns.index[begin:end], return_inverse=True)
        series = [columns.series[i] for i in used.tolist()]
        return MetricBatch(series, index.astype(np.int32), columns.ts_us[begin:end], columns.value[begin:end])
    return columns.slice(begin, end - begin)


@dataclass(frozen=True, slots=True)
class RecordReader:
    """Where records of the past are."""

    logs: LogStore
    spans: SpanStore
    rum: RumStore
    samples: SampleReader
    records_max: int = field(default=RECORDS_MAX)

    async def read(
        self, scope: OrgScope, definition: AnyMonitor, start_ns: int, end_ns: int, limits: SearchLimits | None
    ) -> PastRecords:
        """The records with `start_ns` <= time < `end_ns` of the organization. Raises `Unavailable` and `TooExpensive`."""
        times: dict[str, Any] = {"start_ns": start_ns, "end_ns": end_ns, "order": "oldest", "limit": LIMIT_MAX}
        asked: dict[str, Any]
        match definition:
            case MetricMonitor():
                return await self._points(scope, definition, start_ns, end_ns)
            case LogMonitor():
                asked = _equalities(definition)
                rows, complete = await self._rows(
                    lambda cursor: self.logs.search(scope, LogSelection(**times, **asked, cursor=cursor), limits)
                )
                numbers = {"record_id": pa.uint64()}
                return _past(rows, complete, _LOG_COLUMNS, numbers)
            case TraceMonitor():
                asked = {"service": definition.service, "operation": definition.operation}
                rows, complete = await self._rows(
                    lambda cursor: self.spans.page(scope, TraceSelection(**times, **asked, cursor=cursor), limits)
                )
                return _past(rows, complete, _SPAN_COLUMNS, {"duration_ns": pa.uint64()})
            case RumMonitor():
                asked = {"type": definition.event, "page_path": definition.page_path}
                rows, complete = await self._rows(
                    lambda cursor: self.rum.search(scope, RumSelection(**times, **asked, cursor=cursor), limits)
                )
                return _past(rows, complete, _RUM_COLUMNS, {"value": pa.float64()})

    async def _rows(self, page: Callable[[str | None], Awaitable[RecordPage[Any]]]) -> tuple[list[Any], bool]:
        rows: list[Any] = []
        cursor: str | None = None
        while len(rows) < self.records_max:
            found = await page(cursor)
            rows += found.rows
            cursor = found.next_cursor
            if cursor is None:
                break
        return rows[: self.records_max], cursor is None and len(rows) <= self.records_max

    async def _points(self, scope: OrgScope, definition: MetricMonitor, start_ns: int, end_ns: int) -> PastRecords:
        labels = {"__name__": definition.metric, **definition.labels}
        matchers = tuple(LabelMatcher(name, "=", value) for name, value in labels.items())
        start_ms, end_ms = -(-start_ns // 1_000_000), (end_ns - 1) // 1_000_000
        found = await self.samples.select(scope, SampleSelection(matchers, start_ms, end_ms))
        index = np.repeat(np.arange(len(found.series.labels), dtype=np.int32), np.diff(found.offsets))
        inside = np.flatnonzero((found.ts_ms >= start_ms) & (found.ts_ms <= end_ms))
        order = inside[np.argsort(found.ts_ms[inside], kind="stable")]
        complete = len(order) <= self.records_max
        order = order[: self.records_max]
        texts = [
            encode_series(Series(definition.metric, {k: v for k, v in each.items() if k != "__name__"}, "", ""))
            for each in found.series.labels
        ]
        ts_ms = found.ts_ms[order]
        return PastRecords(ts_ms, MetricBatch(texts, index[order], ts_ms * 1000, found.values[order]), complete)


def _past(rows: list[Any], complete: bool, texts: tuple[str, ...], others: Mapping[str, pa.DataType]) -> PastRecords:
    ts_ns = np.fromiter((row.ts_ns for row in rows), np.int64, len(rows))
    columns: dict[str, Any] = {"ts": pa.array(ts_ns).view(NANOSECONDS)}
    columns |= {name: pa.array([getattr(row, name) for row in rows], pa.string()) for name in texts}
    columns |= {name: pa.array([getattr(row, name) for row in rows], kind) for name, kind in others.items()}
    return PastRecords(ts_ns // 1_000_000, pa.record_batch(columns), complete)


def _equalities(definition: LogMonitor) -> dict[str, str]:
    """What of a query the store's indexes serve."""
    selector = parse_log_query(definition.query).selector
    named = [(STREAM_LABELS.get(test.label, ""), test) for test in selector]
    return {column: test.value for column, test in named if test.op == "=" and column in ("service", "level")}
