"""What is decided about people and API tokens counts at once on tokens that are out, over a real PostgreSQL."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from query.api_token_text import ApiTokenText, new_api_token
from query.callers import Callers
from query.tokens import Principal, Role, Tokens
from storage.changes import ChangeListener
from storage.control_plane import ControlPlane
from storage.migrations import migrate
from storage.organizations import Organization
from storage.users import User
from topics.errors import Refused, Unavailable

SECRET = "s" * 32


@asynccontextmanager
async def known_callers(control_plane: ControlPlane, dsn: str = "", refresh_s: float = 60) -> AsyncIterator[Callers]:
    """Without an address nothing is heard, and only rereading helps."""
    callers = Callers(control_plane, refresh_s=refresh_s, access_token_s=900)
    listener = ChangeListener(dsn or "postgresql://127.0.0.1:1/x", callers.follow)
    await callers.start()
    if dsn:
        await listener.start()
        await eventually(lambda: listener.connected)
    try:
        yield callers
    finally:
        await listener.close()
        await callers.close()


async def eventually(holds: Callable[[], Any], within_s: float = 2.0) -> float:
    """How long it took."""
    began = time.monotonic()
    while True:
        found = holds()
        if hasattr(found, "__await__"):
            found = await found
        if found:
            return time.monotonic() - began
        assert time.monotonic() - began < within_s
        await asyncio.sleep(0.01)


class Login:
    """A user with an access token that is out."""

    def __init__(self, control_plane: ControlPlane, organization: Organization, user: User, tokens: Tokens) -> None:
        self.control_plane = control_plane
        self.scope = organization.scope
        self.user = user
        self.tokens = tokens
        self.session = ""

    async def begin(self, role: Role) -> None:
        self.session = await self.control_plane.sessions.begin(
            self.scope,
            self.user.id,
            family_hash=hashlib.sha256(uuid.uuid4().bytes).digest(),
            token_hash=b"t" * 32,
            lifetime_s=60,
            password_hash=None,
        )
        issued = self.tokens.issue(self.scope, role=role, subject=self.user.id, lifetime_s=60, session_id=self.session)
        self.header = f"Bearer {issued}"

    async def caller(self) -> Principal:
        return await self.tokens.identify(self.header)

    async def is_in(self) -> bool:
        try:
            await self.caller()
        except Refused:
            return False
        return True

    async def is_out(self) -> bool:
        return not await self.is_in()


@pytest.fixture
async def acme(store_control_plane: ControlPlane) -> Organization:
    made = await store_control_plane.organizations.create("acme")
    owner = await store_control_plane.users.create("owner@example.org")
    await store_control_plane.memberships.add(made.scope, owner.id, "owner")
    return made


async def logged_in(control_plane: ControlPlane, acme: Organization, callers: Callers, role: Role = "admin") -> Login:
    user = await control_plane.users.create(f"{uuid.uuid4().hex}@example.org")
    await control_plane.memberships.add(acme.scope, user.id, role)
    login = Login(control_plane, acme, user, Tokens(SECRET, callers=callers))
    await login.begin(role)
    return login


async def test_a_login_works_with_its_first_request(store_control_plane: ControlPlane, acme: Organization) -> None:
    """Nothing is heard here: who is not in the copy is looked for."""
    async with known_callers(store_control_plane) as callers:
        login = await logged_in(store_control_plane, acme, callers)
        caller = await login.caller()
        assert (caller.subject, caller.name, caller.role) == (login.user.id, login.user.email, "admin")
        assert (caller.kind, caller.session_id, caller.scope) == ("user", login.session, acme.scope)


@pytest.mark.parametrize("how", ["remove", "disable", "logout", "password"])
@pytest.mark.parametrize("heard", [True, False])
async def test_whoever_may_not_come_in_is_out_within_two_seconds(
    store_control_plane: ControlPlane, store_dsn: str, acme: Organization, how: str, heard: bool
) -> None:
    """Heard at once; and without announcements by rereading alone."""
    refresh_s = 60 if heard else 1.5
    async with known_callers(store_control_plane, store_dsn if heard else "", refresh_s) as callers:
        login = await logged_in(store_control_plane, acme, callers)
        bystander = await logged_in(store_control_plane, acme, callers)
        assert await login.is_in()
        assert await bystander.is_in()
        if how == "remove":
            await store_control_plane.memberships.remove(acme.scope, login.user.id)
        elif how == "disable":
            await store_control_plane.users.set_disabled(login.user.id, True)
        elif how == "logout":
            await store_control_plane.sessions.end(login.session)
        else:
            await store_control_plane.users.set_password_hash(login.user.id, None)
        took = await eventually(login.is_out, within_s=2.0)
        assert took < (1.0 if heard else 2.0)
        assert await bystander.is_in()


async def test_a_changed_role_counts_on_the_token_that_is_out(
    store_control_plane: ControlPlane, store_dsn: str, acme: Organization
) -> None:
    async with known_callers(store_control_plane, store_dsn) as callers:
        login = await logged_in(store_control_plane, acme, callers)
        (await login.caller()).require("org:admin")
        await store_control_plane.memberships.change_role(acme.scope, login.user.id, "viewer")

        async def is_viewer() -> bool:
            return (await login.caller()).role == "viewer"

        await eventually(is_viewer)
        with pytest.raises(Refused):
            (await login.caller()).require("org:admin")


async def test_a_member_of_one_organization_is_none_of_another(
    store_control_plane: ControlPlane, acme: Organization
) -> None:
    other = await store_control_plane.organizations.create("other")
    async with known_callers(store_control_plane) as callers:
        login = await logged_in(store_control_plane, acme, callers)
        issued = login.tokens.issue(
            other.scope, role="owner", subject=login.user.id, lifetime_s=60, session_id=login.session
        )
        with pytest.raises(Refused):
            await login.tokens.identify(f"Bearer {issued}")


async def test_tokens_of_the_command_line_need_no_member(store_control_plane: ControlPlane, acme: Organization) -> None:
    async with known_callers(store_control_plane) as callers:
        tokens = Tokens(SECRET, callers=callers)
        issued = tokens.issue(acme.scope, role="viewer", subject="cli", lifetime_s=60)
        assert (await tokens.identify(f"Bearer {issued}")).kind == "token"


async def made_api_token(
    control_plane: ControlPlane, acme: Organization, role: str = "viewer", expires_at: datetime | None = None
) -> tuple[ApiTokenText, str]:
    text = new_api_token()
    made = await control_plane.api_tokens.create(
        acme.scope, name="ci", role=role, prefix=text.prefix, secret_hash=text.secret_hash, expires_at=expires_at
    )
    return text, made.id


async def test_an_api_token_is_its_organization_and_role_until_it_is_revoked(
    store_control_plane: ControlPlane, store_dsn: str, acme: Organization
) -> None:
    async with known_callers(store_control_plane, store_dsn) as callers:
        tokens = Tokens(SECRET, callers=callers)
        text, token_id = await made_api_token(store_control_plane, acme, "member")
        caller = await tokens.identify(f"Bearer {text}")
        assert (caller.scope, caller.role, caller.kind, caller.name) == (acme.scope, "member", "api_token", "ci")
        assert str(text) not in repr(text)
        for wrong in (
            f"{text.prefix}_{'0' * 64}",
            f"aet_{'0' * 16}_{text.secret}",
            text.prefix,
            str(text).upper(),
            f"{text}0",
        ):
            with pytest.raises(Refused):
                await tokens.identify(f"Bearer {wrong}")
        await store_control_plane.api_tokens.revoke(acme.scope, token_id)

        async def is_out() -> bool:
            try:
                await tokens.identify(f"Bearer {text}")
            except Refused:
                return True
            return False

        assert await eventually(is_out) < 1.0


async def test_an_api_token_ends_by_itself(store_control_plane: ControlPlane, acme: Organization) -> None:
    """Also while the copy that is held still has it."""
    late = time.time()
    callers = Callers(store_control_plane, refresh_s=60, access_token_s=60, now=lambda: late)
    await callers.start()
    tokens = Tokens(SECRET, callers=callers)
    text, _ = await made_api_token(store_control_plane, acme, expires_at=datetime.now(UTC) + timedelta(seconds=30))
    await tokens.identify(f"Bearer {text}")
    late += 31
    with pytest.raises(Refused):
        await tokens.identify(f"Bearer {text}")
    await callers.close()


async def test_the_last_use_is_noted_coarsely_and_is_no_change(
    store_control_plane: ControlPlane, acme: Organization
) -> None:
    text, token_id = await made_api_token(store_control_plane, acme)
    async with known_callers(store_control_plane) as callers:
        await Tokens(SECRET, callers=callers).identify(f"Bearer {text}")
    (kept,) = await store_control_plane.api_tokens.list_in(acme.scope)
    assert kept.last_used_at is not None
    assert (kept.last_used_at.second, kept.last_used_at.microsecond) == (0, 0)
    assert datetime.now(UTC) - kept.last_used_at < timedelta(minutes=2)
    await store_control_plane.api_tokens.note_uses({token_id: datetime(2020, 1, 1, tzinfo=UTC)})
    assert (await store_control_plane.api_tokens.get(acme.scope, token_id)).last_used_at == kept.last_used_at


async def test_no_secret_is_kept_in_clear(
    store_control_plane: ControlPlane, store_dsn: str, acme: Organization
) -> None:
    text, _ = await made_api_token(store_control_plane, acme)
    connection = await asyncpg.connect(store_dsn)
    row = await connection.fetchval("SELECT t::text FROM api_tokens t")
    log = await connection.fetchval("SELECT string_agg(a::text, '') FROM audit_log a")
    await connection.close()
    assert text.prefix in row
    for kept in (row, log):
        assert text.secret not in kept
    assert text.secret_hash.hex() not in log


async def test_while_postgresql_is_away_the_last_copy_counts(store_postgres_kind: Any) -> None:
    folder = Path(tempfile.mkdtemp(prefix="aegis-test-postgres-"))
    server = store_postgres_kind(folder)
    server.start()
    try:
        await migrate(control_plane_dsn=server.dsn())
        async with await ControlPlane.open(server.dsn()) as control_plane:
            acme = await control_plane.organizations.create("acme")
            async with known_callers(control_plane, refresh_s=0.1) as callers:
                login = await logged_in(control_plane, acme, callers, "owner")
                text, _ = await made_api_token(control_plane, acme)
                await login.caller()
                await login.tokens.identify(f"Bearer {text}")
                server.kill()
                assert (await login.caller()).role == "owner"
                assert (await login.tokens.identify(f"Bearer {text}")).role == "viewer"
                stranger = login.tokens.issue(
                    acme.scope, role="owner", subject=str(uuid.uuid4()), lifetime_s=60, session_id="1"
                )
                with pytest.raises(Unavailable):
                    await login.tokens.identify(f"Bearer {stranger}")
    finally:
        server.stop()
        shutil.rmtree(folder)
