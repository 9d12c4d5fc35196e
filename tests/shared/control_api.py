"""The control API over a real PostgreSQL, with two organizations that do not know each other (fixture `control_api`)."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
import pytest
from argon2 import PasswordHasher

from query.app import Stores, create_query_app
from query.callers import Callers
from query.control.app import Control
from query.control.failed_logins import FailedLogins
from query.control.passwords import Passwords
from query.control.sign_in import SignIn
from query.tokens import Role, Tokens
from storage.clickhouse import ClickHouse, ClickHouseAddress
from storage.control_plane import ControlPlane
from storage.migrations import migrate
from storage.organizations import Organization
from storage.sealing import Sealer
from storage.timescale import Timescale, TimescaleAddress
from storage.users import User
from web.health import Health

SECRET = "s" * 32
PASSWORD = "correct horse battery"
CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)


@dataclass
class ControlApi:
    """The application, and what its tests make in it."""

    http: httpx.AsyncClient
    plane: ControlPlane
    tokens: Tokens
    callers: Callers
    passwords: Passwords
    sign_in: SignIn
    dsn: str = field(repr=False)
    ours: Organization
    theirs: Organization
    clock: list[float]

    async def user(self, role: Role | None = "owner", organization: Organization | None = None) -> User:
        """A user with PASSWORD, and with a role in an organization, by default ours; None for none."""
        password_hash = await self.passwords.hash(PASSWORD)
        user = await self.plane.users.create(f"{uuid.uuid4().hex}@example.org", password_hash=password_hash)
        if role is not None:
            await self.plane.memberships.add((organization or self.ours).scope, user.id, role)
        return user

    async def log_in(self, user: User, password: str = PASSWORD, **more: Any) -> httpx.Response:
        return await self.http.post("/auth/login", json={"email": user.email, "password": password, **more})

    async def logged_in(self, user: User, **more: Any) -> dict[str, Any]:
        answer = await self.log_in(user, **more)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def ask(
        self, method: str, path: str, token: str, body: Any = None, params: dict[str, Any] | None = None
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"}
        return await self.http.request(method, path, headers=headers, json=body, params=params)

    def token(self, role: Role = "owner", organization: Organization | None = None) -> str:
        """As `aegis token` makes it."""
        return self.tokens.issue((organization or self.ours).scope, role=role, subject="cli", lifetime_s=60)

    async def sql(self, statement: str, *values: object) -> Any:
        """What no route does: as the world does it."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return await connection.fetchval(statement, *values)
        finally:
            await connection.close()


@pytest.fixture(scope="session")
def control_dsn(store_postgres_server: Any) -> str:
    """A migrated database that these tests share: each takes organizations and users of its own."""
    name = f"control_{uuid.uuid4().hex}"

    async def make() -> None:
        admin = await asyncpg.connect(store_postgres_server.dsn())
        await admin.execute(f"CREATE DATABASE {name}")
        await admin.close()
        await migrate(control_plane_dsn=store_postgres_server.dsn(name))

    asyncio.run(make())
    dsn: str = store_postgres_server.dsn(name)
    return dsn


@pytest.fixture
async def control_api(control_dsn: str) -> AsyncIterator[ControlApi]:
    clock = [1000.0]
    async with (
        await ControlPlane.open(control_dsn, Sealer(os.urandom(32))) as plane,
        ClickHouse(ClickHouseAddress("127.0.0.1", 9, database="x")) as away,
    ):
        ours = await plane.organizations.create(f"ours {uuid.uuid4().hex}")
        theirs = await plane.organizations.create(f"theirs {uuid.uuid4().hex}")
        # Nothing is heard here, and nothing reread by itself: what misses something rereads, and `callers.follow` does.
        callers = Callers(plane, refresh_s=0.2, access_token_s=900)
        await callers.start()
        tokens = Tokens(SECRET, callers=callers)
        passwords = Passwords(CHEAP)
        failures = FailedLogins(lambda: clock[0])
        sign_in = SignIn(plane, tokens, passwords, access_token_s=900, refresh_token_s=86400, failures=failures)
        timescale = await Timescale.open(TimescaleAddress("127.0.0.1", 9, "x", "x"))
        app = create_query_app(
            Stores.over(away, plane.usage, timescale),
            tokens,
            health=Health("query", {}),
            control=Control(plane, passwords, sign_in),
        )
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app, client=("203.0.113.9", 4711)), base_url="http://query"
        ) as http:
            yield ControlApi(http, plane, tokens, callers, passwords, sign_in, control_dsn, ours, theirs, clock)
        await timescale.close()
        await callers.close()
        passwords.close()
