"""What an organization manages itself: who may, what it does, what stands in the audit log, and what another one sees of it."""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from control_api import PASSWORD, ControlApi

UNKNOWN = str(uuid.uuid4())
BAD_PATTERN = {"name": "x", "pattern": "(("}
ROUTES: dict[str, tuple[str, str, Any]] = {
    "list members": ("GET", "/members", None),
    "add member": ("POST", "/members", {"email": "new@example.org", "role": "viewer"}),
    "change member": ("PATCH", "/members/{user_id}", {"role": "viewer"}),
    "remove member": ("DELETE", "/members/{user_id}", None),
    "list keys": ("GET", "/keys", None),
    "create key": ("POST", "/keys", {}),
    "revoke key": ("DELETE", "/keys/{prefix}", None),
    "list tokens": ("GET", "/tokens", None),
    "create token": ("POST", "/tokens", {"name": "ci", "role": "viewer"}),
    "revoke token": ("DELETE", "/tokens/{token_id}", None),
    "show organization": ("GET", "/organization", None),
    "change organization": ("PATCH", "/organization", {"retention_days": 7}),
    "audit": ("GET", "/audit", None),
}


def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def belongings(api: ControlApi) -> dict[str, str]:
    """One of each thing with an id, of our organization; an owner that stays is there besides."""
    await api.user("owner")
    member = await api.user("member")
    key = (await api.ask("POST", "/keys", api.token(), {"name": "shop"})).json()["key"]
    token = (await api.ask("POST", "/tokens", api.token(), {"name": "ci", "role": "viewer"})).json()["token"]
    return {"user_id": member.id, "prefix": key["prefix"], "token_id": token["id"]}


async def ask(api: ControlApi, route: str, token: str, ids: dict[str, str]) -> httpx.Response:
    method, path, body = ROUTES[route]
    if route == "add member":
        body = body | {"email": f"{uuid.uuid4().hex}@example.org"}
    return await api.ask(method, path.format(**ids), token, body)


async def state(api: ControlApi) -> list[Any]:
    """All that the routes can change of our organization, as another look at it sees it."""
    answers = [await api.ask("GET", path, api.token()) for path in ("/members", "/keys", "/tokens", "/organization")]
    return [answer.json() for answer in answers]


@pytest.mark.parametrize("route", [name for name, (_, path, _) in ROUTES.items() if "{" in path])
async def test_an_id_of_another_organization_is_as_unknown_as_none(control_api: ControlApi, route: str) -> None:
    ids = await belongings(control_api)
    before = await state(control_api)
    unknown = {"user_id": UNKNOWN, "prefix": "obs_0000000000000000", "token_id": UNKNOWN}
    for role in ("owner", "admin"):
        theirs = control_api.token(role, control_api.theirs)
        foreign = await ask(control_api, route, theirs, ids)
        none = await ask(control_api, route, theirs, unknown)
        assert told(foreign) == (404, "not_found")
        assert foreign.text.replace(ids["prefix"], unknown["prefix"]) == none.text
        for garbage in ("x", "..%2fx", "'%20OR%201=1", "%00", "0" * 64):
            answer = await ask(control_api, route, theirs, dict.fromkeys(ids, garbage))
            assert answer.status_code in (404, 422), answer.text
    assert await state(control_api) == before
    assert (await ask(control_api, route, control_api.token(), ids)).status_code == 200


async def test_another_organization_sees_nothing_of_ours(control_api: ControlApi) -> None:
    ids = await belongings(control_api)
    theirs = control_api.token("owner", control_api.theirs)
    for path, noun in (("/members", "members"), ("/keys", "keys"), ("/tokens", "tokens")):
        assert (await control_api.ask("GET", path, theirs)).json() == {noun: [], "next_cursor": None}
        assert len((await control_api.ask("GET", path, control_api.token())).json()[noun]) >= 1
    audit = (await control_api.ask("GET", "/audit", theirs)).text
    assert control_api.ours.id not in audit
    for value in ids.values():
        assert value not in audit
        found = await control_api.ask("GET", "/audit", theirs, params={"object_id": value})
        assert found.json()["entries"] == []
    cursor = (await control_api.ask("GET", "/audit", control_api.token(), params={"limit": 1})).json()["next_cursor"]
    foreign = await control_api.ask("GET", "/audit", theirs, params={"cursor": cursor})
    assert {each["object"]["id"] for each in foreign.json()["entries"]} <= {control_api.theirs.id}
    assert (await control_api.ask("GET", "/organization", theirs)).json()["organization"]["id"] == control_api.theirs.id


