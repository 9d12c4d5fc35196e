"""What monitors remember of each group: its state, and its window pane by pane, as a Faust table that survives any crash.

A row a pane, so that a batch writes what it changed and not the whole window. Panes take turns on a fixed number of rows (slots):
a new one replaces one whose time is over, and nothing needs to be deleted while the group lives. Rows of a monitor live on the
partition of its key, and change only with a message of the topic `panes`.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import msgspec

from topics.faust_app import EmbeddedApp
from topics.panes import Pane

_ENCODER = msgspec.msgpack.Encoder()
_PANE = msgspec.msgpack.Decoder(Pane)
_STATE = b"state"


def create_windows_table(app: EmbeddedApp, *, partitions: int) -> Any:
    """The table behind `WindowRows`; call it before the app starts."""
    return app.Table("windows", key_type=bytes, value_type=bytes, default=bytes, partitions=partitions)


class WindowRows:
    """States (bytes in the watch agent's form) and panes by monitor and group. Writing works only while an event is handled."""

    def __init__(self, rows: MutableMapping[bytes, bytes]) -> None:
        self._rows = rows

    def put_state(self, monitor_id: str, group: str, state: bytes) -> None:
        """Keep a group's state."""
        self._rows[_key(monitor_id, _STATE, group)] = state

    def put_pane(self, monitor_id: str, group: str, slot: int, pane: Pane) -> None:
        """Keep a pane, in place of what its slot had."""
        self._rows[_key(monitor_id, b"%d" % slot, group)] = _ENCODER.encode(pane)

    def drop_panes(self, monitor_id: str, group: str, slots: int) -> None:
        """Forget the panes of a group, which had at most so many slots."""
        for slot in range(slots):
            self._drop(_key(monitor_id, b"%d" % slot, group))

    def drop_state(self, monitor_id: str, group: str) -> None:
        """Forget a group's state."""
        self._drop(_key(monitor_id, _STATE, group))

    def states(self) -> Iterator[tuple[str, str, bytes]]:
        """Monitor, group and state of every group on this worker."""
        for key, value in list(self._rows.items()):
            monitor_id, what, group = key.split(b"/", 2)
            if what == _STATE:
                yield monitor_id.decode(), group.decode(), value

    def panes(self) -> Iterator[tuple[str, str, int, Pane]]:
        """Monitor, group, slot and pane of every pane on this worker."""
        for key, value in list(self._rows.items()):
            monitor_id, what, group = key.split(b"/", 2)
            if what != _STATE:
                yield monitor_id.decode(), group.decode(), int(what), _PANE.decode(value)

    def _drop(self, key: bytes) -> None:
        if key in self._rows:  # Not pop(): a Faust table deletes before it looks.
            del self._rows[key]


def _key(monitor_id: str, what: bytes, group: str) -> bytes:
    return b"%b/%b/%b" % (monitor_id.encode(), what, group.encode())
