"""Batches of metric points in; samples in TimescaleDB out, each once: the offset that they came from moves with them.

A block is one transaction: the partition's offset, series that are new, the samples by binary COPY, the versions of the hours
that they lie in. So a block is stored whole or not at all, and one that was stored already is told by its offset. Reading is in
storage/metric_reader.py and storage/sample_reader.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import numpy as np

from storage.metric_reader import MetricReader
from storage.metric_samples import COLUMNS, Samples, encode_copy, in_order
from storage.metric_selection import TS_US_MAX, TS_US_MIN
from storage.metrics_retention import SAMPLES_KEPT
from storage.named_queries import load_queries
from storage.postgres import postgres_errors
from storage.scope import OrgScope
from storage.series import REFUSED, Resolved, SeriesCache, resolve_series
from storage.timescale import Connection, Timescale
from topics.errors import AegisError, Refused
from topics.metric_columns import MetricBatch

_SQL = load_queries("metrics.sql")
_DOING = "store metrics"
# Compressed as they come, samples of one series need company: below this a block would compress into many small pieces.
_COMPRESSED_FROM_SAMPLES_A_SERIES = 20
_CACHED_SERIES_MAX = 1_000_000
_HOUR_US = 3_600_000_000
_KEPT_HOURS = int(SAMPLES_KEPT.total_seconds()) // 3600


@dataclass(frozen=True, slots=True)
class SourceRange:
    """Where a block comes from: the offsets of its messages, both ends included, within one incarnation of the transport."""

    incarnation: str
    topic: str
    partition: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class MetricsStored:
    """Points of a block: stored, and refused because their series are beyond the organization's limit; series that are new."""

    points: int
    refused_points: int
    new_series: int


class AlreadyStored(AegisError):
    """The range begins below `next_offset`: drop the messages before it and store the rest."""

    def __init__(self, next_offset: int) -> None:
        super().__init__(f"cannot store metrics: what lies before offset {next_offset} is stored already")
        self.next_offset = next_offset


class MetricStore(MetricReader):
    """Metrics in TimescaleDB, or in plain PostgreSQL. One for a process: it remembers the ids of series."""

    def __init__(
        self,
        timescale: Timescale,
        *,
        series_max: int,
        cached_series_max: int = _CACHED_SERIES_MAX,
        abandoned_after_s: float = 60.0,
    ) -> None:
        """`abandoned_after_s`: how long a transaction of a writer that is gone may keep its successor waiting."""
        super().__init__(timescale)
        self._abandoned_after = f"{abandoned_after_s * 1000:.0f}ms"
        self._series_max = series_max
        self._cache = SeriesCache(cached_series_max)
        self._hours_kept = 0

    async def stored_through(self, incarnation: str, topic: str, partition: int) -> int:
        """The next offset that is not stored yet; 0 when nothing is. Raises `Unavailable`."""
        with postgres_errors("read how far metrics are stored"):
            found = await self._pool.fetchval(_SQL["get_next_offset"], incarnation, topic, partition)
        return 0 if found is None else int(found)

    async def insert(self, batches: Sequence[tuple[OrgScope, MetricBatch]], source: SourceRange) -> MetricsStored:
        """Store all points and move the offset to `source.last + 1`, or do neither.

        Of two points of one series and time the one stored later counts, within a block the later one. Raises `AlreadyStored`
        when the range begins below what is stored; `Refused` for a block that can never be stored; `Unavailable` when the server
        is away, or did not say whether it took the block: then `stored_through` tells.
        """
        compresses = (await self._timescale.capabilities()).compresses_copies
        with postgres_errors(_DOING):
            async with self._pool.acquire() as connection, connection.transaction():
                block = await _advance(connection, source, self._abandoned_after)
                ids = [self._cache.ids(scope.org_id, batch.series) for scope, batch in batches]
                resolved = await self._resolve(connection, batches, ids)
                samples, refused = _block(batches, ids)
                if len(samples.value):
                    await _copy(connection, samples, block, compressed=compresses and _is_dense(samples))
                    await self._raise_hours(connection, batches, source.partition, block)
        self._cache.remember(resolved.ids)
        points = sum(batch.points for _, batch in batches)
        return MetricsStored(points - refused, refused, resolved.added)

    async def _raise_hours(
        self, connection: Connection, batches: Sequence[tuple[OrgScope, MetricBatch]], partition: int, block: int
    ) -> None:
        """Who remembers samples of these hours must read them again. Hours beyond the retention nobody remembers."""
        kept = int(self._clock()) // 3600 - _KEPT_HOURS
        written = sorted({(scope.org_id, hour) for scope, batch in batches for hour in _hours(batch) if hour >= kept})
        if written:
            organizations, hours = zip(*written, strict=True)
            await connection.execute(_SQL["raise_hours"], list(organizations), list(hours), partition, block)
        if kept != self._hours_kept:
            await connection.execute(_SQL["forget_hours"], kept)
            self._hours_kept = kept

    async def _resolve(
        self,
        connection: Connection,
        batches: Sequence[tuple[OrgScope, MetricBatch]],
        ids: list[list[int | None]],
    ) -> Resolved:
        """Ask the dictionary for what the cache did not know, and fill it in."""
        unknown: dict[str, set[bytes]] = {}
        for (scope, batch), known in zip(batches, ids, strict=True):
            if None in known:
                missing = {text for text, id_ in zip(batch.series, known, strict=True) if id_ is None}
                unknown.setdefault(scope.org_id, set()).update(missing)
        if not unknown:
            return Resolved()
        resolved = await resolve_series(connection, unknown, self._series_max)
        for (scope, batch), known in zip(batches, ids, strict=True):
            if None in known:
                known[:] = [
                    resolved.ids[scope.org_id, text] if id_ is None else id_
                    for text, id_ in zip(batch.series, known, strict=True)
                ]
        return resolved


