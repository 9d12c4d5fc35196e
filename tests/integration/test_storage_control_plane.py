"""Organizations and API keys on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from storage.api_keys import SIGNAL_SCOPES
from storage.control_plane import ControlPlane
from storage.migrations import migrate
from storage.organizations import Organization
from storage.scope import OrgScope
from storage.sealing import Sealer
from topics.errors import Refused, Unavailable

UNKNOWN = "00000000-0000-4000-8000-000000000000"
SEALER = Sealer(os.urandom(32))


@pytest.fixture
async def control_plane(store_dsn: str) -> AsyncIterator[ControlPlane]:
    await migrate(control_plane_dsn=store_dsn)
    async with await ControlPlane.open(store_dsn, SEALER) as control_plane:
        yield control_plane


@pytest.fixture
async def acme(control_plane: ControlPlane) -> Organization:
    return await control_plane.organizations.create("acme", retention_days=45)


async def test_an_organization_is_found_by_id_and_by_name(control_plane: ControlPlane, acme: Organization) -> None:
    assert acme.retention_days == 45
    assert dict(acme.settings) == {}
    assert await control_plane.organizations.get(acme.id) == acme
    assert await control_plane.organizations.get(acme.id.upper()) == acme
    assert await control_plane.organizations.get("acme") == acme
    assert await control_plane.organizations.list_all() == [acme]
    assert acme.scope == OrgScope(acme.id)


async def test_an_id_wins_over_a_name_that_looks_like_it(control_plane: ControlPlane, acme: Organization) -> None:
    await control_plane.organizations.create(acme.id)
    assert await control_plane.organizations.get(acme.id) == acme


@pytest.mark.parametrize("name", ["nobody", UNKNOWN, "", "' OR 1=1 --"])
async def test_an_unknown_organization_is_refused(control_plane: ControlPlane, acme: Organization, name: str) -> None:
    with pytest.raises(Refused) as caught:
        await control_plane.organizations.get(name)
    assert caught.value.code == "not_found"


async def test_a_name_is_taken_once(control_plane: ControlPlane, acme: Organization) -> None:
    with pytest.raises(Refused) as caught:
        await control_plane.organizations.create("acme")
    assert (caught.value.code, caught.value.path) == ("conflict", "name")


@pytest.mark.parametrize("name", ["", " acme", "acme ", "a\nb", "a\tb", "x" * 101, "nul\x00", "\ud800", "\x7f"])
async def test_a_bad_name_is_refused(control_plane: ControlPlane, name: str) -> None:
    with pytest.raises(Refused):
        await control_plane.organizations.create(name)


@pytest.mark.parametrize("name", ["x" * 100, "Ünïcode 組織 😀", "'; DROP TABLE organizations; --", "a  b"])
async def test_a_good_name_is_kept_as_it_is(control_plane: ControlPlane, name: str) -> None:
    created = await control_plane.organizations.create(name)
    assert created.name == name
    assert await control_plane.organizations.get(name) == created


@pytest.mark.parametrize("days", [0, -1, 3651, 1 << 40])
async def test_a_retention_out_of_bounds_is_refused(control_plane: ControlPlane, days: int) -> None:
    with pytest.raises(Refused):
        await control_plane.organizations.create("acme", retention_days=days)


async def test_a_key_shows_its_secret_once(control_plane: ControlPlane, acme: Organization, store_dsn: str) -> None:
    new = await control_plane.api_keys.create(acme.scope, name="ci")
    assert re.fullmatch(r"obs_[0-9a-f]{16}", new.key.prefix)
    assert re.fullmatch(r"[0-9a-f]{64}", new.secret)
    assert new.secret not in repr(new)
    assert await control_plane.api_keys.list_in(acme.scope) == [new.key]
    assert await control_plane.api_keys.open_secret(new.key.prefix) == new.secret
    connection = await asyncpg.connect(store_dsn)
    stored = await connection.fetchval("SELECT secret_sealed FROM api_keys")
    await connection.close()
    assert new.secret.encode() not in stored
    assert bytes.fromhex(new.secret) not in stored


async def test_keys_of_another_organization_are_not_listed(control_plane: ControlPlane, acme: Organization) -> None:
    other = await control_plane.organizations.create("other")
    await control_plane.api_keys.create(acme.scope)
    assert await control_plane.api_keys.list_in(other.scope) == []


async def test_a_key_needs_its_organization(control_plane: ControlPlane) -> None:
    with pytest.raises(Refused) as caught:
        await control_plane.api_keys.create(OrgScope(UNKNOWN))
    assert caught.value.path == "organization_id"


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["logs:read"]}, "scopes"),
        ({"scopes": ["logs:write", "*"]}, "scopes"),
        ({"name": "x" * 101}, "name"),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "expires_at"),
        ({"expires_at": datetime(2090, 1, 1)}, "expires_at"),
    ],
)
async def test_a_bad_key_is_refused(
    control_plane: ControlPlane, acme: Organization, options: dict[str, Any], path: str
) -> None:
    with pytest.raises(Refused) as caught:
        await control_plane.api_keys.create(acme.scope, **options)
    assert caught.value.path == path


async def test_the_snapshot_holds_what_a_gateway_needs(control_plane: ControlPlane, acme: Organization) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    plain = await control_plane.api_keys.create(acme.scope)
    narrow = await control_plane.api_keys.create(acme.scope, scopes=["logs:write"], expires_at=soon)
    snapshot = await control_plane.api_keys.load()
    found = {key.prefix: key for key in snapshot.keys}
    assert snapshot.unreadable == ()
    assert set(found) == {plain.key.prefix, narrow.key.prefix}
    key = found[plain.key.prefix]
    assert (key.organization_id, key.secret, key.retention_days) == (acme.id, plain.secret, 45)
    assert (key.scopes, key.expires_at) == (frozenset(SIGNAL_SCOPES), None)
    assert (found[narrow.key.prefix].scopes, found[narrow.key.prefix].expires_at) == (frozenset({"logs:write"}), soon)
    assert plain.secret not in repr(snapshot)
    assert await control_plane.api_keys.load() == snapshot


async def test_a_revoked_or_expired_key_is_not_in_the_snapshot(control_plane: ControlPlane, acme: Organization) -> None:
    revoked = await control_plane.api_keys.create(acme.scope)
    await control_plane.api_keys.create(acme.scope, expires_at=datetime.now(UTC) + timedelta(milliseconds=300))
    assert len((await control_plane.api_keys.load()).keys) == 2
    first = await control_plane.api_keys.revoke_any(revoked.key.prefix)
    again = await control_plane.api_keys.revoke_any(revoked.key.prefix)
    assert first.revoked_at is not None
    assert first == again
    await asyncio.sleep(0.4)
    assert (await control_plane.api_keys.load()).keys == ()
    assert len(await control_plane.api_keys.list_in(acme.scope)) == 2


async def test_an_unknown_prefix_is_refused(control_plane: ControlPlane) -> None:
    for call in (control_plane.api_keys.revoke_any, control_plane.api_keys.open_secret):
        with pytest.raises(Refused) as caught:
            await call("obs_0000000000000000")
        assert caught.value.code == "not_found"


async def test_an_update_moves_updated_at(control_plane: ControlPlane, acme: Organization, store_dsn: str) -> None:
    new = await control_plane.api_keys.create(acme.scope)
    connection = await asyncpg.connect(store_dsn)
    before = await connection.fetchval("SELECT updated_at FROM api_keys")
    await control_plane.api_keys.revoke_any(new.key.prefix)
    after = await connection.fetchval("SELECT updated_at FROM api_keys")
    await connection.close()
    assert after > before


async def test_a_wrong_master_key_is_refused_by_name(
    control_plane: ControlPlane, acme: Organization, store_dsn: str
) -> None:
    await control_plane.api_keys.create(acme.scope)
    async with await ControlPlane.open(store_dsn, Sealer(os.urandom(32))) as wrong:
        with pytest.raises(Refused, match="AEGIS_MASTER_KEY"):
            await wrong.api_keys.load()


async def test_one_unreadable_key_does_not_stop_the_others(
    control_plane: ControlPlane, acme: Organization, store_dsn: str
) -> None:
    good = await control_plane.api_keys.create(acme.scope)
    async with await ControlPlane.open(store_dsn, Sealer(os.urandom(32))) as other:
        bad = await other.api_keys.create(acme.scope)
    snapshot = await control_plane.api_keys.load()
    assert [key.prefix for key in snapshot.keys] == [good.key.prefix]
    assert snapshot.unreadable == (bad.key.prefix,)


async def test_without_a_master_key_only_secrets_are_refused(acme: Organization, store_dsn: str) -> None:
    async with await ControlPlane.open(store_dsn) as unsealed:
        assert await unsealed.organizations.list_all() == [acme]
        with pytest.raises(Refused, match="AEGIS_MASTER_KEY"):
            await unsealed.api_keys.load()


async def test_deleting_an_organization_takes_its_keys(
    control_plane: ControlPlane, acme: Organization, store_dsn: str
) -> None:
    await control_plane.api_keys.create(acme.scope)
    connection = await asyncpg.connect(store_dsn)
    await connection.execute("DELETE FROM organizations")
    assert await connection.fetchval("SELECT count(*) FROM api_keys") == 0
    await connection.close()


async def test_without_migrations_it_says_what_to_run(store_dsn: str) -> None:
    async with await ControlPlane.open(store_dsn, SEALER) as control_plane:
        with pytest.raises(Unavailable, match="aegis migrate") as caught:
            await control_plane.ping()
    assert ("relation" in caught.value.reason, "relation" in str(caught.value)) == (False, True)


async def test_a_text_that_postgresql_cannot_keep_is_refused_in_our_words(
    control_plane: ControlPlane, acme: Organization
) -> None:
    with pytest.raises(Refused) as caught:
        await control_plane.api_keys.create(acme.scope, name="a\0b")
    assert caught.value.reason == "cannot create the key: a text has the character U+0000"


async def test_more_calls_than_connections_wait_for_their_turn(store_dsn: str) -> None:
    await migrate(control_plane_dsn=store_dsn)
    async with await ControlPlane.open(store_dsn, SEALER, pool_size_max=2, statement_cache_size=0) as control_plane:
        await asyncio.gather(*(control_plane.organizations.create(f"org {i}") for i in range(40)))
        assert len(await control_plane.organizations.list_all()) == 40


async def test_a_bad_address_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        async with await ControlPlane.open("postgresql://u@h/d?sslmode=nonsense") as control_plane:
            await control_plane.ping()
    assert caught.value.code == "bad_setting"


async def test_a_stopped_server_is_unavailable_and_comes_back(store_postgres_kind: Any) -> None:
    """Away at creation, then there, then away under an open pool, then there again."""
    folder = Path(tempfile.mkdtemp(prefix="aegis-test-postgres-"))
    server = store_postgres_kind(folder)
    try:
        async with await ControlPlane.open(server.dsn(), SEALER, connect_timeout_s=2) as control_plane:
            with pytest.raises(Unavailable):
                await control_plane.ping()
            server.start()
            await migrate(control_plane_dsn=server.dsn())
            await control_plane.organizations.create("acme")
            server.stop()
            for _ in range(3):
                with pytest.raises(Unavailable):
                    await control_plane.api_keys.load()
            server.start()
            assert [o.name for o in await control_plane.organizations.list_all()] == ["acme"]
    finally:
        server.stop()
        shutil.rmtree(folder)
