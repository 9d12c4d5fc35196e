"""Conditions on labels and a time range in; series and their samples as columns out, one COPY a selection, two of a large one.

Samples of whole hours are remembered (storage/selection_memory.py). Each question first asks, in one statement, how many series
the organization has and which version each hour has; the transaction that stores samples raises both. So what is remembered is
never older than what a question at the same moment would read, and nobody else's: a selection belongs to its organization.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import asyncpg
import numpy as np
import numpy.typing as npt

from storage.hour_samples import (
    HOUR_MS,
    SampleColumns,
    by_milliseconds,
    carry_on,
    in_milliseconds,
    join_hours,
    join_series,
    split_hours,
)
from storage.metric_samples import decode_copy, samples_of
from storage.metric_selection import TS_US_MAX, TS_US_MIN, LabelMatcher, as_time
from storage.metrics_retention import SAMPLES_KEPT
from storage.named_queries import load_queries
from storage.postgres import postgres_errors
from storage.sample_answer import SampleAnswer
from storage.scope import OrgScope
from storage.selection_memory import Remembered, SelectedSamples, SelectedSeries, SelectionMemory
from storage.series_reader import SERIES_MAX, find_series
from storage.timescale import Timescale
from topics.errors import TooExpensive

SAMPLES_MAX = 10_000_000
"""Samples that one selection may read: some 100 bytes each while they are sorted."""
CACHE_BYTES = 256 << 20

_HOUR_US = HOUR_MS * 1000
_SQL = load_queries("metrics.sql")
# What retention may remove is not remembered, and a day more.
_REMEMBERED_HOURS = int((SAMPLES_KEPT - timedelta(days=1)).total_seconds()) // 3600
# A shorter range is read as it is, unless its hours are known: whole hours of many series cost more than they may ever save.
_WHOLE_HOURS_FROM_MS = HOUR_MS // 2
# What is fetched as rows rather than copied: some two thousand samples that come every 15 s.
_FETCHED_SERIES_US = 8 * _HOUR_US
_SPLIT_FROM_SERIES = 64
# More samples are put in order beside the event loop.
_DECODED_AT_ONCE = 5000

_Decoded = TypeVar("_Decoded")


@dataclass(frozen=True, slots=True)
class SampleSelection:
    """The samples with `start_ms` <= time <= `end_ms` (unix milliseconds) of the series that meet all matchers.

    `__name__` is the metric's name, a label as any other.
    """

    matchers: tuple[LabelMatcher, ...]
    start_ms: int
    end_ms: int


class SampleReader:
    """Reads samples by selection; one for a process, which is what remembers. `cache_bytes` 0 remembers nothing."""

    def __init__(
        self, timescale: Timescale, *, cache_bytes: int = CACHE_BYTES, clock: Callable[[], float] = time.time
    ) -> None:
        self._timescale = timescale
        self._pool: asyncpg.Pool = timescale.pool
        self._memory = SelectionMemory(cache_bytes)
        self._clock = clock

    async def select(
        self,
        scope: OrgScope,
        selection: SampleSelection,
        *,
        series_max: int = SERIES_MAX,
        samples_max: int = SAMPLES_MAX,
    ) -> SelectedSamples:
        """The samples, and perhaps others of the same hours; series without samples may be among them.

        Of two samples of a series at one time, or within one millisecond, the later counts; NaN keep their bits. Raises `Refused`
        for a pattern that is none, `TooExpensive` past a limit, `Unavailable`.
        """
        hours = self._hours_to_remember(selection)
        versions = await self._versions(scope, hours)
        known = await self._series(scope, selection.matchers, versions.get(None, 0), series_max)
        series = known.series
        if len(series.ids) > series_max:
            raise TooExpensive(f"{series_max} series", f"a selection of {len(series.ids)}")
        if not len(series.ids):
            return SelectedSamples.of(series, _empty())
        if hours:
            missing = [hour for hour in hours if not known.has(hour, versions.get(hour, 0))]
            if missing and selection.end_ms - selection.start_ms >= _WHOLE_HOURS_FROM_MS:
                await self._remember(scope, known, series, missing, versions, samples_max)
            # Looked at again: while this question read, another that began before it may have put older samples there.
            if all(known.has(hour, versions.get(hour, 0)) for hour in hours):
                found = await _join(known, hours)
                self._memory.keep(scope, selection.matchers, known, hours)
                if len(found.ts_ms) <= samples_max:
                    return found
        start_us, end_us = selection.start_ms * 1000, selection.end_ms * 1000 + 1000
        return SelectedSamples.of(series, await self._read(scope, series, start_us, end_us, samples_max))

    async def before_retention(
        self, scope: OrgScope, selection: SampleSelection, found: SelectedSamples, *, carry_ms: int, samples_max: int
    ) -> SelectedSamples | None:
        """What `found` lacks because retention removed it, from the rollups of an hour; None where they have nothing to add.

        They stand in for the time before the oldest sample that is left, with the last sample of each hour at its own time; with
        `carry_ms` it is there again every so many milliseconds for an hour, so that a lookback of as many finds it.
        """
        kept_ms = int(self._clock() * 1000) - int(SAMPLES_KEPT.total_seconds()) * 1000
        if selection.start_ms >= kept_ms or not (await self._timescale.capabilities()).rollups_are_kept:
            return None
        behind_ms = min(kept_ms, selection.end_ms + 1, int(found.ts_ms.min()) if len(found.ts_ms) else kept_ms)
        if behind_ms <= selection.start_ms or not len(found.series.ids):
            return None
        start_us, behind_us = selection.start_ms * 1000, behind_ms * 1000
        sql = _SQL["read_hourly_last"]
        hourly = await self._read(scope, found.series, start_us, behind_us, samples_max, sql=sql)
        if not len(hourly.ts_ms):
            return None
        if carry_ms:
            hourly = carry_on(hourly, carry_ms, HOUR_MS)
        newer = SampleColumns(np.diff(found.offsets), found.ts_ms, found.values)
        return SelectedSamples.of(found.series, join_hours([hourly, newer], len(found.series.ids)))

    async def find(
        self, scope: OrgScope, matchers: tuple[LabelMatcher, ...], *, series_max: int = SERIES_MAX
    ) -> SelectedSeries:
        """The series that meet all matchers, with or without samples. Raises as `select`."""
        versions = await self._versions(scope, range(0))
        series = (await self._series(scope, matchers, versions.get(None, 0), series_max)).series
        if len(series.ids) > series_max:
            raise TooExpensive(f"{series_max} series", f"a selection of {len(series.ids)}")
        return series

    def _hours_to_remember(self, selection: SampleSelection) -> range:
        """The hours that the selection touches, or none where retention may have been."""
        now = int(self._clock()) // 3600
        first = selection.start_ms // HOUR_MS
        if not self._memory.bytes_max or first < now - _REMEMBERED_HOURS:
            return range(0)
        # Nothing is stored that is more than minutes ahead of its arrival.
        return range(first, min(selection.end_ms // HOUR_MS, now + 1) + 1)

    async def _versions(self, scope: OrgScope, hours: range) -> Mapping[int | None, int]:
        """Of the dictionary, under None, and of hours; what is not there is 0."""
        first, last = (hours[0], hours[-1]) if hours else (1, 0)
        with postgres_errors("ask what has changed"):
            rows = await self._pool.fetch(_SQL["get_versions"], scope.org_id, first, last)
        return {row[0]: row[1] for row in rows}

    async def _series(
        self, scope: OrgScope, matchers: tuple[LabelMatcher, ...], version: int, series_max: int
    ) -> Remembered:
        known = self._memory.get(scope, matchers)
        if known is None or known.series_version > version:
            # Fewer than before: this is another dictionary.
            series = await find_series(self._pool, scope, matchers, series_max=series_max)
            known = Remembered(version, series)
        elif known.series_version == version:
            return known
        else:
            series = await find_series(self._pool, scope, matchers, series_max=series_max, known=known.series)
            # Another question may have found more in the meantime.
            if len(series.ids) > len(known.series.ids):
                known.series = series
            known.series_version = max(version, known.series_version)
        self._memory.keep(scope, matchers, known)
        return known

    async def _remember(
        self,
        scope: OrgScope,
        known: Remembered,
        series: SelectedSeries,
        missing: Sequence[int],
        versions: Mapping[int | None, int],
        samples_max: int,
    ) -> None:
        """Read the hours from the first to the last that is missing, unless they are too much to read or to keep."""
        first, behind = missing[0], missing[-1] + 1
        try:
            columns = await self._read(scope, series, first * _HOUR_US, behind * _HOUR_US, samples_max)
        except TooExpensive:
            # Whole hours are; what was asked for may not be.
            return
        if columns.size * 2 > self._memory.bytes_max:
            return
        parts = await asyncio.to_thread(split_hours, columns, first, behind - first)
        for hour, part in zip(range(first, behind), parts, strict=True):
            known.hours[hour] = (versions.get(hour, 0), part)

    async def _read(
        self,
        scope: OrgScope,
        series: SelectedSeries,
        start_us: int,
        end_us: int,
        samples_max: int,
        *,
        sql: str = _SQL["read_samples"],
    ) -> SampleColumns:
        """Samples with `start_us` <= ts < `end_us`; ids of other organizations give none."""
        start, end = (as_time(min(max(us, TS_US_MIN), TS_US_MAX)) for us in (start_us, end_us))
        parts = [series.ids]
        if len(series.ids) >= _SPLIT_FROM_SERIES and end_us - start_us >= _HOUR_US:
            # Two servers' processes, and two threads here, while PostgreSQL's part costs as much as ours.
            parts = [series.ids[: len(series.ids) // 2], series.ids[len(series.ids) // 2 :]]
        # One more tells that there are more.
        times = (start, end, samples_max + 1)
        if len(series.ids) * (end_us - start_us) <= _FETCHED_SERIES_US:
            read = [await self._fetch(sql, series.ids, (scope.org_id, series.ids.tolist(), *times))]
        else:
            read = await asyncio.gather(*(self._copy(sql, ids, (scope.org_id, ids.tolist(), *times)) for ids in parts))
        found = read[0] if len(read) == 1 else join_series(read)
        if len(found.ts_ms) > samples_max:
            raise TooExpensive(f"{samples_max} samples", "a selection of more")
        return found

    async def _fetch(self, sql: str, ids: npt.NDArray[np.int32], values: tuple[object, ...]) -> SampleColumns:
        """Few samples: one round trip, where COPY takes three."""
        with postgres_errors("read samples"):
            rows = await self._pool.fetch(sql, *values)
        return in_milliseconds(samples_of(rows), ids)

    async def _copy(self, sql: str, ids: npt.NDArray[np.int32], values: tuple[object, ...]) -> SampleColumns:
        """Many samples: without their blocks, which are a seventh of the work, and read again with them where those decide."""
        bare = SampleAnswer()
        await self._receive(_without_blocks(sql), values, bare.take)
        columns = await _decoded(bare.rows, lambda: bare.columns(ids))
        if columns is not None:
            return by_milliseconds(*columns)
        whole = bytearray()
        await self._receive(sql, values, whole.extend)
        return await _decoded(bare.rows, lambda: in_milliseconds(decode_copy(whole), ids))

    async def _receive(self, sql: str, values: tuple[object, ...], take: Callable[[bytes], None]) -> None:
        async def collect(part: bytes) -> None:
            take(part)

        with postgres_errors("read samples"):
            async with self._pool.acquire() as connection:
                await connection.copy_from_query(sql, *values, output=collect, format="binary")


def _without_blocks(sql: str) -> str:
    return "\n".join(line for line in sql.splitlines() if not line.endswith(" block,"))


async def _decoded(rows: int, decode: Callable[[], _Decoded]) -> _Decoded:
    return decode() if rows < _DECODED_AT_ONCE else await asyncio.to_thread(decode)


async def _join(known: Remembered, hours: range) -> SelectedSamples:
    """The samples of hours that are all known; the same object as long as they are the same."""
    key = (known.series, *((hour, known.hours[hour][0]) for hour in hours))
    if known.joined is not None and known.joined[0] == key:
        return known.joined[1]
    series, parts = known.series, [known.hours[hour][1] for hour in hours]
    joined = SelectedSamples.of(series, await asyncio.to_thread(join_hours, parts, len(series.ids)))
    known.joined = (key, joined)
    return joined


def _empty() -> SampleColumns:
    return SampleColumns(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float64))
