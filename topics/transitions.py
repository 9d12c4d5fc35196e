"""A group of a monitor enters a state <-> a message on `alerts`, keyed by monitor.

The watch agent sends each transition once, in the commit that also moves the group's state. Whoever records or notifies may see a
message again only where its own work was not committed; (monitor, group, sequence, repeat) names it for ever.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from topics.errors import Refused

UNGROUPED: Final = "*"
GROUP_BYTES_MAX: Final = 1_000
"""Of a group's text; longer values end in a digest of themselves, so that two of them stay two groups."""

_ESCAPED = re.compile(r"[\\,=*]")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_PAIR = re.compile(r"((?:[^\\=,]|\\.)*)=((?:[^\\=,]|\\.)*)(?:,|$)", re.DOTALL)


class AlertMessage(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One transition, or a renotification of it.

    `sequence` grows with each transition of the group and never comes twice. `repeat` is 0 for the transition itself, and n when
    its nth renotification is due; all else is then as it stands now. States are OK, WARN, ALERT and NO_DATA. `at_ms` is unix
    milliseconds by the engine's clock. `value` is None where the window had none. `threshold` is the one that was passed.
    `evidence` is a JSON object: what the decision was made from, and `why` in words.
    """

    org_id: str
    monitor_id: str
    group: str
    sequence: int
    repeat: int
    state: str
    previous_state: str
    at_ms: int
    value: float | None = None
    threshold: float | None = None
    evidence: dict[str, Any] = {}


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(AlertMessage)


def encode(message: AlertMessage) -> bytes:
    """A transition -> message bytes."""
    return _ENCODER.encode(message)


def decode(message: bytes) -> AlertMessage:
    """Message bytes -> a transition. Raises `Refused` for anything that `encode` did not make."""
    try:
        return _DECODER.decode(message)
    except msgspec.MsgspecError as exc:
        raise Refused(f"cannot read an alerts message: {exc}", code="bad_message") from exc


def key_of(monitor_id: str) -> bytes:
    """The key of a monitor's messages, on `alerts` as on `panes`: one partition sees all of a monitor."""
    return monitor_id.encode()


def group_text(labels: Mapping[str, str]) -> str:
    """The labels of a group -> its one text, `host=a,service=b` in the order of the names; no labels are `*`.

    `\\`, `,`, `=` and `*` have a backslash before them. A long value is cut, with a digest behind it.
    """
    if not labels:
        return UNGROUPED
    room = GROUP_BYTES_MAX // len(labels)
    # Half of it, since every byte of a value may need an escape.
    cut = {name: _cut(value, max(20, (room - len(name) - 2) // 2)) for name, value in labels.items()}
    return ",".join(f"{_escaped(name)}={_escaped(cut[name])}" for name in sorted(cut))


def group_labels(group: str) -> dict[str, str]:
    """The other way round; values that were cut stay cut. Raises `Refused` for anything that `group_text` did not make."""
    if group == UNGROUPED:
        return {}
    labels: dict[str, str] = {}
    end = 0
    while end < len(group):
        pair = _PAIR.match(group, end)
        if pair is None:
            raise Refused(f"cannot read the group {group[:60]!r}", code="bad_message")
        labels[_ESCAPE.sub(r"\1", pair[1])] = _ESCAPE.sub(r"\1", pair[2])
        end = pair.end()
    return labels


def _escaped(text: str) -> str:
    return _ESCAPED.sub(r"\\\g<0>", text)


def _cut(value: str, bytes_max: int) -> str:
    raw = value.encode()
    if len(raw) <= bytes_max:
        return value
    return raw[: bytes_max - 17].decode(errors="ignore") + "~" + hashlib.blake2b(raw, digest_size=8).hexdigest()
