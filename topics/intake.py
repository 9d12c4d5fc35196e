"""What the gateway needs of a transport: take a request onto a topic once, within its sender's limits, and say what came of it.

Rate limits, the memory of what was taken before, and the enqueue are one step: of two twins that arrive at the same moment at two
gateways exactly one is enqueued, and a gateway that dies leaves either all of it or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from topics.raw import Headers


class Terms(NamedTuple):
    """On which terms a request may be taken.

    `organization` and `address` name the two token buckets, which hold what they let through in a minute. `replay` (16
    bytes) is the identity of the signed request; `idempotency` (16 bytes, b"" for none) that of the sender's key, and `body`
    (8 bytes) tells whether a body is the same. An organization has at most `keys_max` idempotency keys at a time.
    `answer` is what a repeat of this request will be given.
    """

    organization: str
    organization_per_minute: int
    address: str
    address_per_minute: int
    replay: bytes
    idempotency: bytes
    body: bytes
    keys_max: int
    answer: bytes


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of the tighter bucket: `remaining` of `limit` requests; it is full again after `reset_s` seconds."""

    limit: int
    remaining: int
    reset_s: int


@dataclass(frozen=True, slots=True)
class Taken:
    """`answer` is this request's own, or the first one's when this is a repeat (`repeated`)."""

    answer: bytes
    repeated: bool
    allowance: Allowance


class Intake(Protocol):
    """Takes requests. One implementation a transport."""

    async def take(self, topic: str, value: bytes, headers: Headers, terms: Terms) -> Taken:
        """Enqueue a request, unless the same one was before, and return when the transport holds it.

        Must raise `RateLimited` when a bucket is empty or the organization has too many idempotency keys, `Refused` (code
        "conflict") when the key was used with another body, and `Unavailable` when the transport is away, full, or does not say
        what it did; in all these cases nothing may be enqueued later, except after that last one.
        """

    async def charge(self, terms: Terms) -> Allowance:
        """Take a token for a request that is refused for another reason. Raises `RateLimited` and `Unavailable`."""

    async def ping(self) -> None:
        """Raise `Unavailable` when the transport cannot take requests now."""

    async def close(self) -> None:
        """Wait for what is under way, then let go of the connections."""
