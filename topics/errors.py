"""The three kinds of failure, because callers do three things: give up, try again later, or ask for less.

    AegisError
    ├── Refused        the same input will always fail      -> 4xx, or a dead letter
    ├── Unavailable    a dependency is away or full         -> 503 + Retry-After, or a retry with backoff
    │   └── RateLimited    the sender's share is used up    -> 429 + Retry-After
    └── TooExpensive   allowed, but past a named limit      -> 422 naming the limit

They live in the lowest package so that everything above can raise and catch the same ones.
Messages are lower case and read "cannot <do>: <why>".
"""

from __future__ import annotations


class AegisError(Exception):
    """Anything that Aegis raises on purpose."""


class Refused(AegisError):
    """The same input will fail in the same way however often it is tried.

    `code` is a short bounded name for counters and for the `code` field of an error answer. `path` says which part of the
    input is at fault ("logs[3].level"), empty when it is the whole. `details` are (path, message) pairs when there is more to
    say.
    """

    def __init__(
        self, reason: str, *, code: str = "refused", path: str = "", details: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.path = path
        self.details = details


class Unavailable(AegisError):
    """A dependency is away, or a bound is reached for now; the same input may succeed after `retry_after_s` seconds.

    `reason` may be told to anybody. `detail` is what the dependency said, with addresses and SQL in it: it is part of the text of
    the exception, which goes into logs and to operators, and never into an answer.
    """

    def __init__(self, reason: str, *, retry_after_s: float = 1.0, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.detail = detail


class RateLimited(Unavailable):
    """A sender has used up what it may for now: `limit` of it, all of which is there again after `reset_s` seconds."""

    def __init__(self, reason: str, *, retry_after_s: float, limit: int, reset_s: int) -> None:
        super().__init__(reason, retry_after_s=retry_after_s)
        self.limit = limit
        self.reset_s = reset_s


class TooExpensive(AegisError):
    """The question is fair but passes a limit: `limit` names it with its value, `asked` says what was asked for."""

    def __init__(self, limit: str, asked: str) -> None:
        super().__init__(f"cannot answer: {asked} is more than {limit}")
        self.limit = limit
        self.asked = asked
