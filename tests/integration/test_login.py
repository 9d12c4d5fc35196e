"""Logins: what gives tokens and what does not, what a refresh token is worth once it is spent, and who must wait."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from control_api import PASSWORD, ControlApi

from query.api_token_text import new_api_token
from query.callers import Callers
from query.control.app import keep_trimmed
from query.control.passwords import Passwords
from query.control.sign_in import SignIn
from query.tokens import Tokens
from storage.actor import Actor
from storage.audit import AuditSelection
from topics.errors import Refused

ANOTHER = "staple of another day"


def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def refreshed(api: ControlApi, text: str) -> httpx.Response:
    return await api.http.post("/auth/refresh", json={"refresh_token": text})


async def test_a_login_gives_tokens_that_work(control_api: ControlApi) -> None:
    user = await control_api.user("viewer")
    answer = await control_api.log_in(user)
    granted = answer.json()
    assert (granted["token_type"], granted["expires_in"]) == ("Bearer", 900)
    assert (granted["organization_id"], granted["role"]) == (control_api.ours.id, "viewer")
    assert answer.headers["cache-control"] == "no-store"
    me = (await control_api.ask("GET", "/auth/me", granted["access_token"])).json()
    assert (me["kind"], me["id"], me["name"], me["role"]) == ("user", user.id, user.email, "viewer")
    assert "org:admin" not in me["permissions"]
    again = (await refreshed(control_api, granted["refresh_token"])).json()
    assert again["refresh_token"] != granted["refresh_token"]
    assert (await control_api.ask("GET", "/auth/me", again["access_token"])).status_code == 200
    upper = await control_api.http.post("/auth/login", json={"email": user.email.upper(), "password": PASSWORD})
    assert upper.status_code == 200


async def test_whatever_is_wrong_is_told_alike(control_api: ControlApi) -> None:
    user, disabled, elsewhere = [await control_api.user() for _ in range(3)]
    await control_api.plane.users.set_disabled(disabled.id, True)
    await control_api.plane.users.set_password_hash(elsewhere.id, None)
    attempts = [
        (user.email, PASSWORD + "x"),
        (user.email, PASSWORD.upper()),
        ("nobody@example.org", PASSWORD),
        ("' OR 1=1 --@x", PASSWORD),
        (disabled.email, PASSWORD),
        (elsewhere.email, PASSWORD),
    ]
    said = set()
    for email, password in attempts:
        answer = await control_api.http.post("/auth/login", json={"email": email, "password": password})
        assert told(answer) == (401, "bad_login")
        said.add(answer.text)
    assert len(said) == 1


async def test_an_unknown_address_takes_as_long_as_a_wrong_password(control_api: ControlApi) -> None:
    """With parameters that take some 30 ms, so that a check left out would show."""
    slow = Passwords(PasswordHasher(time_cost=4, memory_cost=16384, parallelism=1))
    user = await control_api.user()
    await control_api.plane.users.set_password_hash(user.id, await slow.hash(PASSWORD))
    sign_in = SignIn(control_api.plane, control_api.tokens, slow, access_token_s=60, refresh_token_s=3600)

    async def least(email: str) -> float:
        took = []
        for _ in range(5):
            began = time.perf_counter()
            with pytest.raises(Refused):
                await sign_in.log_in(email, "wrong password", None, "")
            took.append(time.perf_counter() - began)
        return min(took)

    known, unknown = await least(user.email), await least("nobody@example.org")
    slow.close()
    print(f"wrong password {known * 1000:.1f} ms, unknown address {unknown * 1000:.1f} ms")
    assert known > 0.005
    assert 0.5 < unknown / known < 2.0


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"email": "a@b", "password": ""}, "password"),
        ({"email": "a@b", "password": "x" * 257}, "password"),
        ({"email": "x" * 255, "password": "x"}, "email"),
        ({"email": "a@b", "password": ["x"]}, "password"),
        ({"email": "a@b", "password": "x", "role": "owner"}, "role"),
        ({"email": "a@b"}, "password"),
        ({"email": "a@b", "password": "x", "organization_id": "x" * 37}, "organization_id"),
    ],
)
async def test_a_malformed_login_names_its_field(control_api: ControlApi, body: dict[str, Any], path: str) -> None:
    answer = await control_api.http.post("/auth/login", json=body)
    assert told(answer) == (422, "invalid_field")
    assert answer.json()["error"]["details"][0]["path"] == path


async def test_text_that_is_no_unicode_is_refused(control_api: ControlApi) -> None:
    for field in ("email", "password"):
        body = '{"email": "a@b", "password": "x"}'.replace("a@b" if field == "email" else "x", "a@\\ud800")
        answer = await control_api.http.post("/auth/login", content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (401, 422), answer.text


async def test_who_belongs_to_several_organizations_chooses(control_api: ControlApi) -> None:
    user = await control_api.user("viewer")
    await control_api.plane.memberships.add(control_api.theirs.scope, user.id, "owner")
    answer = await control_api.log_in(user)
    assert told(answer) == (409, "choose_organization")
    choices = {each["message"] for each in answer.json()["error"]["details"]}
    assert choices == {
        f"{control_api.ours.id} {control_api.ours.name} (viewer)",
        f"{control_api.theirs.id} {control_api.theirs.name} (owner)",
    }
    granted = await control_api.logged_in(user, organization_id=control_api.theirs.id)
    assert (granted["organization_id"], granted["role"]) == (control_api.theirs.id, "owner")
    wrong = await control_api.log_in(user, "wrong password")
    assert control_api.ours.name not in wrong.text


async def test_an_organization_that_is_not_ones_own_is_as_unknown_as_none(control_api: ControlApi) -> None:
    user, lonely = await control_api.user("viewer"), await control_api.user(None)
    foreign = await control_api.log_in(user, organization_id=control_api.theirs.id)
    unknown = await control_api.log_in(user, organization_id="00000000-0000-4000-8000-000000000000")
    assert told(foreign) == (403, "forbidden")
    assert foreign.text == unknown.text
    assert told(await control_api.log_in(lonely)) == (403, "forbidden")


async def test_a_spent_refresh_token_gets_its_answer_again_for_a_while(control_api: ControlApi) -> None:
    first = (await control_api.logged_in(await control_api.user()))["refresh_token"]
    second = (await refreshed(control_api, first)).json()["refresh_token"]
    assert (await refreshed(control_api, first)).json()["refresh_token"] == second
    third = (await refreshed(control_api, second)).json()["refresh_token"]
    assert third != second
    assert (await refreshed(control_api, second)).json()["refresh_token"] == third


async def test_two_requests_at_once_with_one_refresh_token_get_the_same(control_api: ControlApi) -> None:
    token = (await control_api.logged_in(await control_api.user()))["refresh_token"]
    found = await asyncio.gather(*(refreshed(control_api, token) for _ in range(5)))
    assert [each.status_code for each in found] == [200] * 5
    assert len({each.json()["refresh_token"] for each in found}) == 1


@pytest.mark.parametrize("when", ["late", "after the next"])
async def test_a_spent_refresh_token_that_comes_again_ends_the_session(control_api: ControlApi, when: str) -> None:
    """Late, or once its successor was used: then two have it."""
    user = await control_api.user()
    granted, other = await control_api.logged_in(user), await control_api.logged_in(user)
    second = (await refreshed(control_api, granted["refresh_token"])).json()
    if when == "late":
        await control_api.sql(
            "UPDATE sessions SET rotated_at = now() - interval '31 seconds' WHERE user_id = $1::text::uuid", user.id
        )
    else:
        second = (await refreshed(control_api, second["refresh_token"])).json()
    assert told(await refreshed(control_api, granted["refresh_token"])) == (401, "bad_token")
    assert told(await refreshed(control_api, second["refresh_token"])) == (401, "bad_token")
    await eventually_out(control_api, second["access_token"])
    # Another login of the same user is another session.
    assert (await refreshed(control_api, other["refresh_token"])).status_code == 200
    assert (await control_api.ask("GET", "/auth/me", other["access_token"])).status_code == 200


async def eventually_out(api: ControlApi, access_token: str) -> None:
    async with asyncio.timeout(2.0):
        while (await api.ask("GET", "/auth/me", access_token)).status_code != 401:
            await asyncio.sleep(0.02)


async def test_a_successor_under_another_key_is_not_given(control_api: ControlApi) -> None:
    """The signing key was changed after a rotation: what follows now is not what was given out then."""
    first = (await control_api.logged_in(await control_api.user()))["refresh_token"]
    second = (await refreshed(control_api, first)).json()["refresh_token"]
    changed = SignIn(
        control_api.plane, Tokens("c" * 32), control_api.passwords, access_token_s=60, refresh_token_s=3600
    )
    with pytest.raises(Refused) as caught:
        await changed.refresh(first)
    assert caught.value.code == "bad_token"
    assert told(await refreshed(control_api, second)) == (401, "bad_token")


async def test_both_tables_are_kept_within_their_bounds(control_api: ControlApi) -> None:
    user = await control_api.user()
    await control_api.logged_in(user)
    for days in range(1, 12):
        await control_api.plane.organizations.update(control_api.ours.scope, retention_days=days)
    count = "SELECT count(*) FROM audit_log WHERE organization_id = $1::text::uuid"
    assert await control_api.sql(count, control_api.ours.id) > 11
    over = "UPDATE sessions SET expires_at = now() - interval '2 days' WHERE user_id = $1::text::uuid"
    await control_api.sql(over, user.id)
    trimming = asyncio.create_task(keep_trimmed(control_api.plane, audit_days=9, audit_rows_max=10))
    left = "SELECT count(*) FROM sessions WHERE user_id = $1::text::uuid"
    async with asyncio.timeout(5):
        while await control_api.sql(left, user.id):
            await asyncio.sleep(0.02)
    assert await control_api.sql(count, control_api.ours.id) == 10
    trimming.cancel()


@pytest.mark.parametrize("logged_out", [False, True])
async def test_who_is_removed_and_added_again_must_log_in_again(control_api: ControlApi, logged_out: bool) -> None:
    """Whoever else holds an access token of the time before was thrown out with the membership."""
    user = await control_api.user("admin")
    before = await control_api.logged_in(user)
    assert (await control_api.ask("GET", "/auth/me", before["access_token"])).status_code == 200
    if logged_out:
        await control_api.http.post("/auth/logout", json={"refresh_token": before["refresh_token"]})
    await control_api.plane.memberships.remove(control_api.ours.scope, user.id)
    await control_api.plane.memberships.add(control_api.ours.scope, user.id, "admin")
    # A token that nobody knows is looked for in what is read after the question, as is then all the rest.
    assert (await control_api.ask("GET", "/auth/me", str(new_api_token()))).status_code == 401
    assert told(await control_api.ask("GET", "/auth/me", before["access_token"])) == (401, "bad_token")
    assert told(await refreshed(control_api, before["refresh_token"])) == (401, "bad_token")
    again = await control_api.logged_in(user)
    assert (await control_api.ask("GET", "/auth/me", again["access_token"])).status_code == 200
    await control_api.plane.sessions.trim()
    assert await control_api.sql("SELECT count(*) FROM gone_sessions") >= 1
    await control_api.sql("UPDATE gone_sessions SET gone_at = now() - interval '2 days'")
    await control_api.plane.sessions.trim()
    assert await control_api.sql("SELECT count(*) FROM gone_sessions") == 0


@pytest.mark.parametrize("how", ["expired", "disabled", "removed", "logged out"])
async def test_a_session_that_is_over_is_not_refreshed(control_api: ControlApi, how: str) -> None:
    await control_api.user()
    user = await control_api.user("member")
    granted = await control_api.logged_in(user)
    if how == "expired":
        await control_api.sql("UPDATE sessions SET expires_at = now() WHERE user_id = $1::text::uuid", user.id)
    elif how == "disabled":
        await control_api.plane.users.set_disabled(user.id, True)
        await control_api.plane.users.set_disabled(user.id, False)
    elif how == "removed":
        await control_api.plane.memberships.remove(control_api.ours.scope, user.id)
    else:
        body = {"refresh_token": granted["refresh_token"]}
        for _ in range(2):
            assert (await control_api.http.post("/auth/logout", json=body)).json() == {"logged_out": True}
    assert told(await refreshed(control_api, granted["refresh_token"])) == (401, "bad_token")
    if how != "expired":
        await eventually_out(control_api, granted["access_token"])


async def test_what_is_no_refresh_token_ends_nothing(control_api: ControlApi) -> None:
    granted = await control_api.logged_in(await control_api.user())
    good = granted["refresh_token"]
    for text in (
        "",
        "x",
        "aer_",
        good[:-1],
        good + "x",
        good.replace("aer_", "aet_"),
        "aer_" + "A" * 75,
        "aer_" + "\N{SNOWMAN}" * 75,
    ):
        answer = await control_api.http.post("/auth/refresh", json={"refresh_token": text})
        assert answer.status_code in (401, 422)
        assert (await control_api.http.post("/auth/logout", json={"refresh_token": text or "x"})).status_code == 200
    assert told(await refreshed(control_api, granted["access_token"]))[0] in (401, 422)
    assert (await control_api.ask("GET", "/auth/me", good)).status_code == 401
    assert (await refreshed(control_api, good)).status_code == 200


async def test_nothing_of_a_token_or_password_is_stored(control_api: ControlApi) -> None:
    user = await control_api.user()
    token = (await control_api.logged_in(user))["refresh_token"]
    kept = await control_api.sql("SELECT s::text FROM sessions s WHERE user_id = $1::text::uuid", user.id)
    account = await control_api.sql("SELECT u::text FROM users u WHERE id = $1::text::uuid", user.id)
    for part in (token, token[4:36], token[36:]):
        assert part not in kept
    assert PASSWORD not in account
    assert "$argon2id$" in account


async def test_who_cannot_issue_tokens_logs_nobody_in(control_api: ControlApi, tmp_path: Any) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    from query.signing import key_files

    public = Ed25519PrivateKey.generate().public_key()
    (tmp_path / "public.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    tokens = Tokens(key_files("EdDSA", None, tmp_path / "public.pem"))
    sign_in = SignIn(control_api.plane, tokens, control_api.passwords, access_token_s=60, refresh_token_s=3600)
    user = await control_api.user()
    for call in (sign_in.log_in(user.email, PASSWORD, None, ""), sign_in.refresh("aer_" + "A" * 75)):
        with pytest.raises(Refused) as caught:
            await call
        assert caught.value.code == "not_configured"


async def test_failures_are_counted_by_e_mail_and_come_back_with_time(control_api: ControlApi) -> None:
    user, other = await control_api.user(), await control_api.user()
    for _ in range(10):
        assert told(await control_api.log_in(user, "wrong password")) == (401, "bad_login")
    throttled = await control_api.log_in(user)
    assert told(throttled) == (429, "rate_limited")
    assert 1 <= int(throttled.headers["retry-after"]) <= 30
    assert (await control_api.log_in(other)).status_code == 200
    control_api.clock[0] += 30
    assert (await control_api.log_in(user)).status_code == 200


async def test_a_hundred_guesses_at_once_are_a_hundred_and_good_logins_cost_nothing(control_api: ControlApi) -> None:
    user = await control_api.user()
    for _ in range(15):
        assert (await control_api.log_in(user)).status_code == 200
    found = await asyncio.gather(*(control_api.log_in(user, f"wrong password {i}") for i in range(100)))
    assert [each.status_code for each in found].count(401) == 10


async def test_failures_are_counted_by_address_whatever_the_e_mail(control_api: ControlApi) -> None:
    seen = []
    for i in range(40):
        body = {"email": f"{i}@example.org", "password": "wrong password"}
        seen.append((await control_api.http.post("/auth/login", json=body)).status_code)
    assert (seen.count(401), seen.count(429)) == (30, 10)


async def test_old_parameters_are_renewed_with_the_next_login(control_api: ControlApi) -> None:
    user = await control_api.user()
    old = PasswordHasher(time_cost=2, memory_cost=32, parallelism=1).hash(PASSWORD)
    await control_api.plane.users.set_password_hash(user.id, old)
    assert (await control_api.log_in(user, "wrong password")).status_code == 401
    kept = await control_api.plane.users.find_login(user.email)
    assert kept is not None
    assert kept.password_hash == old
    assert (await control_api.log_in(user)).status_code == 200
    renewed = await control_api.plane.users.find_login(user.email)
    assert renewed is not None
    assert renewed.password_hash is not None
    assert "m=64,t=1,p=1" in renewed.password_hash
    assert (await control_api.log_in(user)).status_code == 200


async def test_a_changed_password_ends_the_other_sessions(control_api: ControlApi) -> None:
    user = await control_api.user("member")
    mine, others = await control_api.logged_in(user), await control_api.logged_in(user)
    body = {"current_password": PASSWORD, "new_password": ANOTHER}
    answer = await control_api.ask("POST", "/auth/password", mine["access_token"], body)
    assert answer.json() == {"changed": True}
    assert told(await refreshed(control_api, others["refresh_token"])) == (401, "bad_token")
    await eventually_out(control_api, others["access_token"])
    assert (await control_api.ask("GET", "/auth/me", mine["access_token"])).status_code == 200
    assert (await refreshed(control_api, mine["refresh_token"])).status_code == 200
    assert told(await control_api.log_in(user)) == (401, "bad_login")
    assert (await control_api.log_in(user, ANOTHER)).status_code == 200
    (entry, *_) = (
        await control_api.plane.audit.list_in(control_api.ours.scope, AuditSelection(object_kind="user"))
    ).entries
    told_of = Actor(entry.actor_kind, entry.actor_id, entry.actor_name, entry.address)  # type: ignore[arg-type]  # text
    assert told_of == Actor("user", user.id, user.email, "203.0.113.9")
    assert entry.after == {"password_hash": "(secret)"}


@pytest.mark.parametrize(
    ("body", "status", "path"),
    [
        ({"current_password": "wrong password", "new_password": ANOTHER}, 401, "current_password"),
        ({"current_password": PASSWORD, "new_password": "short"}, 422, "new_password"),
        ({"current_password": PASSWORD, "new_password": "aaaaaaaaaaaaaaa"}, 422, "new_password"),
        ({"current_password": PASSWORD, "new_password": "x" * 257}, 422, "new_password"),
    ],
)
async def test_a_password_that_may_not_be_changed_so_is_not(
    control_api: ControlApi, body: dict[str, str], status: int, path: str
) -> None:
    user = await control_api.user("member")
    token = (await control_api.logged_in(user))["access_token"]
    answer = await control_api.ask("POST", "/auth/password", token, body)
    assert answer.status_code == status
    assert answer.json()["error"]["details"][0]["path"] == path
    assert (await control_api.log_in(user)).status_code == 200


async def test_only_a_user_has_a_password(control_api: ControlApi) -> None:
    body = {"current_password": PASSWORD, "new_password": ANOTHER}
    answer = await control_api.ask("POST", "/auth/password", control_api.token("owner"), body)
    assert told(answer) == (403, "forbidden")
    assert (await control_api.http.post("/auth/password", json=body)).status_code == 401


async def test_a_login_that_is_under_way_does_not_survive_a_changed_password(control_api: ControlApi) -> None:
    """Between the check of the password and the begin of the session."""
    user = await control_api.user()
    known = await control_api.plane.users.find_login(user.email)
    assert known is not None
    await control_api.plane.users.set_password_hash(user.id, await control_api.passwords.hash(ANOTHER))
    with pytest.raises(Refused) as caught:
        await control_api.plane.sessions.begin(
            control_api.ours.scope,
            user.id,
            family_hash=b"f" * 32,
            token_hash=b"t" * 32,
            lifetime_s=60,
            password_hash=known.password_hash,
        )
    assert caught.value.code == "bad_login"


async def test_sessions_of_a_user_are_bounded(control_api: ControlApi) -> None:
    user = await control_api.user()
    granted = [await control_api.logged_in(user) for _ in range(52)]
    alive = await control_api.sql(
        "SELECT count(*) FROM sessions WHERE user_id = $1::text::uuid AND ended_at IS NULL", user.id
    )
    assert alive == 50
    assert told(await refreshed(control_api, granted[0]["refresh_token"])) == (401, "bad_token")
    assert (await refreshed(control_api, granted[-1]["refresh_token"])).status_code == 200
    await control_api.sql("UPDATE sessions SET ended_at = now() - interval '2 days' WHERE ended_at IS NOT NULL")
    assert await control_api.plane.sessions.trim() >= 2


async def test_a_second_process_knows_of_a_login_at_once(control_api: ControlApi) -> None:
    elsewhere = Callers(control_api.plane, refresh_s=60, access_token_s=900)
    await elsewhere.start()
    granted = await control_api.logged_in(await control_api.user())
    tokens = Tokens("s" * 32, callers=elsewhere)
    assert (await tokens.identify(f"Bearer {granted['access_token']}")).role == "owner"
    await elsewhere.close()
