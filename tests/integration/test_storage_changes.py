"""Changes of the control plane are heard, also after PostgreSQL was away, and revocations arrive in time without them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from gateway.keys import KeyDirectory, load_ingest_keys
from storage.changes import ANYTHING, Change, ChangeListener
from storage.control_plane import ControlPlane
from storage.migrations import migrate
from storage.sealing import Sealer

HASH = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaA"


async def eventually(true: Callable[[], bool], within_s: float = 10.0) -> float:
    """Wait; returns how many seconds it took."""
    began = time.monotonic()
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.001)
    return time.monotonic() - began


@asynccontextmanager
async def listening(dsn: str, **options: float) -> AsyncIterator[tuple[ChangeListener, list[Change]]]:
    heard: list[Change] = []
    listener = ChangeListener(dsn, heard.append, **options)
    await listener.start()
    try:
        yield listener, heard
    finally:
        await listener.close()


@asynccontextmanager
async def directory_of(control_plane: ControlPlane, dsn: str, *, refresh_s: float) -> AsyncIterator[KeyDirectory]:
    """As a gateway has it."""
    keys = KeyDirectory(partial(load_ingest_keys, control_plane), refresh_s=refresh_s)
    await keys.start()
    listener = ChangeListener(dsn, lambda change: keys.refresh() if change.concerns("api_keys") else None)
    await listener.start()
    try:
        await eventually(lambda: listener.connected)
        yield keys
    finally:
        await listener.close()
        await keys.close()


async def test_every_change_is_heard_with_its_organization(store_control_plane: ControlPlane, store_dsn: str) -> None:
    plane = store_control_plane
    async with listening(store_dsn) as (listener, heard):
        await eventually(lambda: listener.connected)
        assert heard == [ANYTHING]
        heard.clear()

        async def changes_of(work: Any) -> tuple[Any, list[Change]]:
            heard.clear()
            result = await work
            await eventually(lambda: bool(heard))
            await asyncio.sleep(0.05)
            return result, list(heard)

        acme, changes = await changes_of(plane.organizations.create("acme"))
        assert changes == [Change("organizations", acme.id)]
        new, changes = await changes_of(plane.api_keys.create(acme.scope))
        assert changes == [Change("api_keys", acme.id)]
        _, changes = await changes_of(plane.api_keys.revoke(acme.scope, new.key.prefix))
        assert changes == [Change("api_keys", acme.id)]
        ada, changes = await changes_of(plane.users.create("ada@example.org", password_hash=HASH))
        assert changes == [Change("users", None)]
        _, changes = await changes_of(plane.memberships.add(acme.scope, ada.id, "owner"))
        assert changes == [Change("memberships", acme.id)]
        made, changes = await changes_of(plane.monitors.create(acme.scope, name="m", kind="metric", definition={}))
        assert changes == [Change("monitors", acme.id)]
        _, changes = await changes_of(plane.monitors.delete(acme.scope, made.id))
        assert changes == [Change("monitors", acme.id)]
        _, changes = await changes_of(plane.slos.create(acme.scope, name="s", definition={}, objective=0.9))
        assert changes == [Change("slos", acme.id)]
        _, changes = await changes_of(plane.organizations.delete(acme.scope))
        assert Change("api_keys", acme.id) in changes
        assert Change("organizations", acme.id) in changes


async def test_what_is_rolled_back_is_not_heard(store_control_plane: ControlPlane, store_dsn: str) -> None:
    async with listening(store_dsn) as (listener, heard):
        await eventually(lambda: listener.connected)
        connection = await asyncpg.connect(store_dsn)
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("INSERT INTO organizations (name) VALUES ('never')")
        await transaction.rollback()
        await connection.close()
        acme = await store_control_plane.organizations.create("acme")
        await eventually(lambda: Change("organizations", acme.id) in heard)
        assert heard == [ANYTHING, Change("organizations", acme.id)]


async def test_a_listener_that_cannot_be_told_goes_on(store_control_plane: ControlPlane, store_dsn: str) -> None:
    heard: list[Change] = []

    def fail_first(change: Change) -> None:
        heard.append(change)
        if len(heard) == 2:
            raise RuntimeError("not now")

    listener = ChangeListener(store_dsn, fail_first)
    await listener.start()
    try:
        await eventually(lambda: listener.connected)
        for name in ("a", "b"):
            await store_control_plane.organizations.create(name)
        await eventually(lambda: len(heard) == 3)
    finally:
        await listener.close()


async def test_a_connection_that_hangs_is_replaced(store_control_plane: ControlPlane, store_dsn: str) -> None:
    """A backend that is stopped neither answers nor closes, as one behind a broken network."""
    async with listening(store_dsn, keepalive_s=0.3) as (listener, heard):
        await eventually(lambda: listener.connected)
        connection = await asyncpg.connect(store_dsn)
        pid = await connection.fetchval(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'aegis-changes'"
        )
        await connection.close()
        os.kill(pid, signal.SIGSTOP)
        try:
            await eventually(lambda: heard.count(ANYTHING) == 2)
            acme = await store_control_plane.organizations.create("acme")
            await eventually(lambda: Change("organizations", acme.id) in heard)
        finally:
            os.kill(pid, signal.SIGCONT)


async def test_a_server_that_was_away_counts_as_a_change(store_postgres_kind: Any) -> None:
    """Away at the start, there, killed, there again: each time it comes anything may have changed."""
    folder = Path(tempfile.mkdtemp(prefix="aegis-test-postgres-"))
    server = store_postgres_kind(folder)
    try:
        async with listening(server.dsn()) as (listener, heard):
            await asyncio.sleep(0.3)
            assert heard == []
            server.start()
            await eventually(lambda: heard == [ANYTHING])
            await migrate(control_plane_dsn=server.dsn())
            for times in (2, 3):
                server.kill()
                await eventually(lambda: not listener.connected)
                server.start()
                await eventually(lambda times=times: heard.count(ANYTHING) == times)  # type: ignore[misc]  # mypy has no type for a default
            async with await ControlPlane.open(server.dsn()) as control_plane:
                acme = await control_plane.organizations.create("acme")
                await eventually(lambda: heard[-1] == Change("organizations", acme.id))
    finally:
        server.stop()
        shutil.rmtree(folder)


async def test_a_revoked_key_stops_within_milliseconds(store_control_plane: ControlPlane, store_dsn: str) -> None:
    """With no periodic reread, so that it is the announcement that does it."""
    acme = await store_control_plane.organizations.create("acme")
    took: list[float] = []
    async with directory_of(store_control_plane, store_dsn, refresh_s=60) as keys:
        for _ in range(20):
            new = await store_control_plane.api_keys.create(acme.scope)
            prefix = new.key.prefix
            await eventually(lambda prefix=prefix: keys.known(prefix) is not None)  # type: ignore[misc]  # as above
            await asyncio.sleep(0.1)
            await store_control_plane.api_keys.revoke(acme.scope, prefix)
            took.append(await eventually(lambda prefix=prefix: keys.known(prefix) is None))  # type: ignore[misc]  # as above
    print(f"revoke -> unknown: median {statistics.median(took) * 1000:.1f} ms, most {max(took) * 1000:.1f} ms")
    assert max(took) < 2.0


async def test_a_revoked_key_stops_within_two_seconds_when_the_announcement_is_lost(
    store_control_plane: ControlPlane, store_dsn: str
) -> None:
    acme = await store_control_plane.organizations.create("acme")
    new = await store_control_plane.api_keys.create(acme.scope)
    connection = await asyncpg.connect(store_dsn)
    await connection.execute("ALTER TABLE api_keys DISABLE TRIGGER api_keys_announce_change")
    await connection.close()
    async with directory_of(store_control_plane, store_dsn, refresh_s=1.5) as keys:
        assert keys.known(new.key.prefix) is not None
        await store_control_plane.api_keys.revoke(acme.scope, new.key.prefix)
        assert await eventually(lambda: keys.known(new.key.prefix) is None) < 2.0


async def test_a_key_that_was_revoked_while_postgres_was_away_stops_when_it_is_back(store_postgres_kind: Any) -> None:
    folder = Path(tempfile.mkdtemp(prefix="aegis-test-postgres-"))
    server = store_postgres_kind(folder)
    server.start()
    try:
        await migrate(control_plane_dsn=server.dsn())
        async with await ControlPlane.open(server.dsn(), Sealer(os.urandom(32)), connect_timeout_s=2) as control_plane:
            acme = await control_plane.organizations.create("acme")
            new = await control_plane.api_keys.create(acme.scope)
            async with directory_of(control_plane, server.dsn(), refresh_s=60) as keys:
                server.kill()
                await asyncio.sleep(0.5)
                assert keys.known(new.key.prefix) is not None, "the last snapshot serves on"
                server.start()
                other = await asyncpg.connect(server.dsn())
                await other.execute("UPDATE api_keys SET revoked_at = now()")
                await other.close()
                await eventually(lambda: keys.known(new.key.prefix) is None)
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.mark.parametrize("payload", ["", "future_table", "api_keys not-a-uuid and more"])
async def test_a_payload_of_another_version_does_no_harm(store_dsn: str, payload: str) -> None:
    async with listening(store_dsn) as (listener, heard):
        await eventually(lambda: listener.connected)
        connection = await asyncpg.connect(store_dsn)
        await connection.execute("SELECT pg_notify('aegis_changes', $1)", payload)
        await connection.close()
        await eventually(lambda: len(heard) == 2)
        assert listener.connected
