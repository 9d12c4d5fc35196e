"""Every change of the control plane stands in the audit log, written with it, by whom, and without secrets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from storage.actor import Actor
from storage.audit import AuditEntry, AuditSelection
from storage.control_plane import ControlPlane
from storage.organizations import Organization
from storage.scope import OrgScope
from topics.errors import Refused

HASH = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaA"
ADA = Actor("user", "1f0e", "ada@example.org", "203.0.113.9")


@pytest.fixture
async def acme(store_control_plane: ControlPlane) -> Organization:
    return await store_control_plane.organizations.create("acme")


async def log_of(control_plane: ControlPlane, scope: OrgScope, **narrow: Any) -> list[AuditEntry]:
    """Oldest first, as things happened."""
    page = await control_plane.audit.list_in(scope, AuditSelection(**narrow))
    return page.entries[::-1]


async def test_every_model_is_recorded_with_its_actor(store_control_plane: ControlPlane, acme: Organization) -> None:
    plane = store_control_plane.acting(ADA)
    user = await plane.users.create("bob@example.org", password_hash=HASH)
    await plane.memberships.add(acme.scope, user.id, "owner")
    await plane.users.set_disabled(user.id, True)
    made = await plane.api_keys.create(acme.scope, name="shop")
    await plane.api_keys.revoke(acme.scope, made.key.prefix)
    monitor = await plane.monitors.create(acme.scope, name="m", kind="metric", definition={"critical": 1})
    await plane.monitors.update(acme.scope, monitor.id, 1, enabled=False)
    await plane.monitors.delete(acme.scope, monitor.id)
    await plane.slos.create(acme.scope, name="s", definition={}, objective=0.9)
    await plane.organizations.update(acme.scope, retention_days=7)
    first, *rest = await log_of(store_control_plane, acme.scope)
    assert (first.action, first.object_kind, first.actor_kind) == ("create", "organization", "system")
    assert [(each.action, each.object_kind) for each in rest] == [
        ("create", "member"),
        ("update", "user"),
        ("create", "key"),
        ("revoke", "key"),
        ("create", "monitor"),
        ("update", "monitor"),
        ("delete", "monitor"),
        ("create", "slo"),
        ("update", "organization"),
    ]
    for entry in rest:
        assert Actor(entry.actor_kind, entry.actor_id, entry.actor_name, entry.address) == ADA  # type: ignore[arg-type]  # text
    assert (rest[0].object_id, rest[0].object_name) == (user.id, "bob@example.org")
    assert (rest[1].before, rest[1].after) == ({"disabled": False}, {"disabled": True})
    assert (rest[3].object_id, rest[3].object_name) == (made.key.prefix, "shop")
    assert (rest[-1].before, rest[-1].after) == ({"retention_days": 30}, {"retention_days": 7})


async def test_no_secret_is_in_it(store_control_plane: ControlPlane, store_dsn: str, acme: Organization) -> None:
    user = await store_control_plane.users.create("bob@example.org", password_hash=HASH)
    await store_control_plane.memberships.add(acme.scope, user.id, "owner")
    await store_control_plane.users.set_password_hash(user.id, HASH.replace("c29t", "b3Ro"))
    await store_control_plane.api_keys.create(acme.scope)
    entries = await log_of(store_control_plane, acme.scope)
    changed = next(each for each in entries if each.object_kind == "user")
    assert (changed.before, changed.after) == ({"password_hash": "(secret)"}, {"password_hash": "(secret)"})
    connection = await asyncpg.connect(store_dsn)
    everything = await connection.fetchval("SELECT string_agg(a::text, '') FROM audit_log a")
    sealed = await connection.fetchval("SELECT encode(secret_sealed, 'hex') FROM api_keys")
    await connection.close()
    assert "argon2" not in everything
    assert sealed not in everything


async def test_what_fails_is_not_recorded_and_what_changes_nothing_neither(
    store_control_plane: ControlPlane, acme: Organization
) -> None:
    plane = store_control_plane.acting(ADA)
    await plane.organizations.create("other")
    with pytest.raises(Refused):
        await plane.organizations.update(acme.scope, name="other")
    await plane.organizations.update(acme.scope, retention_days=30)
    assert [each.action for each in await log_of(store_control_plane, acme.scope)] == ["create"]


async def test_the_actor_ends_with_its_statement(store_control_plane: ControlPlane, acme: Organization) -> None:
    """The pool's connections are used again: one actor's name must not stay on them."""
    for days in range(1, 9):
        await store_control_plane.acting(ADA).organizations.update(acme.scope, retention_days=days)
        await store_control_plane.organizations.update(acme.scope, retention_days=days + 100)
    kinds = [each.actor_kind for each in await log_of(store_control_plane, acme.scope)]
    assert kinds == ["system"] + ["user", "system"] * 8


async def test_a_person_in_two_organizations_is_in_both_logs_and_a_role_in_one(
    store_control_plane: ControlPlane, acme: Organization
) -> None:
    other = await store_control_plane.organizations.create("other")
    third = await store_control_plane.organizations.create("third")
    user = await store_control_plane.users.create("bob@example.org")
    for scope in (acme.scope, other.scope):
        await store_control_plane.memberships.add(scope, user.id, "owner")
    await store_control_plane.users.set_disabled(user.id, True)
    for scope in (acme.scope, other.scope):
        kinds = [each.object_kind for each in await log_of(store_control_plane, scope)]
        assert kinds == ["organization", "member", "user"]
    assert [each.object_kind for each in await log_of(store_control_plane, third.scope)] == ["organization"]


async def test_pages_filters_and_a_cursor_that_is_none(store_control_plane: ControlPlane, acme: Organization) -> None:
    plane = store_control_plane.acting(ADA)
    for days in range(1, 6):
        await plane.organizations.update(acme.scope, retention_days=days)
    audit, seen, cursor = store_control_plane.audit, [], None
    for _ in range(3):
        page = await audit.list_in(acme.scope, AuditSelection(limit=2, cursor=cursor))
        seen += page.entries
        cursor = page.next_cursor
    assert cursor is None
    assert [int(each.id) for each in seen] == sorted((int(each.id) for each in seen), reverse=True)
    assert len({each.id for each in seen}) == 6
    assert len(await log_of(store_control_plane, acme.scope, actor_id=ADA.id)) == 5
    assert len(await log_of(store_control_plane, acme.scope, action="create")) == 1
    assert len(await log_of(store_control_plane, acme.scope, object_kind="organization", object_id=acme.id)) == 6
    assert await log_of(store_control_plane, acme.scope, end=datetime(2020, 1, 1, tzinfo=UTC)) == []
    for cursor in ("", "x", "-1", "9" * 19, "1.5", "\N{SUPERSCRIPT TWO}"):
        with pytest.raises(Refused) as caught:
            await audit.list_in(acme.scope, AuditSelection(cursor=cursor))
        assert caught.value.path == "cursor"


async def test_it_is_bounded_by_age_and_by_rows_and_not_rewritten(
    store_control_plane: ControlPlane, store_dsn: str, acme: Organization
) -> None:
    other = await store_control_plane.organizations.create("other")
    for days in range(1, 10):
        await store_control_plane.organizations.update(acme.scope, retention_days=days)
    assert await store_control_plane.audit.trim(days=1, rows_max=4) == 6
    assert [each.after["retention_days"] for each in await log_of(store_control_plane, acme.scope)] == [6, 7, 8, 9]
    assert len(await log_of(store_control_plane, other.scope)) == 1
    connection = await asyncpg.connect(store_dsn)
    with pytest.raises(asyncpg.RestrictViolationError):
        await connection.execute("UPDATE audit_log SET actor_name = 'somebody else'")
    await connection.close()
    assert await store_control_plane.audit.trim(days=0, rows_max=4) == 5
    assert await log_of(store_control_plane, acme.scope) == []


async def test_long_values_are_told_by_their_size(store_control_plane: ControlPlane, acme: Organization) -> None:
    definition = {"query": "x" * 5000}
    await store_control_plane.monitors.create(acme.scope, name="m", kind="logs", definition=definition)
    (entry,) = await log_of(store_control_plane, acme.scope, object_kind="monitor")
    assert entry.after["definition"] == "(5013 bytes)"


async def test_what_was_done_to_an_organization_that_is_gone_stays_known(
    store_control_plane: ControlPlane, acme: Organization
) -> None:
    await store_control_plane.api_keys.create(acme.scope)
    await store_control_plane.acting(ADA).organizations.delete(acme.scope)
    entries = await log_of(store_control_plane, acme.scope)
    assert {(each.action, each.object_kind) for each in entries[2:]} == {("delete", "key"), ("delete", "organization")}


async def test_an_actor_from_outside_cannot_break_the_log(
    store_control_plane: ControlPlane, acme: Organization
) -> None:
    odd = Actor("token", 'x" , {\0' * 100, "\N{SNOWMAN}'; DROP TABLE audit_log; --" * 50, "a" * 500)
    await store_control_plane.acting(odd).organizations.update(acme.scope, retention_days=3)
    entry = (await log_of(store_control_plane, acme.scope))[-1]
    assert (entry.actor_kind, len(entry.actor_name), len(entry.address)) == ("token", 300, 100)