@pytest.mark.parametrize("route", ROUTES)
async def test_only_owners_and_admins_may(control_api: ControlApi, route: str) -> None:
    ids = await belongings(control_api)
    before = await state(control_api)
    for role in ("member", "viewer"):
        assert told(await ask(control_api, route, control_api.token(role), ids)) == (403, "forbidden")  # type: ignore[arg-type]  # a role
    for headers in ({}, {"authorization": "Bearer x"}):
        method, path, body = ROUTES[route]
        answer = await control_api.http.request(method, path.format(**ids), json=body, headers=headers)
        assert told(answer) == (401, "bad_token")
    assert await state(control_api) == before
    assert (await ask(control_api, route, control_api.token("admin"), ids)).status_code in (200, 201)


async def test_a_member_is_invited_and_chooses_a_password_once(control_api: ControlApi) -> None:
    await control_api.user("owner")
    email = f"{uuid.uuid4().hex}@example.org"
    body = {"email": email, "role": "admin", "name": "Ada"}
    answer = await control_api.ask("POST", "/members", control_api.token(), body)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    assert (made["member"]["email"], made["member"]["role"]) == (email, "admin")
    login = {"email": email, "password": PASSWORD}
    assert told(await control_api.http.post("/auth/login", json=login)) == (401, "bad_login")
    accept = {"token": made["invite_token"], "password": PASSWORD}
    short = await control_api.http.post("/auth/accept-invite", json=accept | {"password": "short"})
    assert told(short) == (422, "invalid_field")
    assert (await control_api.http.post("/auth/accept-invite", json=accept)).json() == {"email": email}
    assert (await control_api.http.post("/auth/login", json=login)).json()["role"] == "admin"
    assert told(await control_api.http.post("/auth/accept-invite", json=accept)) == (401, "bad_login")
    hashed = await control_api.sql("SELECT invite_hash FROM users WHERE email = $1", email)
    assert hashed is None


async def test_an_invitation_ends(control_api: ControlApi) -> None:
    await control_api.user("owner")
    email = f"{uuid.uuid4().hex}@example.org"
    made = (await control_api.ask("POST", "/members", control_api.token(), {"email": email, "role": "viewer"})).json()
    await control_api.sql("UPDATE users SET invite_expires_at = now() WHERE email = $1", email)
    accept = {"token": made["invite_token"], "password": PASSWORD}
    assert told(await control_api.http.post("/auth/accept-invite", json=accept)) == (401, "bad_login")
    codes = []
    for i in range(35):
        answer = await control_api.http.post("/auth/accept-invite", json=accept | {"token": f"aei_{i}"})
        codes.append(answer.status_code)
    assert codes[-1] == 429


async def test_a_first_password_works_and_a_bad_one_is_refused(control_api: ControlApi) -> None:
    await control_api.user("owner")
    email = f"{uuid.uuid4().hex}@example.org"
    body = {"email": email, "role": "viewer", "password": "short"}
    assert told(await control_api.ask("POST", "/members", control_api.token(), body)) == (422, "invalid_field")
    made = await control_api.ask("POST", "/members", control_api.token(), body | {"password": PASSWORD})
    assert (made.status_code, made.json()["invite_token"]) == (201, None)
    login = {"email": email, "password": PASSWORD}
    assert (await control_api.http.post("/auth/login", json=login)).status_code == 200
    again = await control_api.ask("POST", "/members", control_api.token(), body | {"password": PASSWORD})
    assert told(again) == (409, "conflict")


