"""A password in; an argon2id hash, or whether it is that of a hash, out. In threads, a few at a time, because one takes 64 MiB.

Parameters are those of argon2-cffi, RFC 9106's for little memory. An unknown address is checked against a hash that nobody
has the password of, so it takes as long as a wrong password.
"""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from topics.errors import Refused, Unavailable

PASSWORD_LENGTH_MIN: Final = 10
PASSWORD_LENGTH_MAX: Final = 256
AT_ONCE: Final = 2
WAITING_MAX: Final = 32

T = TypeVar("T")


class Passwords:
    """Hashes and checks passwords. Raises `Unavailable` when more wait than `waiting_max`."""

    def __init__(
        self, hasher: PasswordHasher | None = None, *, at_once: int = AT_ONCE, waiting_max: int = WAITING_MAX
    ) -> None:
        self._hasher = hasher or PasswordHasher()
        self._nobodys = self._hasher.hash(secrets.token_hex())
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="passwords")
        self._waiting_max = at_once + waiting_max
        self._under_way = 0

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """The hash of a password that was chosen (see `check_password`), in argon2's own text form."""
        return await self._run(lambda: self._hasher.hash(_bytes(password)))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether it is the password; of no hash it never is, and that takes as long to say."""
        return await self._run(lambda: self._verify(password_hash, password))

    def is_outdated(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters than it would be now."""
        return self._hasher.check_needs_rehash(password_hash)

    def _verify(self, password_hash: str | None, password: str) -> bool:
        try:
            self._hasher.verify(password_hash or self._nobodys, _bytes(password))
        except (VerificationError, InvalidHashError):
            return False
        return password_hash is not None

    async def _run(self, work: Callable[[], T]) -> T:
        if self._under_way >= self._waiting_max:
            raise Unavailable("cannot check the password: too many are checked right now")
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._under_way -= 1


def check_password(password: str, email: str = "", *, path: str = "password") -> None:
    """Raise `Refused` with `path` unless it may be chosen: of 10 to 256 characters, not all the same, and not the address."""
    if not PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX:
        raise _bad(f"a password has {PASSWORD_LENGTH_MIN} to {PASSWORD_LENGTH_MAX} characters", path)
    if len(set(password)) < 3 or password.casefold() == email.casefold():
        raise _bad("it is too easy to guess", path)
    try:
        _bytes(password)
    except UnicodeEncodeError:
        raise _bad("it is not valid Unicode", path) from None


def _bytes(password: str) -> bytes:
    """In one form, whatever keyboard it was typed on (NFC)."""
    return unicodedata.normalize("NFC", password).encode()


def _bad(why: str, path: str) -> Refused:
    return Refused(f"cannot take the password: {why}", code="invalid_field", path=path)
