"""A batch of records as columns of small numbers, so that conditions on texts are compared once a batch and not once a record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from monitors.pane_building import event_times
from topics.transitions import group_text

Places = npt.NDArray[np.int64]


class RecordColumns:
    """The columns of one record batch, each read when it is first asked for."""

    def __init__(self, batch: pa.RecordBatch, received_at_ms: int) -> None:
        self.batch = batch
        self._received_at_ms = received_at_ms
        self._codes: dict[str, tuple[npt.NDArray[np.int64], dict[str, int]]] = {}
        self._numbers: dict[str, npt.NDArray[np.float64]] = {}
        self._ts_ms: npt.NDArray[np.int64] | None = None

    @property
    def rows(self) -> int:
        """How many records."""
        return self.batch.num_rows

    @property
    def ts_ms(self) -> npt.NDArray[np.int64]:
        """When each record counts, unix milliseconds."""
        if self._ts_ms is None:
            ns = self.batch.column("ts").view(pa.int64()).to_numpy()
            self._ts_ms = event_times(ns // 1_000_000, self._received_at_ms)
        return self._ts_ms

    def codes(self, name: str) -> tuple[npt.NDArray[np.int64], dict[str, int]]:
        """A column of texts: a number for each record, and the number of each different text."""
        found = self._codes.get(name)
        if found is None:
            encoded = cast(Any, self.batch.column(name).dictionary_encode())
            texts = encoded.dictionary.to_pylist()
            codes = encoded.indices.to_numpy().astype(np.int64)
            found = self._codes[name] = codes, {text: i for i, text in enumerate(texts)}
        return found

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """A column of numbers; absent ones are NaN."""
        found = self._numbers.get(name)
        if found is None:
            column = cast(Any, self.batch.column(name))
            found = self._numbers[name] = column.to_numpy(zero_copy_only=False).astype(np.float64)
        return found

    def text(self, name: str, place: int) -> str:
        """One value of a column as text."""
        return str(self.batch.column(name)[place].as_py())

    def places_where(self, conditions: Sequence[tuple[str, str]], among: Places | None = None) -> Places:
        """The places of the records whose columns have these texts, among some or all."""
        mask: npt.NDArray[np.bool_] | None = None
        for name, text in conditions:
            codes, numbers = self.codes(name)
            code = numbers.get(text)
            if code is None:
                return np.empty(0, np.int64)
            equal = (codes if among is None else codes[among]) == code
            mask = equal if mask is None else mask & equal
        if mask is None:
            return np.arange(self.rows) if among is None else among
        return np.flatnonzero(mask) if among is None else among[mask]

    def groups(self, labels: Sequence[tuple[str, str]], places: Places) -> Iterator[tuple[str, Places]]:
        """The records at `places` by the values of labels, given as (label, column): the group's text and its places."""
        if not len(places):
            return
        if not labels:
            yield group_text({}), places
            return
        of_each = np.zeros(len(places), np.int64)
        columns = []
        for label, column in labels:
            codes, numbers = self.codes(column)
            columns.append((label, codes, list(numbers)))
            # Numbered anew each time, so that many labels cannot leave 64 bits.
            of_each = np.unique(of_each * len(numbers) + codes[places], return_inverse=True)[1]
        order = np.argsort(of_each, kind="stable")
        begins = np.flatnonzero(np.diff(of_each[order], prepend=-1)).tolist()
        for begin, end in zip(begins, [*begins[1:], len(order)], strict=True):
            inside = places[order[begin:end]]
            yield group_text({label: texts[codes[inside[0]]] for label, codes, texts in columns}), inside