async def test_nobody_comes_in_with_a_password_that_another_organization_set(control_api: ControlApi) -> None:
    """Its admin knows it: so the person of another organization is not added, and one that belongs nowhere begins anew."""
    await control_api.user("owner")
    await control_api.user("owner", control_api.theirs)
    email = f"{uuid.uuid4().hex}@example.org"
    body = {"email": email, "role": "admin"}
    mine = await control_api.ask("POST", "/members", control_api.token(), body | {"password": PASSWORD})
    theirs = control_api.token("owner", control_api.theirs)
    assert told(await control_api.ask("POST", "/members", theirs, body)) == (409, "conflict")
    user_id = mine.json()["member"]["user_id"]
    assert (await control_api.ask("DELETE", f"/members/{user_id}", control_api.token())).json() == {"removed": True}
    assert (await control_api.ask("POST", "/members", theirs, body)).status_code == 201
    login = {"email": email, "password": PASSWORD}
    assert told(await control_api.http.post("/auth/login", json=login)) == (401, "bad_login")


async def test_of_two_organizations_that_add_a_person_at_once_one_does(control_api: ControlApi) -> None:
    await control_api.user("owner")
    await control_api.user("owner", control_api.theirs)
    theirs = control_api.token("owner", control_api.theirs)
    for _ in range(5):
        email = f"{uuid.uuid4().hex}@example.org"
        body = {"email": email, "role": "viewer", "password": PASSWORD}
        found = await asyncio.gather(
            control_api.ask("POST", "/members", control_api.token(), body),
            control_api.ask("POST", "/members", theirs, body),
        )
        assert sorted(each.status_code for each in found) == [201, 409]


async def test_only_owners_make_change_and_remove_owners(control_api: ControlApi) -> None:
    owner, member = await control_api.user("owner"), await control_api.user("member")
    admin = control_api.token("admin")
    attempts = [
        ("POST", "/members", {"email": f"{uuid.uuid4().hex}@example.org", "role": "owner"}),
        ("PATCH", f"/members/{member.id}", {"role": "owner"}),
        ("PATCH", f"/members/{owner.id}", {"role": "viewer"}),
        ("DELETE", f"/members/{owner.id}", None),
        ("POST", "/tokens", {"name": "x", "role": "owner"}),
    ]
    for method, path, body in attempts:
        assert told(await control_api.ask(method, path, admin, body)) == (403, "forbidden"), (method, path)
    made = (await control_api.ask("POST", "/tokens", control_api.token(), {"name": "x", "role": "owner"})).json()
    revoke = f"/tokens/{made['token']['id']}"
    assert told(await control_api.ask("DELETE", revoke, admin)) == (403, "forbidden")
    assert (await control_api.ask("GET", "/members", made["secret"])).status_code == 200
    for method, path, body in attempts[:2]:
        assert (await control_api.ask(method, path, control_api.token(), body)).status_code in (200, 201)
    assert (await control_api.ask("DELETE", f"/members/{member.id}", control_api.token())).status_code == 200


async def test_the_last_owner_stays(control_api: ControlApi) -> None:
    owner = await control_api.user("owner")
    for method, body in (("PATCH", {"role": "admin"}), ("DELETE", None)):
        answer = await control_api.ask(method, f"/members/{owner.id}", control_api.token(), body)
        assert told(answer) == (409, "conflict")
        assert "at least one owner" in answer.json()["error"]["message"]
        assert answer.json()["error"]["details"][0]["path"] == "role"


async def test_a_role_that_changes_counts_on_the_token_that_is_out(control_api: ControlApi) -> None:
    """Over HTTP, by rereading alone."""
    await control_api.user("owner")
    user = await control_api.user("admin")
    token = (await control_api.logged_in(user))["access_token"]
    assert (await control_api.ask("GET", "/keys", token)).status_code == 200
    began = time.monotonic()
    await control_api.ask("PATCH", f"/members/{user.id}", control_api.token(), {"role": "viewer"})
    while (await control_api.ask("GET", "/keys", token)).status_code != 403:
        assert time.monotonic() - began < 2.0
        await asyncio.sleep(0.02)
    await control_api.ask("DELETE", f"/members/{user.id}", control_api.token())
    while (await control_api.ask("GET", "/keys", token)).status_code != 401:
        assert time.monotonic() - began < 4.0
        await asyncio.sleep(0.02)