def _hours(batch: MetricBatch) -> list[int]:
    """The hours that the points of a batch lie in, counted from 1970."""
    if not batch.points:
        return []
    first, last = int(batch.ts_us.min()) // _HOUR_US, int(batch.ts_us.max()) // _HOUR_US
    return [first] if first == last else np.unique(batch.ts_us // _HOUR_US).tolist()


def _block(batches: Sequence[tuple[OrgScope, MetricBatch]], ids: list[list[int | None]]) -> tuple[Samples, int]:
    """The points of all batches in order, and how many were left out."""
    if not batches:
        return Samples(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float64)), 0
    series_id = np.concatenate(
        [np.array(known, np.int32)[batch.index] for (_, batch), known in zip(batches, ids, strict=True)]
    )
    ts_us = np.concatenate([batch.ts_us for _, batch in batches])
    value = np.concatenate([batch.value for _, batch in batches])
    if len(ts_us) and not TS_US_MIN <= ts_us.min() <= ts_us.max() <= TS_US_MAX:
        raise Refused("cannot store metrics: a time is outside the years 1 to 9999", code="invalid_field", path="ts")
    accepted = series_id != REFUSED
    refused = len(series_id) - int(np.count_nonzero(accepted))
    if refused:
        series_id, ts_us, value = series_id[accepted], ts_us[accepted], value[accepted]
    return in_order(Samples(series_id, ts_us, value)), refused


async def _advance(connection: Connection, source: SourceRange, abandoned_after: str) -> int:
    """Move the offset; returns the block's number. The row stays locked, so that a stale owner waits here and is refused."""
    place = (source.incarnation, source.topic, source.partition)
    values = (*place, source.first, source.last + 1, abandoned_after)
    block = await connection.fetchval(_SQL["advance_offset"], *values)
    if block is None:
        raise AlreadyStored(await connection.fetchval(_SQL["get_next_offset"], *place))
    return int(block)


async def _copy(connection: Connection, samples: Samples, block: int, *, compressed: bool) -> None:
    if compressed:
        await connection.execute(_SQL["compress_copy"])
    rows = encode_copy(samples, block)

    async def source() -> AsyncIterator[bytes]:
        yield rows

    await connection.copy_to_table("metrics", columns=COLUMNS, source=source(), format="binary")


def _is_dense(samples: Samples) -> bool:
    series = 1 + int(np.count_nonzero(np.diff(samples.series_id)))
    return len(samples.value) >= _COMPRESSED_FROM_SAMPLES_A_SERIES * series
