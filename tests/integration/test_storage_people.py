"""Users and memberships on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from storage.control_plane import ControlPlane
from storage.organizations import Organization
from storage.scope import OrgScope
from storage.users import User
from topics.errors import Refused

UNKNOWN = "00000000-0000-4000-8000-000000000000"
HASH = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaA"


@pytest.fixture
async def acme(store_control_plane: ControlPlane) -> Organization:
    return await store_control_plane.organizations.create("acme")


@pytest.fixture
async def other(store_control_plane: ControlPlane) -> Organization:
    return await store_control_plane.organizations.create("other")


@pytest.fixture
async def ada(store_control_plane: ControlPlane, acme: Organization) -> User:
    """The owner of acme."""
    user = await store_control_plane.users.create("Ada@Example.org", name="Ada", password_hash=HASH)
    await store_control_plane.memberships.add(acme.scope, user.id, "owner")
    return user


@pytest.fixture
async def bob(store_control_plane: ControlPlane) -> User:
    return await store_control_plane.users.create("bob@example.org")


async def refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        await call
    return caught.value.code, caught.value.path


async def test_a_user_is_found_by_id_and_by_address_in_any_case(store_control_plane: ControlPlane, ada: User) -> None:
    users = store_control_plane.users
    assert (ada.email, ada.name, ada.disabled) == ("Ada@Example.org", "Ada", False)
    assert await users.get(ada.id) == ada
    assert await users.get("aDA@eXAMPLE.ORG") == ada
    assert await refusal(users.get("nobody@example.org")) == ("not_found", "user_id")
    assert await refusal(users.get(UNKNOWN)) == ("not_found", "user_id")


async def test_an_address_is_taken_once_whatever_its_case(store_control_plane: ControlPlane, ada: User) -> None:
    assert await refusal(store_control_plane.users.create("ada@EXAMPLE.org")) == ("conflict", "email")


@pytest.mark.parametrize("email", ["", "a", "a@", "@b", "a b@c", "a@b\n", "a@b@c", f"{'x' * 250}@b.org", "a@\x00"])
async def test_a_bad_address_is_refused(store_control_plane: ControlPlane, email: str) -> None:
    assert (await refusal(store_control_plane.users.create(email)))[0] == "invalid_field"


@pytest.mark.parametrize("password_hash", ["secret", "$2b$12$abc", "", "$argon2$", "$argon2id$" + "x" * 600])
async def test_only_an_argon2_hash_is_kept(store_control_plane: ControlPlane, ada: User, password_hash: str) -> None:
    users = store_control_plane.users
    assert await refusal(users.set_password_hash(ada.id, password_hash)) == ("invalid_field", "password_hash")
    login = await users.find_login(ada.email)
    assert login is not None
    assert login.password_hash == HASH


async def test_a_login_has_its_hash_and_does_not_show_it(store_control_plane: ControlPlane, ada: User) -> None:
    users = store_control_plane.users
    login = await users.find_login("ada@example.org")
    assert login is not None
    assert (login.user, login.password_hash) == (ada, HASH)
    assert HASH not in repr(login)
    assert await users.find_login("nobody@example.org") is None
    await users.set_password_hash(ada.id, None)
    login = await users.find_login("ada@example.org")
    assert login is not None
    assert login.password_hash is None


async def test_a_disabled_user_stays_a_member(store_control_plane: ControlPlane, acme: Organization, ada: User) -> None:
    disabled = await store_control_plane.users.set_disabled(ada.id, True)
    assert disabled.disabled
    assert [(m.user_id, m.disabled) for m in await store_control_plane.memberships.list_in(acme.scope)] == [
        (ada.id, True)
    ]
    assert not (await store_control_plane.users.set_disabled(ada.id, False)).disabled


async def test_members_of_one_organization_are_not_those_of_another(
    store_control_plane: ControlPlane, acme: Organization, other: Organization, ada: User
) -> None:
    members = store_control_plane.memberships
    own = await members.get(acme.scope, ada.id)
    assert (own.organization_id, own.role, own.email) == (acme.id, "owner", ada.email)
    assert await members.list_in(acme.scope) == [own]
    assert await members.list_in(other.scope) == []
    assert await refusal(members.get(other.scope, ada.id)) == ("not_found", "user_id")
    assert await refusal(members.change_role(other.scope, ada.id, "viewer")) == ("not_found", "user_id")
    assert await refusal(members.remove(other.scope, ada.id)) == ("not_found", "user_id")
    assert await members.list_in(acme.scope) == [own]


async def test_a_user_belongs_to_several_organizations_and_once_to_each(
    store_control_plane: ControlPlane, acme: Organization, other: Organization, ada: User
) -> None:
    members = store_control_plane.memberships
    await members.add(other.scope, ada.id, "viewer")
    assert [(m.organization_id, m.role) for m in await members.list_of_user(ada.id)] == [
        (acme.id, "owner"),
        (other.id, "viewer"),
    ]
    assert await refusal(members.add(acme.scope, ada.id, "viewer")) == ("conflict", "user_id")


async def test_a_bad_membership_is_refused(store_control_plane: ControlPlane, acme: Organization, bob: User) -> None:
    members = store_control_plane.memberships
    assert await refusal(members.add(acme.scope, bob.id, "king")) == ("invalid_field", "role")
    assert await refusal(members.add(acme.scope, UNKNOWN, "member")) == ("invalid_field", "user_id")
    assert await refusal(members.add(OrgScope(UNKNOWN), bob.id, "member")) == ("invalid_field", "organization_id")


async def test_the_last_owner_cannot_go_in_any_way(
    store_control_plane: ControlPlane, acme: Organization, ada: User, bob: User
) -> None:
    members = store_control_plane.memberships
    await members.add(acme.scope, bob.id, "admin")
    last = ("conflict", "role")
    assert await refusal(members.change_role(acme.scope, ada.id, "admin")) == last
    assert await refusal(members.remove(acme.scope, ada.id)) == last
    assert await refusal(store_control_plane.users.delete(ada.id)) == last
    await members.change_role(acme.scope, bob.id, "owner")
    assert (await members.change_role(acme.scope, ada.id, "member")).role == "member"
    await members.remove(acme.scope, ada.id)
    assert [m.user_id for m in await members.list_in(acme.scope)] == [bob.id]


async def test_two_owners_who_step_down_at_once_leave_one(
    store_control_plane: ControlPlane, acme: Organization, ada: User, bob: User
) -> None:
    members = store_control_plane.memberships
    await members.add(acme.scope, bob.id, "owner")
    for _ in range(20):
        outcomes = await asyncio.gather(
            members.change_role(acme.scope, ada.id, "admin"),
            members.change_role(acme.scope, bob.id, "admin"),
            return_exceptions=True,
        )
        assert sum(isinstance(outcome, Refused) for outcome in outcomes) == 1, outcomes
        for user in (ada, bob):
            await members.change_role(acme.scope, user.id, "owner")


async def test_an_organization_goes_with_its_last_owner(
    store_control_plane: ControlPlane, acme: Organization, ada: User
) -> None:
    await store_control_plane.organizations.delete(acme.scope)
    assert await store_control_plane.memberships.list_of_user(ada.id) == []
    await store_control_plane.users.delete(ada.id)
    assert await refusal(store_control_plane.users.get(ada.id)) == ("not_found", "user_id")


async def test_an_organization_is_changed_alone(
    store_control_plane: ControlPlane, acme: Organization, other: Organization
) -> None:
    organizations = store_control_plane.organizations
    changed = await organizations.update(acme.scope, retention_days=90, settings={"ingest": {"requests_per_minute": 5}})
    assert (changed.name, changed.retention_days) == ("acme", 90)
    assert dict(changed.settings) == {"ingest": {"requests_per_minute": 5}}
    assert (await organizations.update(acme.scope, name="acme 2")).settings == changed.settings
    assert await organizations.get(other.id) == other
    assert await refusal(organizations.update(acme.scope, name="other")) == ("conflict", "name")
    for settings, path in (
        ({"ingest": {"requests_per_minute": 0}}, "settings.ingest.requests_per_minute"),
        ({"privacy": {"patterns": [{"name": "x", "pattern": "(("}]}}, "settings.privacy.patterns[0].pattern"),
        ({"rate_limits": {}}, "settings"),
    ):
        assert await refusal(organizations.update(acme.scope, settings=settings)) == ("invalid_field", path)
    assert await refusal(organizations.update(OrgScope(UNKNOWN), name="x")) == ("not_found", "organization")


async def test_a_key_of_another_organization_cannot_be_revoked(
    store_control_plane: ControlPlane, acme: Organization, other: Organization
) -> None:
    keys = store_control_plane.api_keys
    new = await keys.create(acme.scope)
    assert await refusal(keys.revoke(other.scope, new.key.prefix)) == ("not_found", "prefix")
    assert len((await keys.load()).keys) == 1
    assert (await keys.revoke(acme.scope, new.key.prefix)).revoked_at is not None
    assert (await keys.load()).keys == ()
