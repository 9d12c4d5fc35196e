"""Questions about one organization's metrics in; buckets, series and samples out. SQL stands in queries/metrics.sql.

Steps of whole hours, 5 minutes or minutes are answered from the rollups where TimescaleDB keeps them, other steps, and times
beyond a rollup's retention, from the samples. Both give the same: NaN and stale markers count nowhere, and of two samples of a
series at one time the one written later counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

import asyncpg

from storage.metric_samples import Samples, copy_bytes, decode_copy
from storage.metric_selection import (
    Aggregation,
    BucketRange,
    LabelMatcher,
    MetricSelection,
    as_time,
    as_us,
    check_range,
)
from storage.named_queries import load_queries
from storage.postgres import postgres_errors
from storage.scope import OrgScope
from storage.series_reader import find_series
from storage.series_selection import NAME
from storage.timescale import Timescale
from topics.errors import Refused, TooExpensive

SAMPLES_MAX = 5_000_000
"""Samples that one call of `read_samples` gives: they take some 60 bytes each while they are sorted."""

LABELS_MAX = 100_000
"""Names of labels, or values of one, that one answer lists."""

_SQL = load_queries("metrics.sql")
_MINUTE_US = 60_000_000
_DAY_US = 24 * 60 * _MINUTE_US
# Of a counter, before the first bucket: how far back the sample is looked for that the first rise is counted from.
_LOOK_BACK_US = 5 * _MINUTE_US
# The newest sample is looked for in ever longer spans, so that series that report often cost little.
_LATEST_SPANS_US = (5 * _MINUTE_US, 60 * _MINUTE_US, _DAY_US, 30 * _DAY_US)


@dataclass(frozen=True, slots=True)
class Rollup:
    """One continuous aggregate: its statements, and for how long it is kept."""

    step_us: int
    kept_us: int
    aggregate: str
    increase: str


def _rollup(name: str, minutes: int, kept_days: int) -> Rollup:
    aggregate, increase = (_SQL[key].replace("metrics_1m", name) for key in ("aggregate_rollup", "increase_rollup"))
    return Rollup(minutes * _MINUTE_US, kept_days * _DAY_US, aggregate, increase)


# The longest step first.
_ROLLUPS = (_rollup("metrics_1h", 60, 365), _rollup("metrics_5m", 5, 30), _rollup("metrics_1m", 1, 7))


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """The value of the bucket that begins at `ts_us` (unix microseconds)."""

    ts_us: int
    value: float


@dataclass(frozen=True, slots=True)
class KnownSeries:
    """A series of a metric; `id` is what `read_samples` takes."""

    id: int
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LatestSample:
    """The newest sample of a series."""

    labels: Mapping[str, str]
    ts_us: int
    value: float


@dataclass(frozen=True, slots=True)
class KnownMetric:
    """A metric's name, what its senders say of it ("" for nothing), and how many series it has."""

    name: str
    type: str
    unit: str
    series: int


