"""A function of a text -> the same function that remembers its answers, within a bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """Answers of `work` by text, at most `2 * generation` of them.

    Two generations: what is asked again while it is old becomes young, and when the young are full the old ones go. That keeps
    what is in use, and a hit costs one look into a dictionary and no bookkeeping.
    """

    def __init__(self, work: Callable[[str], T], *, generation: int) -> None:
        self._work = work
        self._generation = generation
        self._young: dict[str, T] = {}
        self._old: dict[str, T] = {}

    def __call__(self, text: str) -> T:
        """The answer for `text`."""
        found = self._young.get(text)
        return found if found is not None else self._elder(text)

    def _elder(self, text: str) -> T:
        found = self._old.get(text)
        if found is None:
            found = self._work(text)
        if len(self._young) >= self._generation:
            self._old, self._young = self._young, {}
        self._young[text] = found
        return found

    @property
    def recent(self) -> Mapping[str, T]:
        """Some of the answers, for loops that cannot afford a call: what is not there is to be asked for."""
        return self._young

    def forget(self) -> None:
        """Drop every answer, because `work` would give others now."""
        self._young, self._old = {}, {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
