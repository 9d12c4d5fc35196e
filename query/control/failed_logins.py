"""Failed logins by address and by e-mail -> who must wait before the next one. In this process' memory, and bounded there.

A share is one number, when all of it will be back (the generic cell rate algorithm, as in topics/redis_streams). A try is charged
before the password is looked at, so that a hundred at the same moment are a hundred, and given back when it was right.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from topics.errors import RateLimited
from web.client_address import ClientAddresses

REMEMBERED: Final = 10_000
"""Addresses, and e-mail addresses, that are remembered; those that failed longest ago are forgotten first."""
OF_EMAIL: Final = (10, 30.0)
OF_ADDRESS: Final = (30, 6.0)
"""Failures at once, and seconds until one more is allowed again."""


class FailedLogins:
    """The shares of one process; `now` is monotonic seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._emails = _Shares(*OF_EMAIL, now)
        self._addresses = _Shares(*OF_ADDRESS, now)
        self._networks = ClientAddresses()

    def charge(self, address: str, email: str = "") -> None:
        """Count a try. Raises `RateLimited` when the address, or the e-mail address, has none left; nothing is counted then."""
        network = self._networks.bucket(address)
        self._addresses.look(network)
        if email:
            self._emails.charge(_digest(email))
        self._addresses.charge(network)

    def give_back(self, address: str, email: str = "") -> None:
        """The try was no failure."""
        self._addresses.give_back(self._networks.bucket(address))
        if email:
            self._emails.give_back(_digest(email))


class _Shares:
    """A share by name: `tries` at once, one more every `every_s`."""

    def __init__(self, tries: int, every_s: float, now: Callable[[], float]) -> None:
        self._tries = tries
        self._every_s = every_s
        self._now = now
        self._whole_at: OrderedDict[str, float] = OrderedDict()

    def look(self, name: str) -> None:
        """Raise `RateLimited` when nothing is left."""
        wait_s = self._next(name) - self._now() - self._tries * self._every_s
        if wait_s > 0:
            raise RateLimited(
                "cannot log in: too many failed logins; try again later",
                retry_after_s=wait_s,
                limit=self._tries,
                reset_s=math.ceil(self._tries * self._every_s),
            )

    def charge(self, name: str) -> None:
        """Take one, or raise."""
        self.look(name)
        self._whole_at[name] = self._next(name)
        self._whole_at.move_to_end(name)
        if len(self._whole_at) > REMEMBERED:
            self._whole_at.popitem(last=False)

    def give_back(self, name: str) -> None:
        """Put one back."""
        if name in self._whole_at:
            self._whole_at[name] -= self._every_s

    def _next(self, name: str) -> float:
        return max(self._whole_at.get(name, 0.0), self._now()) + self._every_s


def _digest(email: str) -> str:
    return hashlib.blake2b(email.lower().encode("utf-8", "replace"), digest_size=16).hexdigest()