class MetricReader:
    """Reads metrics; safe to share. Each call raises `Unavailable` while the server is away."""

    def __init__(self, timescale: Timescale, *, clock: Callable[[], float] = time.time) -> None:
        self._timescale = timescale
        self._pool: asyncpg.Pool = timescale.pool
        self._clock = clock

    async def ping(self) -> None:
        """Return when the server answers and the migrations have run; raise `Unavailable` otherwise."""
        with postgres_errors("reach TimescaleDB"):
            await self._pool.fetch(_SQL["get_capabilities"])

    async def query(
        self, scope: OrgScope, selection: MetricSelection, *, step_us: int, aggregation: Aggregation
    ) -> list[MetricPoint]:
        """All samples of all selected series, aggregated by bucket; a bucket without samples has no point.

        Buckets are whole: the start is moved down and the end up to a multiple of the step. Raises `Refused`, and `TooExpensive`
        for too many buckets or series.
        """
        if aggregation not in ("avg", "sum", "min", "max", "count"):
            raise Refused(
                f"cannot query metrics: aggregation: {aggregation!r} is none of avg, sum, min, max, count",
                code="invalid_field",
                path="aggregation",
            )
        buckets = BucketRange.of(selection, step_us)
        ids = await self._ids(scope, selection)
        rollup = await self._rollup_for(buckets)
        values = (scope.org_id, ids, as_time(buckets.start_us), as_time(buckets.end_us), _interval(step_us))
        rows = await self._fetch(_SQL["aggregate_samples"] if rollup is None else rollup.aggregate, *values)
        if aggregation == "avg":
            return [MetricPoint(as_us(row["bucket"]), row["sum"] / row["count"]) for row in rows]
        return [MetricPoint(as_us(row["bucket"]), float(row[aggregation])) for row in rows]

    async def increase(self, scope: OrgScope, selection: MetricSelection, *, step_us: int) -> list[MetricPoint]:
        """What the selected counters rose by, together, in each bucket. Exact, not extrapolated: a rise counts where it ends.

        A fall is a reset, after which the counter rose from 0. The first rise is counted from the last sample within one step, or
        5 minutes if that is more, before the start. Buckets and errors as `query`.
        """
        buckets = BucketRange.of(selection, step_us)
        ids = await self._ids(scope, selection)
        look_back_us = max(step_us, _LOOK_BACK_US)
        rollup = await self._rollup_for(buckets, look_back_us)
        since = as_time(buckets.start_us - look_back_us)
        values = (scope.org_id, ids, as_time(buckets.start_us), as_time(buckets.end_us), _interval(step_us), since)
        rows = await self._fetch(_SQL["increase_samples"] if rollup is None else rollup.increase, *values)
        return [MetricPoint(as_us(row["bucket"]), row["increase"]) for row in rows]

    async def rate(self, scope: OrgScope, selection: MetricSelection, *, step_us: int) -> list[MetricPoint]:
        """`increase` a second."""
        points = await self.increase(scope, selection, step_us=step_us)
        return [MetricPoint(point.ts_us, point.value / (step_us / 1e6)) for point in points]

    async def latest(
        self, scope: OrgScope, metric: str, labels: tuple[LabelMatcher, ...] = (), *, at_us: int | None = None
    ) -> list[LatestSample]:
        """The newest sample, not after `at_us` (now), of each series that has one within 30 days and did not end with NaN."""
        at_us = int(self._clock() * 1e6) if at_us is None else at_us
        end = at_us + 1
        series = {
            known.id: known for known in await self.find_series(scope, MetricSelection(metric, at_us, end, labels))
        }
        missing, found = set(series), []
        for span_us in _LATEST_SPANS_US:
            if not missing:
                break
            values = (scope.org_id, sorted(missing), as_time(end - span_us), as_time(end))
            for row in await self._fetch(_SQL["read_latest"], *values):
                missing.discard(row["series_id"])
                if row["value"] == row["value"]:
                    labels_of = series[row["series_id"]].labels
                    found.append((row["series_id"], LatestSample(labels_of, as_us(row["ts"]), row["value"])))
        return [sample for _, sample in sorted(found, key=lambda pair: pair[0])]

    async def catalog(
        self, scope: OrgScope, *, after: str = "", prefix: str = "", limit: int = 1000
    ) -> list[KnownMetric]:
        """The organization's metrics in order of name, those behind the name `after` that begin with `prefix`."""
        rows = await self._fetch(_SQL["list_metrics"], scope.org_id, after, limit, prefix)
        return [KnownMetric(row["name"], row["type"], row["unit"], row["series"]) for row in rows]

    async def metadata(self, scope: OrgScope, metric: str | None = None, limit: int | None = None) -> list[KnownMetric]:
        """What senders say of a metric, or of all of whom they say something, in order of name; series are not counted."""
        rows = await self._fetch(_SQL["describe_known_metrics"], scope.org_id, metric, limit)
        return [KnownMetric(row["name"], row["type"], row["unit"], row["series"]) for row in rows]

    async def label_names(self, scope: OrgScope, span_us: tuple[int, int] | None = None) -> list[str]:
        """The names of all labels, sorted, the metric's name `__name__` among them. Raises `TooExpensive` past LABELS_MAX.

        With `span_us`, of the series alone that have a sample with span_us[0] <= ts < span_us[1].
        """
        rows = await self._fetch(_SQL["list_label_names"], scope.org_id, LABELS_MAX + 1, *_times(span_us))
        if len(rows) > LABELS_MAX:
            raise TooExpensive(f"{LABELS_MAX} names of labels", "an organization with more")
        return sorted(row[0] for row in rows)

    async def label_values(self, scope: OrgScope, label: str, span_us: tuple[int, int] | None = None) -> list[str]:
        """All values of a label, sorted, or those of series with a sample in a time. Raises as `label_names`."""
        rows = await self._fetch(_SQL["list_label_values"], scope.org_id, label, LABELS_MAX + 1, *_times(span_us))
        if len(rows) > LABELS_MAX:
            raise TooExpensive(f"{LABELS_MAX} values", "a label of more")
        return sorted(row[0] for row in rows)

    async def active_of(self, scope: OrgScope, series_ids: Sequence[int], start_us: int, end_us: int) -> set[int]:
        """Which of the series have a sample with `start_us` <= ts < `end_us`."""
        check_range(start_us, end_us)
        rows = await self._fetch(
            _SQL["find_active_of"], scope.org_id, list(series_ids), as_time(start_us), as_time(end_us)
        )
        return {row[0] for row in rows}

    async def active_series(self, scope: OrgScope, start_us: int, end_us: int) -> int:
        """How many series have a sample with `start_us` <= ts < `end_us`."""
        check_range(start_us, end_us)
        rows = await self._fetch(_SQL["count_active_series"], scope.org_id, as_time(start_us), as_time(end_us))
        return int(rows[0][0])

    async def find_series(self, scope: OrgScope, selection: MetricSelection) -> list[KnownSeries]:
        """The series of a metric that meet the matchers, by id, whether or not they have samples in the range.

        Raises `Refused` for a pattern that is none, `TooExpensive` for more than SERIES_MAX.
        """
        matchers = (LabelMatcher(NAME, "=", selection.metric), *selection.labels)
        found = await find_series(self._pool, scope, matchers)
        return [
            KnownSeries(int(id_), MappingProxyType({name: text for name, text in labels.items() if name != NAME}))
            for id_, labels in zip(found.ids, found.labels, strict=True)
        ]

    async def read_samples(
        self,
        scope: OrgScope,
        series_ids: Sequence[int],
        start_us: int,
        end_us: int,
        *,
        samples_max: int = SAMPLES_MAX,
    ) -> Samples:
        """Samples with `start_us` <= ts < `end_us`, by series and time, as columns; ids of other organizations give none.

        NaN and stale markers are among them, bit by bit. Raises `TooExpensive` for more than `samples_max`, of which two at one
        time count as two.
        """
        check_range(start_us, end_us)
        answer = bytearray()

        async def collect(part: bytes) -> None:
            answer.extend(part)

        # One more tells that there are more.
        values = (scope.org_id, list(series_ids), as_time(start_us), as_time(end_us), samples_max + 1)
        with postgres_errors("read samples"):
            async with self._pool.acquire() as connection:
                await connection.copy_from_query(_SQL["read_samples"], *values, output=collect, format="binary")
        if len(answer) > copy_bytes(samples_max):
            raise TooExpensive(f"{samples_max} samples", "a selection of more")
        return decode_copy(answer)

    async def _ids(self, scope: OrgScope, selection: MetricSelection) -> list[int]:
        return [series.id for series in await self.find_series(scope, selection)]

    async def _rollup_for(self, buckets: BucketRange, look_back_us: int = 0) -> Rollup | None:
        """The coarsest rollup that the step is made of and that still has the range; None for the samples themselves."""
        if not (await self._timescale.capabilities()).rollups_are_kept:
            return None
        age_us = int(self._clock() * 1e6) - buckets.start_us + look_back_us
        for rollup in _ROLLUPS:
            fits = buckets.step_us % rollup.step_us == 0 and look_back_us % rollup.step_us == 0
            # What is older than everything that is kept may be in the coarsest still: chunks go whole.
            if fits and (age_us < rollup.kept_us or rollup is _ROLLUPS[0]):
                return rollup
        return None

    async def _fetch(self, sql: str, *values: object) -> list[asyncpg.Record]:
        with postgres_errors("query metrics"):
            return await self._pool.fetch(sql, *values)


def _interval(us: int) -> timedelta:
    return timedelta(microseconds=us)


def _times(span_us: tuple[int, int] | None) -> tuple[datetime | None, datetime | None]:
    if span_us is None:
        return None, None
    check_range(*span_us)
    return as_time(span_us[0]), as_time(span_us[1])