async def test_a_key_is_shown_with_its_secret_once(control_api: ControlApi) -> None:
    expires = datetime.now(UTC) + timedelta(days=1)
    body = {"name": "shop", "signals": ["logs", "logs"], "expires_at": expires.isoformat()}
    made = await control_api.ask("POST", "/keys", control_api.token(), body)
    assert made.status_code == 201
    key, secret = made.json()["key"], made.json()["secret"]
    assert (key["name"], key["signals"], key["revoked_at"]) == ("shop", ["logs"], None)
    assert await control_api.plane.api_keys.open_secret(key["prefix"]) == secret
    listed = await control_api.ask("GET", "/keys", control_api.token())
    assert secret not in listed.text
    assert listed.json()["keys"] == [key]
    revoked = [await control_api.ask("DELETE", f"/keys/{key['prefix']}", control_api.token()) for _ in range(2)]
    assert revoked[0].json() == revoked[1].json()
    assert revoked[0].json()["key"]["revoked_at"] is not None


async def test_an_api_token_asks_wherever_a_jwt_does_until_it_is_revoked(control_api: ControlApi) -> None:
    made = await control_api.ask("POST", "/tokens", control_api.token(), {"name": "ci", "role": "admin"})
    token, secret = made.json()["token"], made.json()["secret"]
    me = (await control_api.ask("GET", "/auth/me", secret)).json()
    assert (me["kind"], me["id"], me["name"], me["role"]) == ("api_token", token["id"], "ci", "admin")
    assert (await control_api.ask("GET", "/query/usage", secret)).status_code == 200
    listed = await control_api.ask("GET", "/tokens", secret)
    assert secret.rpartition("_")[2] not in listed.text
    assert (await control_api.ask("DELETE", f"/tokens/{token['id']}", control_api.token())).status_code == 200
    async with asyncio.timeout(2.0):
        while (await control_api.ask("GET", "/query/usage", secret)).status_code != 401:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/members", {"email": "no address", "role": "viewer"}, "email"),
        ("/members", {"email": "a@b", "role": "king"}, "role"),
        ("/members", {"email": "a@b", "role": "viewer", "name": "x" * 101}, "name"),
        ("/members", {"email": "a@b", "role": "viewer", "organization_id": UNKNOWN}, "organization_id"),
        ("/keys", {"signals": []}, "signals"),
        ("/keys", {"signals": ["alerts"]}, "signals[0]"),
        ("/keys", {"expires_at": "yesterday"}, "expires_at"),
        ("/keys", {"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ("/keys", {"expires_at": "2200-01-01T00:00:00Z"}, "expires_at"),
        ("/keys", {"name": "x\n"}, "name"),
        ("/keys", {"secret": "mine"}, "secret"),
        ("/tokens", {"role": "viewer"}, "name"),
        ("/tokens", {"name": " ", "role": "viewer"}, "name"),
        ("/tokens", {"name": "x", "role": "god"}, "role"),
        ("/tokens", {"name": "x", "role": "viewer", "expires_at": 1}, "expires_at"),
        ("/organization", {"name": ""}, "name"),
        ("/organization", {"name": None}, "name"),
        ("/organization", {"retention_days": 0}, "retention_days"),
        ("/organization", {"retention_days": "7"}, "retention_days"),
        ("/organization", {"settings": {"ingest": {"requests_per_minute": 0}}}, "settings.ingest.requests_per_minute"),
        ("/organization", {"settings": {"ingest": {"x": 1}}}, "settings.ingest"),
        ("/organization", {"settings": {"privacy": {"patterns": [BAD_PATTERN]}}}, "settings.privacy.patterns[0].pattern"),
        ("/organization", {"settings": {"query": {"viewer": {"rows": 1}}}}, "settings.query"),
    ],
)  # fmt: skip
async def test_what_cannot_be_names_its_field(control_api: ControlApi, path: str, body: Any, field: str) -> None:
    before = await state(control_api)
    method = "PATCH" if path == "/organization" else "POST"
    answer = await control_api.ask(method, path, control_api.token(), body)
    assert told(answer) == (422, "invalid_field"), answer.text
    shown = answer.json()["error"]["details"][0]["path"]
    assert shown.partition(".str")[0].partition(".literal")[0] == field
    assert await state(control_api) == before


