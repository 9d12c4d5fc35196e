"""What is known of a process before it runs (ProcessSpec), how patient its supervisor is (Timing), what happens to it (Event)."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

# Says whether the process can be used now; whatever it raises means no, and it is asked again soon.
ReadyProbe = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Account:
    """The operating-system user that a process runs as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """One process. `env` is its whole environment. `after` names those that must be ready before it starts.

    `prepare` does blocking work before every start (making folders, clearing what a crash left); it runs in a thread and may
    raise `Refused`. `account` is None for the supervisor's own user. `port` is where it serves /health, to be shown and asked.
    `inherited` are file descriptors of the supervisor that it is handed under the same numbers.
    """

    name: str
    argv: tuple[str, ...]
    ready: ReadyProbe
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    account: Account | None = None
    after: tuple[str, ...] = ()
    prepare: Callable[[], None] | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 10.0
    ready_timeout_s: float = 30.0
    port: int | None = None
    inherited: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How patient a supervisor is, in seconds. A run of `reset_s` or longer makes the next restart quick again."""

    backoff_first_s: float = 0.1
    backoff_max_s: float = 10.0
    reset_s: float = 30.0
    probe_interval_s: float = 0.05
    log_check_interval_s: float = 10.0

    def delay_s(self, failures: int) -> float:
        """How long to wait before the restart after this many short runs in a row; 0 is the first."""
        return float(min(self.backoff_first_s * 2.0 ** min(failures, 30), self.backoff_max_s))


Happening = Literal["ready", "ended", "failed", "stopped", "leftover"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a process, for people: `text` is a sentence without its full stop."""

    name: str
    what: Happening
    text: str
    pid: int | None = None


OnEvent = Callable[[Event], None]
