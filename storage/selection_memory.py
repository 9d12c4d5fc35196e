"""What a process remembers of selections: their series, and their samples by hour, within a bound of bytes.

Nothing here is believed without its version. The samples of an hour are those of the version that was read before them, so they
may be newer than it says and never older; series are numbered upwards within an organization and never go.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from storage.hour_samples import Ints, SampleColumns
from storage.metric_selection import LabelMatcher
from storage.scope import OrgScope

# Of a series with its labels as Python objects, about.
_SERIES_BYTES = 1000
# Of an entry of a dictionary, with its key.
_ENTRY_BYTES = 200


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class SelectedSeries:
    """Series by id, rising; `labels[i]`, which include `__name__`, are those of `ids[i]`. Not to be changed: it is shared."""

    ids: npt.NDArray[np.int32]
    labels: list[dict[str, str]]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class SelectedSamples:
    """Series, of which some may have no samples, and their samples: those of series i are `offsets[i]` up to `offsets[i + 1]`.

    Not to be changed: it is shared, and given again as long as nothing was written.
    """

    series: SelectedSeries
    offsets: Ints
    ts_ms: Ints
    values: npt.NDArray[np.float64]

    @classmethod
    def of(cls, series: SelectedSeries, columns: SampleColumns) -> SelectedSamples:
        """Columns of the same series."""
        return cls(series, columns.offsets(), columns.ts_ms, columns.values)


@dataclass(slots=True)
class Remembered:
    """One selection of one organization: its series when there were `series_version` in the dictionary, its samples by hour with
    the version of each, and the hours that were last joined, with what they were."""

    series_version: int
    series: SelectedSeries
    hours: dict[int, tuple[int, SampleColumns]] = field(default_factory=dict)
    joined: tuple[tuple[object, ...], SelectedSamples] | None = None
    size: int = 0

    def has(self, hour: int, version: int) -> bool:
        """Whether the samples of the hour are known, and no others were written since."""
        found = self.hours.get(hour)
        return found is not None and found[0] == version

    def measure(self) -> int:
        """How many bytes it takes."""
        joined = 0
        if self.joined is not None:
            joined = self.joined[1].ts_ms.nbytes + self.joined[1].values.nbytes + self.joined[1].offsets.nbytes
        hours = sum(_ENTRY_BYTES + columns.size for _, columns in self.hours.values())
        return _ENTRY_BYTES + len(self.series.labels) * _SERIES_BYTES + hours + joined


class SelectionMemory:
    """(organization, matchers) -> what is remembered; at most `bytes_max`, and what was asked for longest ago goes first."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.held = 0
        self._known: OrderedDict[tuple[str, tuple[LabelMatcher, ...]], Remembered] = OrderedDict()

    def get(self, scope: OrgScope, matchers: tuple[LabelMatcher, ...]) -> Remembered | None:
        """What is known of a selection; its versions are for the caller to compare."""
        key = (scope.org_id, matchers)
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
        return found

    def keep(
        self, scope: OrgScope, matchers: tuple[LabelMatcher, ...], remembered: Remembered, hours: range = range(0)
    ) -> None:
        """Remember a selection, or that more is known of it. Of one that is larger than the bound alone, `hours` stay."""
        key = (scope.org_id, matchers)
        before = self._known.pop(key, None)
        if before is not None:
            self.held -= before.size
        remembered.size = remembered.measure()
        if remembered.size > self.bytes_max:
            remembered.hours = {hour: known for hour, known in remembered.hours.items() if hour in hours}
            remembered.size = remembered.measure()
        if remembered.size > self.bytes_max:
            return
        self._known[key] = remembered
        self.held += remembered.size
        while self.held > self.bytes_max:
            self.held -= self._known.popitem(last=False)[1].size