@pytest.mark.parametrize("privacy", ['{"keys": ["a\\ud800"]}', '{"strategy": "\\ud800"}', '{"\\ud800": 1}'])
async def test_half_a_surrogate_pair_is_no_setting(control_api: ControlApi, privacy: str) -> None:
    answer = await control_api.http.patch(
        "/organization",
        content=f'{{"settings": {{"privacy": {privacy}}}}}',
        headers={"authorization": f"Bearer {control_api.token()}", "content-type": "application/json"},
    )
    assert told(answer) == (422, "invalid_field")
    assert answer.json()["error"]["details"][0]["path"] == "settings"


@pytest.mark.parametrize(
    "params", [{"start": "yesterday"}, {"limit": 0}, {"limit": 1001}, {"cursor": "x"}, {"action": "burn"}]
)
async def test_a_wrong_question_to_the_log_names_its_field(control_api: ControlApi, params: dict[str, Any]) -> None:
    answer = await control_api.ask("GET", "/audit", control_api.token(), params=params)
    assert told(answer) == (422, "invalid_field")
    assert answer.json()["error"]["details"][0]["path"] == next(iter(params))


async def test_credentials_and_members_are_bounded(control_api: ControlApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are held in memory by every process, those of all organizations."""
    ours = control_api.ours.id
    await control_api.sql(
        "INSERT INTO api_tokens (organization_id, prefix, name, role, secret_hash)"
        " SELECT $1::text::uuid, 'aet_' || substr(md5(random()::text), 1, 16), 'x', 'viewer', sha256('x')"
        " FROM generate_series(1, 1000)",
        ours,
    )
    await control_api.sql(
        "INSERT INTO api_keys (organization_id, prefix, secret_sealed)"
        " SELECT $1::text::uuid, 'obs_' || substr(md5(random()::text), 1, 16), sha256('x') FROM generate_series(1, 1000)",
        ours,
    )
    for path, body, noun in (("/tokens", {"name": "x", "role": "viewer"}, "tokens"), ("/keys", {}, "keys")):
        assert told(await control_api.ask("POST", path, control_api.token(), body)) == (409, "conflict")
        theirs = control_api.token("owner", control_api.theirs)
        assert (await control_api.ask("POST", path, theirs, body)).status_code == 201
        first = (await control_api.ask("GET", path, control_api.token())).json()[noun][0]
        name = first["id" if noun == "tokens" else "prefix"]
        assert (await control_api.ask("DELETE", f"{path}/{name}", control_api.token())).status_code == 200
        assert (await control_api.ask("POST", path, control_api.token(), body)).status_code == 201
    monkeypatch.setattr("storage.memberships.MEMBERS_MAX", 3)
    statuses = []
    for _ in range(4):
        body = {"email": f"{uuid.uuid4().hex}@example.org", "role": "owner"}
        statuses.append((await control_api.ask("POST", "/members", control_api.token(), body)).status_code)
    assert statuses == [201, 201, 201, 409]
    assert len((await control_api.ask("GET", "/members", control_api.token())).json()["members"]) == 3


async def test_sections_of_settings_are_changed_apart(control_api: ControlApi) -> None:
    """Two people who change different sections at once both have their way; the operator's section stays."""
    await control_api.plane.organizations.update(
        control_api.ours.scope, settings={"query": {"viewer": {"concurrent": 2}}}
    )
    ingest = {"settings": {"ingest": {"requests_per_minute": 9, "require_signed_time": True}}}
    privacy = {"settings": {"privacy": {"strategy": "mask"}}, "retention_days": 9}
    answers = await asyncio.gather(
        control_api.ask("PATCH", "/organization", control_api.token(), ingest),
        control_api.ask("PATCH", "/organization", control_api.token(), privacy),
    )
    assert [each.status_code for each in answers] == [200, 200]
    shown = (await control_api.ask("GET", "/organization", control_api.token())).json()["organization"]
    assert shown["retention_days"] == 9
    assert shown["settings"] == {
        "query": {"viewer": {"concurrent": 2}}, **ingest["settings"], **privacy["settings"],  # type: ignore[dict-item]  # a mapping
    }  # fmt: skip
    back = await control_api.ask("PATCH", "/organization", control_api.token(), {"settings": {"ingest": None}})
    assert sorted(back.json()["organization"]["settings"]) == ["privacy", "query"]
    taken = {"name": control_api.theirs.name}
    assert told(await control_api.ask("PATCH", "/organization", control_api.token(), taken)) == (409, "conflict")


async def test_every_change_is_in_the_log_with_who_did_it_and_from_where(control_api: ControlApi) -> None:
    owner = await control_api.user("owner")
    token = (await control_api.logged_in(owner))["access_token"]
    secret = (await control_api.ask("POST", "/tokens", token, {"name": "ci", "role": "admin"})).json()["secret"]
    ids = await belongings(control_api)
    done = []
    for route in ROUTES:
        if ROUTES[route][0] != "GET":
            assert (await ask(control_api, route, secret, ids)).status_code in (200, 201)
            done.append(route)
    page = (await control_api.ask("GET", "/audit", token, params={"limit": 1000})).json()
    by_token = [each for each in page["entries"] if each["actor"]["kind"] == "api_token"]
    assert {(each["action"], each["object"]["kind"]) for each in by_token} == {
        ("create", "user"), ("create", "member"), ("update", "member"), ("delete", "member"), ("create", "key"),
        ("revoke", "key"), ("create", "api_token"), ("revoke", "api_token"), ("update", "organization"),
    }  # fmt: skip
    assert {(each["actor"]["name"], each["address"]) for each in by_token} == {("ci", "203.0.113.9")}
    by_user = [each for each in page["entries"] if each["actor"]["id"] == owner.id]
    assert [(each["action"], each["object"]["kind"], each["object"]["name"]) for each in by_user] == [
        ("create", "api_token", "ci")
    ]
    role = next(each for each in by_token if (each["action"], each["object"]["kind"]) == ("update", "member"))
    assert (role["before"], role["after"]) == ({"role": "member"}, {"role": "viewer"})
    for hidden in (secret.rpartition("_")[2], "argon2", PASSWORD):
        assert hidden not in str(page)
    narrowed = await control_api.ask("GET", "/audit", token, params={"action": "revoke", "object_kind": "key"})
    assert len(narrowed.json()["entries"]) == 1
    late = await control_api.ask("GET", "/audit", token, params={"start": "2200-01-01T00:00:00Z"})
    assert late.json()["entries"] == []


async def test_the_published_document_has_every_route_with_an_example_that_is_true(control_api: ControlApi) -> None:
    ids = await belongings(control_api)
    document = (await control_api.http.get("/openapi.json")).json()
    for route, (method, path, _) in ROUTES.items():
        operation = document["paths"][path][method.lower()]
        assert {"401", "403", "422", "429", "503"} <= set(operation["responses"])
        assert ("404" in operation["responses"]) or "{" not in path
        answer = await ask(control_api, route, control_api.token(), ids)
        example = operation["responses"][str(answer.status_code)]["content"]["application/json"]["example"]
        assert top_keys(example) <= top_keys(answer.json()), route
        if "requestBody" in operation:
            name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            (sent,) = document["components"]["schemas"][name]["examples"]
            if "email" in sent:
                sent |= {"email": f"{uuid.uuid4().hex}@example.org"}
            if "user_id" not in path:
                assert (await control_api.ask(method, path, control_api.token(), sent)).status_code in (200, 201), route
    for path in ("/auth/login", "/auth/refresh", "/auth/logout", "/auth/password", "/auth/accept-invite"):
        operation = document["paths"][path]["post"]
        assert {"200", "401", "422", "429"} <= set(operation["responses"])
        assert "example" in operation["responses"]["200"]["content"]["application/json"]


def top_keys(answer: Any) -> set[str]:
    """The fields of an answer, and of what stands in it."""
    found = set()
    for name, value in answer.items():
        inner = value[-1] if isinstance(value, list) and value else value
        found |= {name} | ({f"{name}.{each}" for each in inner} if isinstance(inner, dict) else set())
    return found
