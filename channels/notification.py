"""What is said to people: a transition of a monitor's group, or several of them in one, as JSON between recording and sending."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from topics.errors import Refused

TEST: Final = "test"
EVIDENCE_BYTES_MAX: Final = 16 << 10


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One transition as it is told. `at` is RFC 3339; `repeat` 0 is the transition itself, n the nth reminder of it.

    `dedup_key` is the same with every try of the same notification: who keeps those that it has seen gets each once.
    `url` leads to the alert. `message` is the monitor's own text with its variables filled in.
    """

    state: str
    previous_state: str
    monitor_id: str
    monitor_name: str
    group: str
    value: float | None
    threshold: float | None
    at: str
    dedup_key: str
    evidence: dict[str, Any] = {}
    url: str = ""
    message: str = ""
    sequence: int = 0
    repeat: int = 0
    kind: str = "alert"

    @property
    def title(self) -> str:
        """One line: state, monitor, group, and whether it is a reminder or a test."""
        what = "TEST" if self.kind == TEST else self.state
        group = f" ({self.group})" if self.group not in ("", "*") else ""
        return f"[{what}] {self.monitor_name}{group}{', still' if self.repeat else ''}"


_DECODER = msgspec.json.Decoder(Notification)


def encode(notification: Notification) -> str:
    """A notification -> JSON text. Evidence beyond 16 KiB is left out, and that is said in its place."""
    if len(msgspec.json.encode(notification.evidence)) > EVIDENCE_BYTES_MAX:
        notification = msgspec.structs.replace(notification, evidence={"left_out": "it is larger than 16 KiB"})
    return msgspec.json.encode(notification).decode()


def decode(text: str) -> Notification:
    """JSON text -> a notification. Raises `Refused` for anything that `encode` did not make."""
    try:
        return _DECODER.decode(text)
    except msgspec.MsgspecError as exc:
        raise Refused(f"cannot read a notification: {exc}", code="bad_message") from exc


def title_of(notifications: Sequence[Notification]) -> str:
    """One line about all of them."""
    first = notifications[0]
    if len(notifications) == 1:
        return first.title
    worst = next((s for s in ("ALERT", "NO_DATA", "WARN") if any(n.state == s for n in notifications)), "OK")
    names = list(dict.fromkeys(n.monitor_name for n in notifications))
    others = f" and {len(names) - 1} more monitors" if len(names) > 1 else ""
    return f"[{worst}] {len(notifications)} notifications of {names[0]}{others}"


def shown_number(value: float | None) -> str:
    """A value for people."""
    return "none" if value is None else f"{value:.6g}"
