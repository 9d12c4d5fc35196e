"""POST /query/logs/search on a running instance: the right logs, in order, page by page, and nobody else's."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest

from query.tokens import Tokens
from storage.scope import OrgScope

LOG: dict[str, Any] = {"timestamp": "2025-10-31T10:00:00Z", "service": "api", "level": "error", "message": "failed"}


def messages(logs: list[dict[str, Any]]) -> list[str]:
    return [log["message"] for log in logs]


def test_every_condition_narrows(organization: Any) -> None:
    logs = [
        LOG | {"message": "one Timeout", "timestamp": "2025-10-31T10:00:01Z"},
        LOG | {"message": "two", "service": "web", "timestamp": "2025-10-31T10:00:02Z"},
        LOG | {"message": "three 100%", "level": "WARN", "timestamp": "2025-10-31T10:00:03Z"},
        LOG | {"message": "four", "trace_id": "abc", "timestamp": "2025-10-31T10:00:04Z"},
        LOG | {"message": "five", "timestamp": "2025-11-02T10:00:00Z"},
    ]
    organization.send(logs)
    assert messages(organization.found_in_time(4)) == ["four", "three 100%", "two", "one Timeout"]
    assert messages(organization.found(order="oldest")) == ["one Timeout", "two", "three 100%", "four"]
    assert messages(organization.found(service="web")) == ["two"]
    assert messages(organization.found(level="warn")) == ["three 100%"]
    assert messages(organization.found(level="WARN")) == ["three 100%"]
    assert messages(organization.found(search="TIMEOUT")) == ["one Timeout"]
    assert messages(organization.found(search="0%")) == ["three 100%"]
    assert messages(organization.found(search="%")) == ["three 100%"]
    assert messages(organization.found(trace_id="abc")) == ["four"]
    assert messages(organization.found(service="web", level="warn")) == []
    assert messages(organization.found(query='{service="api", level="error"} |= "o" != "T"')) == ["four"]
    assert messages(organization.found(filters=[{"field": "trace_id", "op": "exists"}])) == ["four"]
    counted = organization.instance.http.post(
        "/query/logs/histogram",
        json={"start": "2025-10-31T00:00:00Z", "end": "2025-11-01T00:00:00Z", "step": "1h"},
        headers={"authorization": f"Bearer {organization.token}"},
    ).json()
    assert (counted["total"], counted["buckets"][10]["groups"]) == (4, {"error": 3, "warn": 1})
    printed = organization.instance.aegis(
        "logs",
        '{service="api"} |~ "o|e"',
        "--since",
        "24h",
        "--until",
        "2025-11-01T00:00:00Z",
        "--token",
        organization.token,
    )
    assert [line.split()[3] for line in printed.splitlines()] == ["one", "three", "four"]
    lines = organization.instance.aegis(
        "logs", "--until", "2025-10-31T10:30:00Z", "--limit", "2", "--json", "--token", organization.token
    )
    assert [json.loads(line)["message"] for line in lines.splitlines()] == ["three 100%", "four"]
    refused = organization.instance.aegis("logs", "{", "--token", organization.token, fails=True)
    assert "line 1, column 2" in refused
    assert messages(organization.found(end="2025-10-31T10:00:03Z")) == ["two", "one Timeout"]
    assert messages(organization.found(start=1761904803000, end=1761904804000)) == ["three 100%"]


def test_pages_go_on_where_the_last_one_ended(organization: Any) -> None:
    organization.send([LOG | {"message": str(i)} for i in range(25)])
    organization.found_in_time(25)
    seen: list[str] = []
    cursor = None
    sizes = []
    while True:
        page = organization.ask(limit=10, **({"cursor": cursor} if cursor else {})).json()
        seen += messages(page["logs"])
        sizes.append(len(page["logs"]))
        assert set(page["stats"]) == {"rows_read", "bytes_read", "elapsed_ms"}
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sizes == [10, 10, 5]
    assert sorted(seen, key=int) == [str(i) for i in range(25)]


def test_another_organization_sees_nothing(instance: Any, organization: Any) -> None:
    organization.send([LOG | {"message": "private"}] * 3)
    organization.found_in_time(3)
    cursor = organization.ask(limit=1).json()["next_cursor"]
    stranger = instance.organization(f"{organization.org_id[:8]} stranger")
    assert stranger.found() == []
    assert stranger.ask(cursor=cursor).json()["logs"] == []
    assert stranger.found(search="private") == []
    for smuggled in ({"org_id": organization.org_id}, {"organization": organization.org_id}):
        assert stranger.ask(**smuggled).status_code == 422


def test_a_token_of_another_installation_opens_nothing(organization: Any) -> None:
    forged = Tokens("f" * 64).issue(OrgScope(organization.org_id), role="owner", subject="x", lifetime_s=60)
    response = organization.ask(token=forged)
    assert (response.status_code, response.json()["error"]["code"]) == (401, "bad_token")
    assert response.headers["www-authenticate"] == "Bearer"


def test_the_owner_that_up_made_logs_in_and_searches(instance: Any) -> None:
    """Login -> search -> refreshed -> search; and out."""
    development = instance.organization("reader of the development organization")
    development.org_id, development.org_key = instance.facts["org_id"], instance.facts["org_key"]
    development.secret = instance.facts["secret"]
    word = f"word{uuid.uuid4().hex}"
    development.send([LOG | {"message": word}])
    login = {"email": instance.facts["email"], "password": instance.facts["password"]}
    granted = instance.http.post("/auth/login", json=login).json()
    assert (granted["organization_id"], granted["role"]) == (instance.facts["org_id"], "owner")
    development.token = granted["access_token"]
    assert messages(development.found_in_time(1, search=word)) == [word]
    renewed = instance.http.post("/auth/refresh", json={"refresh_token": granted["refresh_token"]}).json()
    assert messages(development.ask(token=renewed["access_token"], search=word).json()["logs"]) == [word]
    instance.http.post("/auth/logout", json={"refresh_token": renewed["refresh_token"]})
    deadline = time.monotonic() + 2.0
    while development.ask(token=renewed["access_token"]).status_code != 401:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    kept = (instance.data_dir / "instance.env").read_text()
    assert f"AEGIS_DEVELOPMENT_PASSWORD='{login['password']}'" in kept


def test_a_disabled_user_is_out_within_two_seconds(instance: Any) -> None:
    """Made and disabled by commands, beside the gateway that hears of it."""
    email, password = f"{uuid.uuid4().hex}@example.org", "correct horse battery"
    create = ("user", "create", email, "--org", "development", "--role", "admin", "--password-stdin")
    instance.aegis(*create, stdin=f"{password}\n")
    granted = instance.http.post("/auth/login", json={"email": email, "password": password}).json()
    headers = {"authorization": f"Bearer {granted['access_token']}"}
    assert instance.http.get("/keys", headers=headers).status_code == 200
    instance.aegis("user", "disable", email)
    deadline = time.monotonic() + 2.0
    while instance.http.get("/keys", headers=headers).status_code != 401:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_without_a_token_there_is_no_answer(instance: Any) -> None:
    response = instance.http.post("/query/logs/search", json={"start": 0, "end": 1})
    assert response.status_code == 401


@pytest.mark.parametrize("role", ["owner", "admin", "member", "viewer"])
def test_every_role_may_read_logs(organization: Any, role: str) -> None:
    token = json.loads(organization.instance.aegis("token", organization.org_id, "--role", role, "--json"))["token"]
    assert organization.ask(token=token).status_code == 200


@pytest.mark.parametrize(
    ("search", "path"),
    [
        ({"start": "yesterday"}, "start"),
        ({"start": None}, "start"),
        ({"end": "2025-10-30T00:00:00Z"}, "end"),
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"limit": "10"}, "limit"),
        ({"order": "sideways"}, "order"),
        ({"cursor": "garbage"}, "cursor"),
        ({"service": 5}, "service"),
        ({"search": ""}, "search"),
        ({"search": "x" * 1001}, "search"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_question_names_its_field(organization: Any, search: dict[str, Any], path: str) -> None:
    response = organization.ask(**search)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (422, "invalid_field"), error
    assert error["details"][0]["path"].partition(".")[0] == path


def test_a_body_that_is_not_json_is_400(organization: Any) -> None:
    headers = {"authorization": f"Bearer {organization.token}", "content-type": "application/json"}
    response = organization.instance.http.post("/query/logs/search", content=b"{", headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "malformed_json")


@pytest.mark.parametrize("attack", ["' OR 1=1 --", "'; DROP TABLE logs; --", "{x:String}", "\\", "\u0000", "%27"])
@pytest.mark.parametrize("field", ["service", "level", "search", "trace_id"])
def test_nothing_is_ever_read_as_sql(organization: Any, field: str, attack: str) -> None:
    response = organization.ask(**{field: attack})
    assert response.status_code == 200, response.text
    assert response.json()["logs"] == []
