"""Users: an e-mail address in, a person out. Passwords come here as argon2 hashes only; hashing is the API's."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import asyncpg

from storage.control_plane_pool import ControlPlanePool, user_turn, uuid_or_none
from storage.named_queries import load_queries
from topics.errors import Refused

_SQL = load_queries("users.sql")


@dataclass(frozen=True, slots=True)
class User:
    """A person. `email` is as it was typed, and compared without case; a disabled user cannot log in."""

    id: str
    email: str
    name: str
    disabled: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Login:
    """What a login is checked against. No hash: the person was invited and has no password yet."""

    user: User
    password_hash: str | None = field(repr=False)


class Users:
    """People, of all organizations: who may do what where is storage/memberships.py."""

    def __init__(self, pool: ControlPlanePool) -> None:
        self._pool = pool

    async def create(self, email: str, *, name: str = "", password_hash: str | None = None) -> User:
        """Create a user. `Refused` with code "conflict" when the address is taken, in whatever case."""
        return _user((await self._pool.fetch("create the user", _SQL["create"], email, name, password_hash))[0])

    async def get(self, id_or_email: str) -> User:
        """One user. `Refused` with code "not_found" when there is none."""
        return await self._one("get the user", "get", uuid_or_none(id_or_email), id_or_email)

    async def list_all(self) -> list[User]:
        """All users by address: an operator's view."""
        return [_user(row) for row in await self._pool.fetch("list users", _SQL["list"])]

    async def find_login(self, email: str) -> Login | None:
        """What a login is checked against, disabled users included; None for an unknown address.

        Not a refusal, so that the caller takes as long for an unknown address as for a wrong password.
        """
        rows = await self._pool.fetch("find the user", _SQL["get_login"], email)
        return Login(_user(rows[0]), rows[0]["password_hash"]) if rows else None

    async def set_password_hash(self, user_id: str, password_hash: str | None, *, keep_session: str = "") -> User:
        """Replace the hash, which ends the user's sessions but `keep_session`; None takes the password away."""
        values = (uuid_or_none(user_id), password_hash, uuid_or_none(keep_session))
        return await self._one_in_turn("set the password", "set_password_hash", user_id, *values)

    async def replace_hash(self, user_id: str, known_hash: str, password_hash: str) -> None:
        """Keep the same password under other parameters; nothing happens when it is not `known_hash` any more."""
        values = (uuid_or_none(user_id), known_hash, password_hash)
        await self._pool.fetch("keep the password", _SQL["replace_hash"], *values)

    async def accept_invite(self, invite_hash: bytes, password_hash: str) -> User | None:
        """Give who was invited a password, once; None when nobody holds this invitation, or not any more."""
        rows = await self._pool.fetch("accept the invitation", _SQL["accept_invite"], invite_hash, password_hash)
        return _user(rows[0]) if rows else None

    async def set_disabled(self, user_id: str, disabled: bool) -> User:
        """Let a user log in no more, which ends every session, or again."""
        return await self._one_in_turn("change the user", "set_disabled", user_id, uuid_or_none(user_id), disabled)

    async def delete(self, user_id: str) -> None:
        """Delete a user and its memberships. `Refused` "conflict" for the last owner of an organization."""
        await self._pool.fetch_one("delete the user", "user_id", _SQL["delete"], uuid_or_none(user_id))

    async def _one_in_turn(self, doing: str, name: str, user_id: str, *values: object) -> User:
        rows = await self._pool.fetch_in_turn(doing, user_turn(user_id), _SQL[name], *values)
        if not rows:
            raise Refused(f"cannot {doing}: there is none", code="not_found", path="user_id")
        return _user(rows[0])

    async def _one(self, doing: str, name: str, *values: object) -> User:
        return _user(await self._pool.fetch_one(doing, "user_id", _SQL[name], *values))


def _user(row: asyncpg.Record) -> User:
    return User(str(row["id"]), row["email"], row["name"], row["disabled"], row["created_at"])
