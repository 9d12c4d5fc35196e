"""The store of metrics as the PromQL engine asks it, for one organization: selections in, blocks of series and samples out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np

from query.promql.labels import LabelTable
from query.promql.source import Matcher, Selection, SeriesBlock
from query.promql.steps import Limits
from storage.metric_selection import LabelMatcher
from storage.sample_reader import SampleReader, SampleSelection
from storage.scope import OrgScope
from storage.search_limits import SearchLimits
from storage.selection_memory import SelectedSamples, SelectedSeries
from storage.series_reader import SERIES_MAX

POINTS_MAX: Final = 11_000
"""Of one series, as in Prometheus."""
# What a sample takes while it is read and sorted, and a value while an operator works on it, in bytes.
_SAMPLE_BYTES: Final = 100
_CELL_BYTES: Final = 50
_CELLS_MAX: Final = 100_000_000


def metric_limits(limits: SearchLimits) -> Limits:
    """What one PromQL query may cost, from what its principal's questions may."""
    samples = limits.memory_bytes_max // _SAMPLE_BYTES
    return Limits(
        points_max=POINTS_MAX,
        series_max=SERIES_MAX,
        samples_max=min(samples, limits.rows_to_read_max) if limits.rows_to_read_max else samples,
        cells_max=min(limits.memory_bytes_max // _CELL_BYTES, _CELLS_MAX),
        seconds=limits.seconds_max,
    )


def label_matchers(matchers: tuple[Matcher, ...]) -> tuple[LabelMatcher, ...]:
    """Conditions as the store takes them. Raises `Refused`."""
    return tuple(LabelMatcher(matcher.label, matcher.op, matcher.value) for matcher in matchers)


class KnownBlocks:
    """Blocks of samples that the store gives again are the same blocks to the engine, with what it derived of them; they go when
    the store forgets the samples. One for a process."""

    def __init__(self) -> None:
        self._tables: WeakKeyDictionary[SelectedSeries, LabelTable] = WeakKeyDictionary()
        self._blocks: WeakKeyDictionary[SelectedSamples, SeriesBlock] = WeakKeyDictionary()

    def block_of(self, samples: SelectedSamples) -> SeriesBlock:
        """The series that have samples, and these."""
        block = self._blocks.get(samples)
        if block is None:
            counts = np.diff(samples.offsets)
            if counts.all():
                table, offsets = self._table_of(samples.series), samples.offsets
            else:
                kept = np.flatnonzero(counts)
                table = LabelTable([samples.series.labels[i] for i in kept])
                offsets = np.concatenate((samples.offsets[kept], samples.offsets[-1:]))
            block = self._blocks[samples] = SeriesBlock(table, offsets, samples.ts_ms, samples.values)
        return block

    def _table_of(self, series: SelectedSeries) -> LabelTable:
        table = self._tables.get(series)
        if table is None:
            table = self._tables[series] = LabelTable(series.labels)
        return table


@dataclass(slots=True)
class OrganizationSource:
    """A `SeriesSource`: one organization's series, within limits. Counts what a query read."""

    reader: SampleReader
    known: KnownBlocks
    scope: OrgScope
    limits: Limits
    lookback_ms: int
    series: int = 0
    samples: int = 0
    sources: set[str] = field(default_factory=set)

    @property
    def source(self) -> str:
        """The coarsest that was read."""
        return "1h" if "1h" in self.sources else "samples"

    async def select(self, selection: Selection) -> SeriesBlock:
        """As the protocol says. Raises `Refused`, `TooExpensive`, `Unavailable`."""
        asked = SampleSelection(label_matchers(selection.matchers), selection.start_ms, selection.end_ms)
        found = await self.reader.select(
            self.scope, asked, series_max=self.limits.series_max, samples_max=self.limits.samples_max
        )
        # An instant selector looks back for the last sample, which then counts for its hour.
        older = await self.reader.before_retention(
            self.scope,
            asked,
            found,
            carry_ms=self.lookback_ms if not selection.function and selection.range_ms == self.lookback_ms else 0,
            samples_max=self.limits.samples_max,
        )
        block = self.known.block_of(found if older is None else older)
        self.series += len(block.labels)
        self.samples += len(block.values)
        self.sources.add("samples" if older is None else "1h")
        return block
